"""The commands for single photos: why, history, held, retry, redo."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from daemon.cli.common import (
    Config,
    Json,
    Strength,
    Verbose,
    choice_of,
    echo_replies,
    examples,
    load_settings,
    run_commands,
)
from daemon.exits import Exit
from daemon.status import explain_text
from daemon.text import printable
from fawkes_engine import ModeName

if TYPE_CHECKING:
    from daemon.config.settings import Settings
    from daemon.control.commands import Reply
    from daemon.model import Choice, Source
    from daemon.state.history import Record

app = typer.Typer()


@app.command(
    "why",
    epilog=examples(
        "fawkesd why ~/Pictures/outbox/IMG_1.jpg", "fawkesd why ~/Pictures/sync/IMG_1.jpg --json"
    ),
)
def explain_photo(
    photo: Annotated[Path, typer.Argument(metavar="PATH", show_default=False)],
    verbose: Verbose = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show what happened to one photo.

    PATH is in an outbox or in a sync folder. Also works while the service is stopped.
    """
    settings = load_settings(config)
    from daemon.status import explain

    found = explain.explain(settings, photo)
    _echo_lines([explain_text.why_json(found)] if as_json else explain_text.why_lines(found, figures=verbose))


@app.command("history", epilog=examples("fawkesd history", "fawkesd history ~/Pictures/outbox/trip --json"))
def show_history(
    place: Annotated[Path | None, typer.Argument(metavar="PATH", show_default=False)] = None,
    limit: Annotated[int, typer.Option(min=1, help="Show at most this many.")] = 20,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show the latest changes, newest first.

    PATH limits them to a photo or a folder, in an outbox or in a sync folder. Also works while the service is stopped.
    """
    settings = load_settings(config)
    from daemon.status import lookup

    records = lookup.newest_at(settings, place, limit)
    _echo_records(
        records,
        as_json=as_json,
        none="Nothing has happened to any photo there." if place else "Nothing has happened yet.",
    )


@app.command("held", epilog=examples("fawkesd held", "fawkesd held --json"))
def show_held(config: Config = None, as_json: Json = False) -> None:
    """Show what is held, and why, and what waits for review or was rejected.

    Exits with 1 if any is held or waits for review. Also works while the service is stopped.
    """
    settings = load_settings(config)
    from daemon.model import State
    from daemon.state.history import reading

    with reading(settings.state_dir) as history:
        open_ones = [*history.in_state(State.HELD), *history.in_state(State.REVIEW)]
        records = [*open_ones, *history.in_state(State.REJECTED)]
    _echo_records(records, as_json=as_json, none="No photo is held, waits for review or was rejected.")
    raise typer.Exit(Exit.HELD if open_ones else Exit.OK)


@app.command("retry", epilog=examples("fawkesd retry ~/Pictures/outbox/IMG_1.jpg", "fawkesd retry --all"))
def retry_photos(
    photos: Annotated[list[Path] | None, typer.Argument(metavar="PATH", show_default=False)] = None,
    everything: Annotated[bool, typer.Option("--all", help="Retry every photo that failed.")] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Retry photos that failed.

    Retries photos that are held, and those that wait after a failure. Also works while the service is stopped: they are
    retried at the next start.
    """
    if bool(photos) == everything:
        raise typer.BadParameter("name the photos, or use --all")
    settings = load_settings(config)
    from daemon.control import commands
    from daemon.status import lookup

    sources = lookup.sources_at(settings, photos or [])
    retries = [commands.Retry(one.outbox.user, one.outbox.root, one.relative) for one in sources]
    run_commands(settings, retries or [commands.RetryAll()], as_json=as_json)


@app.command(
    "redo",
    epilog=examples(
        "fawkesd redo ~/Pictures/outbox/IMG_1.jpg",
        "fawkesd redo ~/Pictures/outbox/IMG_1.jpg --mode strong",
        "fawkesd redo ~/Pictures/outbox/IMG_1.jpg --strength 80",
    ),
)
def redo_photos(
    photos: Annotated[list[Path], typer.Argument(metavar="PATH", show_default=False)],
    mode: Annotated[
        ModeName | None,
        typer.Option(help="Mode for these photos, from now on [default: as before].", show_default=False),
    ] = None,
    strength: Strength = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Cloak and publish photos again.

    Also restores a copy that was deleted from the sync folder, which otherwise stays deleted, and brings a photo back
    that was rejected or recalled. One that waits for review is made anew. PATH is in an outbox or in a sync folder.
    Also works while the service is stopped: it happens at the next start.

    --mode and --strength stay with the photo, also when it is written again. With them, held photos are cloaked again,
    too.
    """
    settings = load_settings(config)
    from daemon.status import lookup

    choice = choice_of(mode, strength)
    replies = [_redo(settings, source, choice) for source in lookup.sources_at(settings, photos)]
    echo_replies(replies, as_json=as_json)


def _redo(settings: Settings, source: Source, choice: Choice | None) -> Reply:
    from daemon.control import client, commands
    from daemon.fs.ignore import ignored_by

    user = settings.user(source.outbox.user)
    ignored = ignored_by(source.relative, user.ignore if user else ())
    if ignored is not None:  # it would never be made again, and its copy no longer be known as such
        why = f"{source.path} is ignored now, by {ignored.pattern}; remove that pattern to publish it again"
        return commands.Reply(Exit.NO_INPUT, printable(why))
    redo = commands.Redo(source.outbox.user, source.outbox.root, source.relative)
    if choice is not None:
        redo = replace(redo, mode=choice.mode, strength=choice.strength)
    return client.run(settings.state_dir, redo)


def _echo_records(records: Sequence[Record], *, as_json: bool, none: str) -> None:
    """none: said on stderr in place of an empty list."""
    if not records and not as_json:
        typer.echo(none, err=True)
    _echo_lines([explain_text.records_json(records)] if as_json else map(explain_text.history_line, records))


def _echo_lines(lines: Iterable[str]) -> None:
    for line in lines:
        typer.echo(line)
