"""The configuration commands: init, check-config."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from daemon.cli.common import Config, examples, load_settings, warn_of_absent, warn_of_weak_cloaks

app = typer.Typer()


@app.command(
    "init",
    epilog=examples(
        "fawkesd init",
        "fawkesd init --user alice --outbox ~/Pictures/outbox --sync ~/Pictures/sync --create",
    ),
)
def write_config(
    config: Config = None,
    user: Annotated[str | None, typer.Option(help="Name of the person in the photos.")] = None,
    outbox: Annotated[
        list[Path] | None, typer.Option(help="Folder photos are exported to; repeatable.")
    ] = None,
    sync: Annotated[Path | None, typer.Option(help="Folder the sync tool uploads.")] = None,
    create: Annotated[bool, typer.Option("--create", help="Create missing folders without asking.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing configuration.")] = False,
) -> None:
    """Write a commented configuration.

    Asks for everything that was not given as an option.
    """
    from daemon.cli import wizard
    from daemon.config.settings import default_config_path

    path = config or default_config_path()
    wizard.ensure_new(path, force=force)
    from_options = wizard.Answers(user, tuple(outbox or ()), sync)
    nobody = typer.BadParameter(
        "there is nobody to ask: standard input is no terminal; give --user, --outbox and --sync"
    )
    if sys.stdin is None and not from_options.complete:
        raise nobody
    try:
        answers = wizard.ask(from_options)
    except typer.Abort:
        if sys.stdin is not None and sys.stdin.isatty():
            raise  # by Ctrl-C
        typer.echo(err=True)
        raise nobody from None
    if create:
        wizard.create_folders(answers)
    elif not from_options.complete:
        wizard.offer_folders(answers)
    settings = wizard.write(path, answers, force=force)
    warn_of_absent(settings)
    if next(wizard.missing(answers), None):
        typer.echo("warning: `fawkesd init --force --create` with the same options creates them", err=True)
    typer.echo(f"Wrote {path}. Next: `fawkesd once` cloaks what is waiting, `fawkesd run` keeps watching.")
    warn_of_weak_cloaks(settings)
    typer.echo(
        "For another person, add an entry like the first below `users:`; `fawkesd check-config` checks it."
    )


@app.command(epilog=examples("fawkesd check-config", "fawkesd check-config --schema > fawkesd.schema.json"))
def check_config(
    config: Config = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON schema of the file instead.")
    ] = False,
) -> None:
    """Check the configuration file.

    Reports that it is valid, or every fault with its line. A folder that is missing is a warning: `fawkesd run`
    waits for it.
    """
    from daemon.config import reference

    if schema:
        typer.echo(reference.schema(), nl=False)
        return
    settings = load_settings(config)
    warn_of_absent(settings)
    typer.echo(f"The configuration is valid; users: {', '.join(user.name for user in settings.users)}.")
