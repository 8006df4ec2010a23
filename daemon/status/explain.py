"""`fawkesd why PATH`: explains what happened to one photo, given its path in an outbox or in the sync folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from daemon.config.settings import Settings, UserSettings
from daemon.errors import InputError
from daemon.fs.absence import absence
from daemon.fs.filenames import Kind, kind_by_suffix
from daemon.fs.files import snapshot_of
from daemon.fs.ignore import Ignored, ignored_by
from daemon.fs.locks import holder
from daemon.model import WAITING, NoFacePolicy, Source, State
from daemon.state import facts
from daemon.state.history import History, Record, reading
from daemon.state.targets import FileTargetStore
from daemon.state.unfinished import from_text
from daemon.status.lookup import absolute, origin_of, source_at, source_behind_link, sync_folder_of
from daemon.text import duration, moment, printable


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is known about a path.

    user: whose folder it is in. source: the photo in the outbox; None for a foreign file in a sync folder.
    records: every generation, newest first. output: the published file. ignored: the pattern that ignores it or a
    folder it is in. ignored_from: as of `lookup.origin_of`. notes: what the ledger alone does not show.
    """

    path: Path
    user: str
    source: Path | None
    records: tuple[Record, ...]
    output: Path | None
    ignored: Ignored | None
    ignored_from: str | None
    notes: tuple[str, ...]


def explain(settings: Settings, path: Path) -> Explanation:
    """Explain a path. Raises InputError if it is in no configured folder or never was there, and LedgerError."""
    place = absolute(path)
    with reading(settings.state_dir) as history:
        source = source_behind_link(settings, path) or source_at(settings, history, place)
        if source is not None:
            if _never_was(history, source):
                raise InputError(f"{printable(place)}: no such file, nor was there ever one; check the path")
            return _explain(settings, history, place, source)
    user = sync_folder_of(settings, place)
    assert user is not None, "source_at returns None only for a foreign file in a sync folder"
    return _foreign(place, user)


def _never_was(history: History, source: Source) -> bool:
    is_away = absence(source.outbox.root) is not None  # then nothing is known
    return not (is_away or os.path.lexists(source.path) or history.of_source(source))


def _foreign(place: Path, user: UserSettings) -> Explanation:
    away = absence(user.sync)
    note = f"its sync folder {user.sync} {away}" if away else "nothing was published here"
    if os.path.lexists(place):
        note = "this file was not published by fawkesd"
    return Explanation(place, user.name, None, (), None, None, None, (note,))


def _explain(settings: Settings, history: History, place: Path, source: Source) -> Explanation:
    records = history.of_source(source)
    user = settings.user(source.outbox.user)
    output = _output(user, records)
    is_folder = source.path.is_dir() and not source.path.is_symlink()
    ignored = ignored_by(source.relative, user.ignore if user else (), is_folder=is_folder)
    return Explanation(
        path=place,
        user=source.outbox.user,
        source=source.path,
        records=tuple(records),
        output=output,
        ignored=ignored,
        ignored_from=origin_of(settings, source.outbox.user, ignored.position) if ignored else None,
        notes=(
            *_sync_notes(user, output),
            *_decision_notes(records),
            *_target_notes(settings, history, records),
            *_notes(settings, history, source, records, output, is_ignored=ignored is not None),
        ),
    )


def _output(user: UserSettings | None, records: Sequence[Record]) -> Path | None:
    """The published copy of a photo; None if its user is no longer configured."""
    for record in records:
        if user is not None and record.photo.state is State.PUBLISHED and record.photo.output is not None:
            return user.sync / record.photo.output.relative
    return None


def _away(settings: Settings, history: History, source: Source) -> str | None:
    """Why the outbox of a photo is not used now, as the running service says, or by a look; None if it is."""
    root = source.outbox.root
    reported = history.facts.all() if holder(settings.state_dir) is not None else {}
    return reported.get(facts.AWAY + printable(root)) or absence(root)


def _sync_notes(user: UserSettings | None, output: Path | None) -> Iterator[str]:
    if user is None:
        return
    away = absence(user.sync)
    if away is not None:
        yield f"its sync folder {user.sync} {away}; fawkesd waits for it"
    elif output is not None and not os.path.lexists(output):
        yield "the published copy was deleted and stays deleted; `fawkesd redo` publishes it again"


def _decision_notes(records: Sequence[Record]) -> Iterator[str]:
    """Yield what a person can decide about a photo, or has decided."""
    if not records:
        return
    photo = records[0].photo
    if photo.state is State.REVIEW:
        yield "it waits for review: `fawkesd approve` publishes it, `fawkesd reject` keeps it away"
    elif photo.state is State.READY and photo.approved:
        yield "it was approved, and will be published"
    elif photo.state is State.REJECTED:
        approve = "`fawkesd approve` or " if photo.result_sha256 else ""
        yield f"it stays away until {approve}`fawkesd redo`"
    elif photo.state is State.HELD and photo.no_face is NoFacePolicy.HOLD:
        yield "if there is no face in it, `fawkesd publish` publishes it all the same"
    elif photo.state is State.RECALLED:
        yield "it was recalled, and stays away until `fawkesd redo`"
    if any(record.photo.state is State.RECALLING for record in records):
        yield "its published copy will be removed as soon as the sync folder can be used"


def _target_notes(settings: Settings, history: History, records: Sequence[Record]) -> Iterator[str]:
    """Yield why a photo has to wait for its user's target."""
    if records and records[0].photo.state in WAITING:
        user = records[0].photo.source.outbox.user
        lost = FileTargetStore(settings.targets_dir).objection(user, history.targets)
        if lost is not None:
            yield lost


def _notes(
    settings: Settings,
    history: History,
    source: Source,
    records: Sequence[Record],
    output: Path | None,
    *,
    is_ignored: bool,
) -> Iterator[str]:
    """Yield what is known of a photo in its outbox."""
    if not any(source.outbox.root in user.outboxes for user in settings.users):
        yield "its outbox is no longer in the configuration, so it is not processed"
    away = _away(settings, history, source)
    found = snapshot_of(source.path)
    kind = kind_by_suffix(source.relative)
    link = _link_above(source)
    if away is not None:
        yield f"its outbox {source.outbox.root} is away: {away}"
    elif link is not None:
        yield f"it lies behind the symbolic link {link}, which is not followed"
    elif found is None:
        unmounted = history.mounts.away_from(source)
        yield _why_no_file(source, unmounted)
        if unmounted is None:
            yield from _left_over(output)
    elif is_ignored:
        yield from _left_over(output)
    elif kind is Kind.CLIP:
        yield "video clips show the same faces uncloaked and are never published"
    elif kind is not Kind.PHOTO:
        yield f"files named *{source.relative.suffix} are not photos and are ignored"
    elif not records or not records[0].photo.snapshot.same_content(found):
        what = "it is new" if not records else "it has changed since"
        yield f"{what}; {_prospect(settings, history, source)}"


def _left_over(output: Path | None) -> Iterator[str]:
    """Yield what becomes of a published copy whose photo was deleted, or is ignored now."""
    if output is not None and os.path.lexists(output):
        yield "its published copy stays; delete that yourself if it is to go, too"


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


def _why_no_file(source: Source, away: Path | None) -> str:
    """away: the folder below the outbox on which a mount is missing that the photo lies on; None if none is."""
    if source.path.is_symlink():
        return "it is a symbolic link, which is not followed"
    if source.path.is_dir():
        return "it is a folder; `fawkesd history` lists what happened in it"
    if source.path.exists():
        return "it is not a regular file, so it is ignored"
    if away is not None:
        return f"nothing is mounted on {source.outbox.root / away}"
    return "the file no longer exists"


def _link_above(source: Source) -> Path | None:
    """The first symlink on the way from the outbox to a photo; None if there is none."""
    folders = (source.outbox.root / folder for folder in reversed(source.relative.parents))
    return next((folder for folder in folders if folder != source.outbox.root and folder.is_symlink()), None)
