"""The command line: registers every command and turns errors into exit codes.

Each command is a few lines and leaves the work to other modules, which it imports when it runs: only the few commands
that need torch and watchdog load them.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from daemon.cli import (
    audit,
    bench,
    cloak,
    config,
    control,
    decide,
    decoys,
    evaluate,
    models,
    notify,
    people,
    photos,
    run,
    service,
    targets,
    web,
)
from daemon.cli.help import Commands
from daemon.errors import DaemonError
from daemon.exits import Exit, code_of
from daemon.text import printable
from fawkes_engine import EngineError

app = typer.Typer(
    name="fawkesd",
    cls=Commands,
    help="Cloaks the faces in photos before they reach the folder that is uploaded.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for group in (config, run, cloak, photos, decide, control, people):
    app.add_typer(group.app)
app.add_typer(targets.app, name="targets")
app.add_typer(models.app, name="models")
for group in (evaluate, bench, audit, decoys, web, notify):
    app.add_typer(group.app)
app.add_typer(service.app, name="service")

_TYPER_USAGE_ERROR = 2  # typer's exit code for a wrong option; fawkesd uses those of sysexits.h


def run_command(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; the only place that maps errors to codes."""
    try:
        app(list(arguments), prog_name="fawkesd")
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


@app.callback()
def _common(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    pass
