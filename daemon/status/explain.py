"""`fawkesd why PATH`: what happened to one photo, asked by its place in an outbox or in the sync folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from daemon.config.settings import Settings, UserSettings
from daemon.fs.filenames import PHOTO_SUFFIXES, Kind, ignored_by, kind_of
from daemon.fs.files import snapshot_of
from daemon.fs.locks import holder
from daemon.model import Source, State
from daemon.state.history import History, Record, reading
from daemon.status.lookup import absolute, source_at, sync_folder_of


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is known about a path.

    user: whose folder it is in. source: the photo in the outbox; None for a foreign file in a sync folder.
    records: every generation, newest first. output: the published file. ignored_by: the rule that its name,
    or the name of a folder it is in, matches. notes: what the ledger alone does not say.
    """

    path: Path
    user: str
    source: Path | None
    records: tuple[Record, ...]
    output: Path | None
    ignored_by: str | None
    notes: tuple[str, ...]


def explain(settings: Settings, path: Path) -> Explanation:
    """Explain a path. Raises InputError if it is in no folder of anyone, and LedgerError."""
    place = absolute(path)
    with reading(settings.state_dir) as history:
        source = source_at(settings, history, place)
        if source is not None:
            return _explain(settings, history, place, source)
    user = sync_folder_of(settings, place)
    assert user is not None, "source_at knows every path but a foreign one in a sync folder"
    return _foreign(place, user.name)


def _foreign(place: Path, user: str) -> Explanation:
    note = "this file was not published by fawkesd" if place.exists() else "nothing was published here"
    return Explanation(place, user, None, (), None, None, (note,))


def _explain(settings: Settings, history: History, place: Path, source: Source) -> Explanation:
    records = history.of_source(source)
    user = settings.user(source.outbox.user)
    output = _output(user, records)
    return Explanation(
        path=place,
        user=source.outbox.user,
        source=source.path,
        records=tuple(records),
        output=output,
        ignored_by=ignored_by(source.relative, user.ignore if user else ()),
        notes=tuple(_notes(settings, source, records, output)),
    )


def _output(user: UserSettings | None, records: Sequence[Record]) -> Path | None:
    """Where the result of a published photo is; None of a person who is no longer configured."""
    for record in records:
        if user is not None and record.photo.state is State.PUBLISHED and record.photo.output is not None:
            return user.sync / record.photo.output.relative
    return None


def _notes(
    settings: Settings, source: Source, records: Sequence[Record], output: Path | None
) -> Iterator[str]:
    if not any(source.outbox.root in user.outboxes for user in settings.users):
        yield "its outbox is no longer in the configuration"
    if output is not None and not os.path.lexists(output):
        yield "the published file was removed and stays so; `fawkesd redo` makes it again"
    found = snapshot_of(source.path)
    if found is None:
        yield "there is no file any more" if not os.path.lexists(source.path) else "it is no regular file"
    elif kind_of(source.relative) is Kind.CLIP:
        yield "clips show the same faces and are never published"
    elif source.relative.suffix.lower() not in PHOTO_SUFFIXES:
        yield f"files named *{source.relative.suffix} are not photos and are left alone"
    elif not records or not records[0].photo.snapshot.same_content(found):
        what = "it is new" if not records else "it has changed since"
        running = holder(settings.state_dir) is not None
        yield f"{what}; " + ("it is taken once it is at rest" if running else "fawkesd is not running")
