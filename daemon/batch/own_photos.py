"""A user's own photos: those in the sync folder, with the originals that they were made from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from daemon.batch.output_folder import read
from daemon.config.settings import Settings, UserSettings
from daemon.errors import InputError
from daemon.fs.filenames import Kind, kind_of
from daemon.model import State
from daemon.state.history import Record, reading
from daemon.text import printable


@dataclass(frozen=True, slots=True)
class Shared:
    """A photo in a sync folder. original: what it was made from; None if that is gone, or it is not fawkesd's."""

    path: Path
    original: Path | None


def shared_by(settings: Settings, user: UserSettings, at_most: int) -> list[Shared]:
    """Return the newest photos in a user's sync folder, without those known to show other people too."""
    with reading(settings.state_dir) as history:
        made = {
            user.sync / record.photo.output.relative: record
            for record in reversed(history.in_state(State.PUBLISHED))  # the newest wins
            if record.photo.output and record.photo.source.outbox.user == user.name
        }
    return list(islice(_shared(user, made), at_most))


def photos_in(folder: Path) -> list[Path]:
    """Return the photos in a folder, not below it, sorted by name. Raises InputError if there are none."""
    if not folder.is_dir():
        raise InputError(f"{printable(folder)} is not a folder; check the path")
    photos = sorted(p for p in folder.iterdir() if kind_of(Path(p.name)) is Kind.PHOTO and p.is_file())
    if not photos:
        raise InputError(f"{printable(folder)} contains no photos; name a folder that does")
    return photos


def refuse_copies(photos: Iterable[Path], state_dir: Path) -> None:
    """Raise InputError if a photo that is to show a clean face is a published copy, or cannot be read."""
    with reading(state_dir) as history:
        for photo in photos:
            origin = history.origin(hashlib.sha256(read(photo)).hexdigest())
            if origin is not None:
                raise InputError(
                    f"{printable(photo)} is the cloaked copy of {printable(origin.path)}, and shows another face; "
                    "give the original"
                )


def _shared(user: UserSettings, made: dict[Path, Record]) -> Iterator[Shared]:
    photos = (
        p for p in user.sync.rglob("*") if kind_of(p.relative_to(user.sync)) is Kind.PHOTO and p.is_file()
    )
    for path in sorted(photos, key=lambda p: p.stat().st_mtime_ns, reverse=True):
        record = made.get(path)
        if record is None:
            yield Shared(path, None)
        elif record.report and [face["person"] for face in record.report["faces"]] == [user.name]:
            original = record.photo.source.path
            yield Shared(path, original if original.is_file() else None)
