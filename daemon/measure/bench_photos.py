"""Selects the photos that `fawkesd bench` measures with, and counts those that wait. They are only read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from daemon.config.settings import Settings
from daemon.errors import InputError
from daemon.fs.filenames import Kind, kind_of
from daemon.fs.files import snapshot_of
from daemon.fs.walk import walk
from daemon.model import WAITING, Outbox, Snapshot, State
from daemon.state.history import reading
from daemon.status.lookup import outboxes
from daemon.text import printable
from fawkes_engine import Request

_SAMPLE_BYTES = 64 << 20
_HELP = "name a folder of photos with --data"
_TO_DO = {
    None,
    State.GONE,
    *WAITING,
}  # states of an existing photo; None: not in the ledger yet


@dataclass(frozen=True, slots=True)
class Sample:
    """photos: what to measure with, newest first. waiting: how many photos are still to be cloaked in all."""

    photos: tuple[Request, ...]
    waiting: int


@dataclass(frozen=True, slots=True)
class _Found:
    """A photo on a disk. request: makes the engine's request from its bytes. waits: whether it is not cloaked yet."""

    path: Path
    snapshot: Snapshot
    request: Callable[[bytes], Request]
    waits: bool


def of_folder(folder: Path, most: int) -> Sample:
    """The newest photos below a folder, at most `most`. Raises InputError if there are none."""
    if not folder.is_dir():
        raise InputError(f"{printable(folder)} is not a folder; {_HELP}")
    found = _found(Outbox("bench", folder), partial(Request, user="bench"), lambda _path: True)
    return _sample(found, most, f"there are no photos in {printable(folder)}")


def of_outboxes(settings: Settings | None) -> Sample:
    """The newest photos of the outboxes, waiting ones first, as many as the engine works on together.

    Raises InputError without photos or a configuration, and LedgerError.
    """
    if settings is None:
        raise InputError(f"no configuration names an outbox; {_HELP}")
    states: dict[Path, State] = {}
    with reading(settings.state_dir) as history:
        for record in history.newest():  # a photo's newest content comes first
            states.setdefault(record.photo.source.path, record.photo.state)
    found = [
        one
        for outbox in outboxes(settings)
        for one in _found(
            outbox, partial(settings.request, outbox.user), lambda path: states.get(path) in _TO_DO
        )
    ]
    where = ", ".join(printable(outbox.root) for outbox in outboxes(settings))
    return _sample(found, settings.engine.batch_photos, f"there are no photos in {where}")


def _found(
    outbox: Outbox, request: Callable[[bytes], Request], waits: Callable[[Path], bool]
) -> list[_Found]:
    photos = [
        path
        for path in walk(outbox.root, outbox.ignore)
        if kind_of(path.relative_to(outbox.root), outbox.ignore) is Kind.PHOTO
    ]
    return [
        _Found(path, now, request, waits(path)) for path in photos if (now := snapshot_of(path)) is not None
    ]


def _sample(found: Iterable[_Found], most: int, complaint: str) -> Sample:
    ordered = sorted(found, key=lambda one: (one.waits, one.snapshot.mtime_ns), reverse=True)
    photos: list[Request] = []
    size = 0
    for one in ordered[:most]:
        size += one.snapshot.size
        if photos and size > _SAMPLE_BYTES:
            break
        photos.append(one.request(_read(one.path)))
    if not photos:
        raise InputError(f"{complaint}; {_HELP}")
    return Sample(tuple(photos), sum(one.waits for one in ordered))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise InputError(f"{printable(path)} cannot be read ({exc.strerror}); {_HELP}") from exc
