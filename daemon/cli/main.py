"""The command line: every command of this room, and what an error becomes.

Each command is a few lines; its work is in the module it names, which is imported where it is used: torch and watchdog
are loaded by the few commands that need them.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

from daemon.cli import (
    audit,
    bench,
    cloak,
    config,
    control,
    decoys,
    evaluate,
    models,
    people,
    photos,
    run,
    service,
)
from daemon.errors import DaemonError
from daemon.exits import Exit, code_of
from daemon.text import printable
from fawkes_engine import EngineError

app = typer.Typer(
    name="fawkesd",
    help="Cloaks the faces in photos before they reach the folder that is uploaded.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for group in (config, run, cloak, photos, control, people):
    app.add_typer(group.app)
app.add_typer(models.app, name="models")
for group in (evaluate, bench, audit, decoys):
    app.add_typer(group.app)
app.add_typer(service.app, name="service")

_USAGE_OF_TYPER = 2  # its exit code for a wrong option; ours are those of sysexits.h


def run_command(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; this is the one place where an error becomes a code."""
    try:
        app(list(arguments), prog_name="fawkesd")
    except SystemExit as exc:
        return Exit.USAGE if exc.code == _USAGE_OF_TYPER else int(exc.code or 0)
    except (DaemonError, EngineError) as exc:
        # a message may hold a name from a disk: nothing of it but line breaks may steer the terminal
        print("fawkesd:", "\n".join(map(printable, str(exc).split("\n"))), file=sys.stderr)
        return code_of(exc)
    except Exception:  # noqa: BLE001  the outermost frame: told in full, and no success
        traceback.print_exc()
        return Exit.INTERNAL
    return Exit.OK


def _show_version(wanted: bool) -> None:
    if wanted:
        try:
            typer.echo(f"fawkesd {version('fawkesd')}")
        except PackageNotFoundError:
            typer.echo("fawkesd (not installed, run from its source folder)")
        raise typer.Exit


@app.callback()
def _common(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and stop."),
    ] = False,
) -> None:
    pass
