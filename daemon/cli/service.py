"""The commands for the background service: service install, uninstall, status, show."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from daemon.cli.common import Config, examples

if TYPE_CHECKING:
    from daemon.install.units import Scope, Service

app = typer.Typer(help="Run fawkesd in the background with systemd.", no_args_is_help=True)

System = Annotated[
    bool, typer.Option("--system/--user", help="For the whole machine (as root), or for your own session.")
]
Once = Annotated[
    bool, typer.Option("--once", help="Instead of a daemon, start `fawkesd once` when photos arrive.")
]


@app.command(
    "install",
    epilog=examples(
        "fawkesd service install --enable",
        "sudo fawkesd service install --system --enable --config /home/alice/.config/fawkesd/fawkesd.yaml",
        "fawkesd service install --once --enable",
    ),
)
def install_service(
    system: System = False,
    once: Once = False,
    enable: Annotated[
        bool, typer.Option("--enable", help="Start it now and at every boot or login.")
    ] = False,
    config: Config = None,
) -> None:
    """Write the systemd units for this configuration.

    Refuses to install what would fail to start, and says why. A system service has the rights of the
    configuration's owner and no more.
    """
    from daemon.install.installer import install
    from daemon.install.units import Scope

    service = _service(config, system=system, once=once)
    for file in install(service, enable=enable):
        typer.echo(f"Wrote {file}.")
    if not enable:
        typer.echo(
            "Start it with `fawkesd service install --enable`, or with `systemctl restart` if it runs already."
        )
    if service.scope is Scope.USER:
        typer.echo("It runs while you are logged in; `loginctl enable-linger` keeps it running after that.")


@app.command(
    "uninstall", epilog=examples("fawkesd service uninstall", "sudo fawkesd service uninstall --system")
)
def uninstall_service(system: System = False) -> None:
    """Stop the service and remove its units.

    Photos, configuration and state stay as they are.
    """
    from daemon.install.installer import uninstall

    for file in uninstall(_scope(system)):
        typer.echo(f"Removed {file}.")


@app.command("status", epilog=examples("fawkesd service status", "fawkesd service status --system"))
def show_service(system: System = False) -> None:
    """Show the status of the service in systemd.

    Exits as `systemctl status` does: 0 when it runs, 3 when it does not. `fawkesd status` shows the photos.
    """
    from daemon.install.installer import ask_systemctl, installed

    units = installed(_scope(system))
    if not units:
        typer.echo(f"No {_scope(system).value} service is installed.")
        raise typer.Exit(4)  # as systemctl: no such unit
    raise typer.Exit(ask_systemctl(_scope(system), "status", *units))


@app.command("show", epilog=examples("fawkesd service show", "fawkesd service show --system --config f.yaml"))
def show_units(system: System = False, once: Once = False, config: Config = None) -> None:
    """Print the units that `install` would write."""
    from daemon.install.units import text_of

    service = _service(config, system=system, once=once)
    for unit in service.units:
        typer.echo(f"# ---- {unit}\n{text_of(service, unit)}")


def _scope(system: bool) -> Scope:
    from daemon.install.units import Scope

    return Scope.SYSTEM if system else Scope.USER


def _service(config: Path | None, *, system: bool, once: bool) -> Service:
    from daemon.config.loader import load
    from daemon.config.settings import default_config_path
    from daemon.install.installer import account_of
    from daemon.install.units import Service

    path = (config or default_config_path()).absolute()
    account = account_of(path)
    if system and os.geteuid() == 0:
        # The service will read the file with the home and environment of its own user, not root's.
        os.environ["HOME"] = account.pw_dir
        for variable in ("XDG_STATE_HOME", "XDG_DATA_HOME", "FAWKESD_MODELS"):
            os.environ.pop(variable, None)
    settings = load(path)
    if account.pw_uid == 0:
        folders = [folder for user in settings.users for folder in (*user.outboxes, user.sync)]
        account = account_of(next(filter(os.path.lexists, folders), folders[0]))
    return Service(settings, path, account, _scope(system), once)
