"""The output folder of a command: one name per photo, and nothing overwritten by mistake."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from daemon.errors import InputError, OutputError, OutputExists, OutputNameRefused
from daemon.fs import atomic
from daemon.fs.filenames import candidates, output_name, twin_key
from daemon.text import printable
from fawkes_engine import Decoy, Protected, Refusal

R = TypeVar("R", Protected, Decoy)


@dataclass(frozen=True, slots=True)
class Written(Generic[R]):
    """A photo whose result was written to output."""

    source: Path
    output: Path
    result: R


@dataclass(frozen=True, slots=True)
class NotWritten:
    """A photo without a result, and why."""

    source: Path
    reason: str


def check(photos: Sequence[Path], out: Path, *, force: bool) -> None:
    """Raise InputError or OutputError for what is sure to fail, before the engine is loaded."""
    for photo in photos:
        check_readable(photo)
    folder = OutputFolder(photos, out, force=force)
    for photo in photos:
        objection = folder.objection(folder.place(photo, photo.suffix))
        if objection:
            raise OutputError(objection)


def check_readable(photo: Path) -> None:
    """Raise InputError if a photo is no readable file."""
    if not photo.is_file() or not os.access(photo, os.R_OK):
        raise InputError(f"{printable(photo)} is not a readable file; check the path")


def process(
    photos: Sequence[Path],
    work: Callable[[list[bytes]], Sequence[R | Refusal]],
    out: Path,
    *,
    force: bool,
    batch_photos: int,
) -> Iterator[Written[R] | NotWritten]:
    """Process photos in batches; yield each outcome, in order, when its file is on disk.

    work: makes one result per photo of a batch. out: folder of the results, created if missing.
    force: replace existing files.

    Raises InputError if a photo has become unreadable, OutputError if nothing can be written.
    """
    atomic.make_folder(out)
    folder = OutputFolder(photos, out, force=force)
    for start in range(0, len(photos), batch_photos):
        batch = photos[start : start + batch_photos]
        for photo, result in zip(batch, work([read(photo) for photo in batch]), strict=True):
            yield folder.hold(photo, result) if isinstance(result, Refusal) else folder.write(photo, result)


class OutputFolder:
    """Assigns names in the output folder; every photo takes one, so that a held photo changes no other's name."""

    def __init__(self, photos: Sequence[Path], out: Path, *, force: bool) -> None:
        """force: replace existing files, but never one of the photos."""
        self._out = out
        self._force = force
        self._taken: set[str] = set()
        self._inputs = {_identity(photo) for photo in photos}

    def place(self, source: Path, suffix: str) -> Path:
        """Return the photo's output path: its own name, or name~2 if another photo of the job has taken it."""
        wanted = output_name(source.name, suffix)
        name = next(name for name in candidates(wanted) if twin_key(name) not in self._taken)
        self._taken.add(twin_key(name))
        return self._out / name

    def objection(self, path: Path) -> str | None:
        """Return why nothing may be written at path, or None."""
        if not os.path.exists(path):  # noqa: PTH110 - pathlib's raises where a name is too long
            return None
        if _identity(path) in self._inputs:
            return f"{printable(path)} is one of the input photos, and originals stay; choose another --out"
        if not self._force:
            return f"{printable(path)} exists already; move it away, choose another --out or use --force"
        return None

    def write(self, source: Path, result: R) -> Written[R] | NotWritten:
        """Write a photo's result under its name, unless nothing may be written there. Raises OutputError."""
        output = self.place(source, result.suffix)
        if objection := self.objection(output):
            return NotWritten(source, objection)
        try:
            atomic.write(output, result.data, replace=self._force)
        except (
            OutputExists,
            OutputNameRefused,
        ) as late:  # it appeared after the check, or cannot be known before
            return NotWritten(source, str(late))
        return Written(source, output, result)

    def hold(self, source: Path, refusal: Refusal) -> NotWritten:
        """Write nothing for a photo, but reserve its name."""
        self.place(source, source.suffix)
        return NotWritten(source, str(refusal))


def read(photo: Path) -> bytes:
    """Return a photo's bytes. Raises InputError if it has become unreadable."""
    try:
        return photo.read_bytes()
    except OSError as exc:
        raise InputError(f"{printable(photo)} cannot be read any more ({exc.strerror})") from exc


def _identity(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_dev, stat.st_ino
