"""The command line. Each command is a few lines; its work is in the module it names.

The service is imported where it is used: no other command needs watchdog, and torch is loaded by the few that compute.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from daemon.batch import cloak
from daemon.batch import output_folder as shelf
from daemon.cli import audit as cliaudit
from daemon.cli import bench as clibench
from daemon.cli import control as clicontrol
from daemon.cli import decoys as clisybil
from daemon.cli import evaluate as clievaluate
from daemon.cli import models as climodels
from daemon.cli import people as clipeople
from daemon.cli import photos as cliphotos
from daemon.cli import progress
from daemon.cli import service as cliservice
from daemon.cli import wizard as init
from daemon.cli.common import Config, Json, examples, load_settings
from daemon.config import reference
from daemon.config.settings import UserName, default_config_path
from daemon.errors import DaemonError
from daemon.exits import Exit, code_of
from daemon.fs.filenames import printable
from daemon.status import status_text as show
from fawkes_engine import EngineError, ModeName

app = typer.Typer(
    name="fawkesd",
    help="Cloaks the faces in photos before they reach the folder that is uploaded.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(cliphotos.app)
app.add_typer(clicontrol.app)
app.add_typer(clipeople.app)
app.add_typer(climodels.app, name="models")
app.add_typer(clievaluate.app)
app.add_typer(clibench.app)
app.add_typer(cliaudit.app)
app.add_typer(clisybil.app)
app.add_typer(cliservice.app, name="service")

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


def _user_name(name: str) -> str:
    try:
        return TypeAdapter(UserName).validate_python(name)
    except ValidationError as exc:
        raise typer.BadParameter("use letters a-z, digits, . _ or -, at most 64, a letter first") from exc


@app.callback()
def _common(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and stop."),
    ] = False,
) -> None:
    pass


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

    Asks for what no option tells.
    """
    path = config or default_config_path()
    init.ensure_new(path, force=force)
    given = init.Answers(user, tuple(outbox or ()), sync)
    answers = init.ask(given)
    if create:
        init.create_folders(answers)
    elif not given.complete:
        init.offer_folders(answers)
    init.write(path, answers, force=force)
    typer.echo(f"Wrote {path}. Next: `fawkesd once` cloaks what waits, `fawkesd run` keeps watching.")


@app.command(epilog=examples("fawkesd check-config", "fawkesd check-config --schema > fawkesd.schema.json"))
def check_config(
    config: Config = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON schema of the file instead.")
    ] = False,
) -> None:
    """Check the configuration file.

    Says that it is right, or every fault with its line.
    """
    if schema:
        typer.echo(reference.schema(), nl=False)
        return
    settings = load_settings(config)
    typer.echo(f"The configuration is right; users: {', '.join(user.name for user in settings.users)}.")


@app.command("run", epilog=examples("fawkesd run", "fawkesd run --config ./fawkesd.yaml"))
def run_service(config: Config = None) -> None:
    """Watch the outboxes and publish.

    Runs in the foreground until stopped by SIGTERM or Ctrl-C.
    """
    settings = load_settings(config)
    from daemon.service import run as service

    raise typer.Exit(service.run(settings, lambda: load_settings(config)))


@app.command("once", epilog=examples("fawkesd once", "fawkesd once --config ./fawkesd.yaml"))
def run_once(config: Config = None) -> None:
    """Publish what waits, then stop.

    Exits with 0 when everything was published, with 1 when a photo is held; the reasons are printed.
    """
    settings = load_settings(config)
    from daemon.service import run as service

    with progress.bar("cloaking") as bar:
        result = service.once(settings, bar)
    typer.echo(f"{result.published} published, {len(result.held)} held")
    for photo in result.held:
        typer.echo(show.held_line(photo))
    if quiet := settings.engine.quiet_now:
        typer.echo(f"{show.quiet_words(quiet.ends)}: photos wait")
    raise typer.Exit(Exit.HELD if result.held else Exit.OK)


@app.command("status", epilog=examples("fawkesd status", "fawkesd status --json"))
def show_status(config: Config = None, as_json: Json = False) -> None:
    """Show what was published, waits or is held.

    Works with the service stopped, too.
    """
    settings = load_settings(config)
    from daemon.status import status

    found = status.read(settings)
    for line in [show.status_json(found)] if as_json else show.status_lines(found):
        typer.echo(line)


@app.command(
    "cloak",
    epilog=examples(
        "fawkesd cloak IMG_1.jpg --user alice --out cloaked",
        "fawkesd cloak ~/Pictures/2026/*.jpg --user alice --out cloaked --json > report.jsonl",
    ),
)
def cloak_photos(
    photos: Annotated[list[Path], typer.Argument(metavar="PHOTO", show_default=False)],
    user: Annotated[str, typer.Option(callback=_user_name, help="Whose fixed identity the photos get.")],
    out: Annotated[Path, typer.Option(help="Folder for the cloaked copies; made if missing.")],
    mode: Annotated[
        ModeName | None, typer.Option(help="Not the configuration's, or standard.", show_default=False)
    ] = None,
    config: Config = None,
    as_json: Json = False,
    force: Annotated[bool, typer.Option("--force", help="Replace existing files in --out.")] = False,
) -> None:
    """Cloak the named photos at once.

    Needs neither the service nor a configuration. Exits with 1 when a photo is held; the reason is printed.
    """
    setup = cloak.setup(config, user)
    order = cloak.Order(tuple(photos), setup.request, out, force)
    shelf.check(order.photos, order.out, force=order.force)
    settings = setup.engine.model_copy(update={"mode": mode} if mode else {})
    engine = cloak.load_engine(settings.to_engine(), setup.targets_dir)
    held = False
    with progress.bar("cloaking") as bar:
        bar.total(len(photos))
        for outcome in cloak.cloak(order, engine, setup.engine.batch_photos):
            held |= isinstance(outcome, shelf.Held)
            typer.echo(cloak.as_json(outcome) if as_json else cloak.as_line(outcome))
            bar.advance()
    raise typer.Exit(Exit.HELD if held else Exit.OK)
