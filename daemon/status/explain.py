"""`fawkesd why PATH`: explains what happened to one photo, given its path in an outbox or in the sync folder."""

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
from daemon.state import facts
from daemon.state.history import History, Record, reading
from daemon.state.unfinished import from_text
from daemon.status.lookup import absolute, source_at, sync_folder_of
from daemon.text import duration, moment


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is known about a path.

    user: whose folder it is in. source: the photo in the outbox; None for a foreign file in a sync folder.
    records: every generation, newest first. output: the published file. ignored_by: the ignore pattern that
    matches its name, or that of a folder it is in. notes: what the ledger alone does not show.
    """

    path: Path
    user: str
    source: Path | None
    records: tuple[Record, ...]
    output: Path | None
    ignored_by: str | None
    notes: tuple[str, ...]


def explain(settings: Settings, path: Path) -> Explanation:
    """Explain a path. Raises InputError if it is in no configured folder, and LedgerError."""
    place = absolute(path)
    with reading(settings.state_dir) as history:
        source = source_at(settings, history, place)
        if source is not None:
            return _explain(settings, history, place, source)
    user = sync_folder_of(settings, place)
    assert user is not None, "source_at returns None only for a foreign file in a sync folder"
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
        notes=tuple(_notes(settings, history, source, records, output)),
    )


def _output(user: UserSettings | None, records: Sequence[Record]) -> Path | None:
    """The published copy of a photo; None if its user is no longer configured."""
    for record in records:
        if user is not None and record.photo.state is State.PUBLISHED and record.photo.output is not None:
            return user.sync / record.photo.output.relative
    return None


def _notes(
    settings: Settings, history: History, source: Source, records: Sequence[Record], output: Path | None
) -> Iterator[str]:
    if not any(source.outbox.root in user.outboxes for user in settings.users):
        yield "its outbox is no longer in the configuration, so it is not processed"
    if output is not None and not os.path.lexists(output):
        yield "the published copy was deleted and stays deleted; `fawkesd redo` publishes it again"
    found = snapshot_of(source.path)
    if found is None:
        is_missing = not os.path.lexists(source.path)
        yield "the file no longer exists" if is_missing else "it is not a regular file, so it is ignored"
    elif kind_of(source.relative) is Kind.CLIP:
        yield "video clips show the same faces uncloaked and are never published"
    elif source.relative.suffix.lower() not in PHOTO_SUFFIXES:
        yield f"files named *{source.relative.suffix} are not photos and are ignored"
    elif not records or not records[0].photo.snapshot.same_content(found):
        what = "it is new" if not records else "it has changed since"
        yield f"{what}; {_prospect(settings, history, source)}"


def _prospect(settings: Settings, history: History, source: Source) -> str:
    """What will become of a file that the ledger does not know."""
    if holder(settings.state_dir) is None:
        return "fawkesd is not running: start it"
    settle = duration(settings.watch.settle_s)
    usual = f"it is processed once it has not changed for {settle}"
    unfinished = from_text(history.facts.all().get(facts.UNFINISHED, "[]"))
    key = (source.outbox.user, source.path)
    file = next((one for one in unfinished if (one.user, one.path) == key), None)
    if file is None:
        return usual
    if file.taken_at is None:
        return f"{file.reason}; {usual}"
    return (
        f"{file.reason}; it is looked at every {settle}, and taken as it is at {moment(file.taken_at)} "
        "unless it changes"
    )
