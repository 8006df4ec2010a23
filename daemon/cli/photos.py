"""The commands about photos: why, history, held, retry, redo."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from daemon.cli.common import Config, Json, examples, load_settings, run_commands
from daemon.exits import Exit
from daemon.status import explain_text

app = typer.Typer()


@app.command(
    "why",
    epilog=examples(
        "fawkesd why ~/Pictures/outbox/IMG_1.jpg", "fawkesd why ~/Pictures/sync/IMG_1.jpg --json"
    ),
)
def explain_photo(
    photo: Annotated[Path, typer.Argument(metavar="PATH", show_default=False)],
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Tell what happened to one photo.

    PATH is in an outbox or in a sync folder. Works with the service stopped, too.
    """
    settings = load_settings(config)
    from daemon.status import explain

    found = explain.explain(settings, photo)
    _tell([explain_text.why_json(found)] if as_json else explain_text.why_lines(found))


@app.command("history", epilog=examples("fawkesd history", "fawkesd history ~/Pictures/outbox/trip --json"))
def show_history(
    place: Annotated[Path | None, typer.Argument(metavar="[PATH]", show_default=False)] = None,
    limit: Annotated[int, typer.Option(min=1, help="Show at most so many.")] = 20,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show what happened last, newest first.

    PATH limits it to a photo or a folder, in an outbox or in a sync folder. Works with the service stopped.
    """
    settings = load_settings(config)
    from daemon.status import lookup

    records = lookup.newest_at(settings, place, limit)
    _tell([explain_text.records_json(records)] if as_json else map(explain_text.history_line, records))


@app.command("held", epilog=examples("fawkesd held", "fawkesd held --json"))
def show_held(config: Config = None, as_json: Json = False) -> None:
    """Show the photos that are held, and why.

    Exits with 1 if there are any. Works with the service stopped, too.
    """
    settings = load_settings(config)
    from daemon.model import State
    from daemon.state.history import reading

    with reading(settings.state_dir) as history:
        records = history.in_state(State.HELD)
    _tell([explain_text.records_json(records)] if as_json else map(explain_text.history_line, records))
    raise typer.Exit(Exit.HELD if records else Exit.OK)


@app.command("retry", epilog=examples("fawkesd retry ~/Pictures/outbox/IMG_1.jpg", "fawkesd retry --all"))
def retry_photos(
    photos: Annotated[list[Path] | None, typer.Argument(metavar="[PATH]...", show_default=False)] = None,
    everything: Annotated[bool, typer.Option("--all", help="Try every photo that failed.")] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Try photos again that failed.

    Those that are held, and those that wait after a failure. Works with the service stopped: the next start
    tries them.
    """
    if bool(photos) == everything:
        raise typer.BadParameter("name the photos, or say --all")
    settings = load_settings(config)
    from daemon.control import commands
    from daemon.status import lookup

    sources = lookup.sources_at(settings, photos or [])
    wanted = [commands.Retry(one.outbox.user, one.outbox.root, one.relative) for one in sources]
    run_commands(settings, wanted or [commands.RetryAll()], as_json=as_json)


@app.command("redo", epilog=examples("fawkesd redo ~/Pictures/outbox/IMG_1.jpg"))
def redo_photos(
    photos: Annotated[list[Path], typer.Argument(metavar="PATH...", show_default=False)],
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Make published photos again.

    Also when the result was removed from the sync folder, which otherwise stays so. PATH is in an outbox or
    in a sync folder. Works with the service stopped: the next start makes them.
    """
    settings = load_settings(config)
    from daemon.control import commands
    from daemon.status import lookup

    sources = lookup.sources_at(settings, photos)
    wanted = [commands.Redo(one.outbox.user, one.outbox.root, one.relative) for one in sources]
    run_commands(settings, wanted, as_json=as_json)


def _tell(lines: Iterable[str]) -> None:
    for line in lines:
        typer.echo(line)
