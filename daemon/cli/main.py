"""The command line: finds the command that is wanted and turns errors into exit codes.

Each command is a few lines and leaves the work to other modules, which it imports when it runs: only the few commands
that need torch and watchdog load them.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated

import typer

from daemon.cli.help import Commands
from daemon.errors import DaemonError
from daemon.exits import Exit, code_of
from daemon.text import printable
from fawkes_engine import EngineError

# The modules of daemon.cli, in the order of --help, and the commands of each.
_COMMANDS = {
    "config": "init check-config",
    "run": "run once status",
    "cloak": "cloak preview",
    "photos": "why history held retry redo",
    "decide": "approve reject recall publish",
    "control": "pause resume reload doctor",
    "people": "enroll people forget",
    "targets": "targets",
    "models": "models",
    "evaluate": "evaluate study",
    "bench": "bench",
    "audit": "audit",
    "decoys": "sybil",
    "web": "web",
    "notify": "notify",
    "cluster": "cluster",
    "node": "node",
    "service": "service",
}
_WITH_COMMANDS_OF_ITS_OWN = {"targets", "models", "cluster", "service"}

_TYPER_USAGE_ERROR = 2  # typer's exit code for a wrong option; fawkesd uses those of sysexits.h


def app_for(arguments: Sequence[str]) -> typer.Typer:
    """Return the command line with the commands of one module, if the arguments begin with one of them, else with all.

    Importing and describing all commands takes longer than running most of them.
    """
    app = typer.Typer(
        name="fawkesd",
        cls=Commands,
        help="Cloaks the faces in photos before they reach the folder that is uploaded.",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    app.callback()(_common)
    wanted = [module for module, names in _COMMANDS.items() if arguments and arguments[0] in names.split()]
    for module in wanted or _COMMANDS:
        group = import_module(f"daemon.cli.{module}").app
        app.add_typer(group, name=module if module in _WITH_COMMANDS_OF_ITS_OWN else None)
    return app


def run_command(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; the only place that maps errors to codes."""
    try:
        app_for(arguments)(list(arguments), prog_name="fawkesd")
    except SystemExit as exc:
        return Exit.USAGE if exc.code == _TYPER_USAGE_ERROR else int(exc.code or 0)
    except (DaemonError, EngineError) as exc:
        # a message may contain a file name: it must not send control characters to the terminal, except line breaks
        print("fawkesd:", "\n".join(map(printable, str(exc).split("\n"))), file=sys.stderr)
        return code_of(exc)
    except Exception:  # noqa: BLE001  the outermost frame: prints the traceback and returns an error code
        traceback.print_exc()
        return Exit.INTERNAL
    return Exit.OK


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(f"fawkesd {version('fawkesd')}")
        except PackageNotFoundError:
            typer.echo("fawkesd (not installed, run from its source folder)")
        raise typer.Exit


def _common(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    pass
