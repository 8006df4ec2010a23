"""The command `web`: the web page of the service, alone or as its child process."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Annotated

import typer

from daemon.cli.common import Config, examples, load_settings
from daemon.errors import ServiceError

if TYPE_CHECKING:
    from daemon.config.settings import Settings

app = typer.Typer()

_LEAST_PASSWORD = 10


@app.command(
    "web",
    epilog=examples("fawkesd web", "fawkesd web --link", "fawkesd web --set-password"),
)
def show_page(
    *,
    link: Annotated[
        bool, typer.Option("--link", help="Print a link that opens the page once, and exit.")
    ] = False,
    set_password: Annotated[
        bool, typer.Option("--set-password", help="Ask for a password, print what to configure, and exit.")
    ] = False,
    descriptor: Annotated[int | None, typer.Option(hidden=True)] = None,
    with_parent: Annotated[bool, typer.Option("--with-parent", hidden=True)] = False,
    config: Config = None,
) -> None:
    """Show the web page of the service.

    Runs in the foreground until stopped by SIGTERM or Ctrl-C, and prints a link for your browser. With `web: {listen:
    127.0.0.1:8377}` in the configuration, `fawkesd run` shows the page instead; `fawkesd web --link` then makes links.
    Works while the service is stopped, too.
    """
    if set_password:
        _print_hash()
        return
    from daemon.config.settings import default_config_path

    settings = load_settings(config)
    if link:
        typer.echo(_link(settings))
        return
    try:
        from daemon.web import server
    except ModuleNotFoundError as exc:
        raise ServiceError(f"the page needs more packages ({exc.name}): pip install 'fawkesd[web]'") from exc
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    path = (config or default_config_path()).absolute()
    with server.listening(settings.web.address, descriptor) as listener:
        if not with_parent:
            typer.echo(f"The page is at {_link(settings)}\nThe link works once; Ctrl-C ends the page.")
        server.serve(settings, path, listener, with_parent=with_parent)


def _link(settings: Settings) -> str:
    from daemon.state.folder import prepare
    from daemon.web.sessions import Sessions

    prepare(settings.state_dir)
    return f"{settings.web.address.url}/login?link={Sessions(settings.state_dir).new_link()}"


def _print_hash() -> None:
    from daemon.web.password import hashed

    password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    if len(password) < _LEAST_PASSWORD:
        raise typer.BadParameter(f"a password has at least {_LEAST_PASSWORD} characters")
    typer.echo(f"Put this into the configuration:\n\nweb:\n  password_hash: {hashed(password)}")
