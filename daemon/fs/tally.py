"""Counts the photos of an outbox that are ignored by name, and its videos, so that nobody misses them in silence."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

from daemon.fs.filenames import Kind, kind_by_suffix
from daemon.fs.ignore import Ignored

_PLACES = 4  # a reader of three sees whether there are more
_LOOKED_AT = 2000  # files and folders within ignored folders: a scan of an outbox must stay cheap


@dataclass(frozen=True, slots=True)
class IgnoredPhotos:
    """Photos of an outbox that one pattern ignores.

    pattern: as it is written. position: its index in the user's `ignore`; None if it is built in. photos: how many; at
    least so many unless is_all. places: the first of these files, and of ignored folders with a / at the end, below the
    outbox. are_videos: they are clips, which no pattern need match: it is empty.
    """

    pattern: str
    position: int | None
    photos: int = 0
    is_all: bool = True
    places: tuple[str, ...] = ()
    are_videos: bool = False


@dataclass(slots=True)
class Tally:
    """Counts what `walk` passes to `add`, and the videos among what it yields. root: the outbox."""

    root: Path
    _found: dict[tuple[str, int | None], IgnoredPhotos] = field(default_factory=dict)
    _folders: list[Ignored] = field(default_factory=list)
    _videos: list[str] = field(default_factory=list)

    def add(self, found: Ignored) -> None:
        """Note an ignored file or folder."""
        if found.is_folder:
            self._folders.append(found)
        elif kind_by_suffix(found.place) is Kind.PHOTO:
            self._count(found, 1)

    def look_at(self, path: Path) -> None:
        """Note a file that is not ignored, if it is a video."""
        if kind_by_suffix(path) is Kind.CLIP:
            self._videos.append(str(path.relative_to(self.root)))

    def result(self) -> list[IgnoredPhotos]:
        """Look into the ignored folders, first into those that the user ignores; return the photos by pattern.

        The videos are the last.
        """
        left = _LOOKED_AT
        for found in sorted(self._folders, key=lambda one: one.position is None):
            photos = 0
            for _, folders, files in os.walk(self.root / found.place) if left > 0 else ():
                photos += sum(kind_by_suffix(PurePath(name)) is Kind.PHOTO for name in files)
                left -= 1 + len(folders) + len(files)
                if left <= 0:
                    break
            self._count(found, photos, is_all=left > 0)
        most_first = sorted(self._found.values(), key=lambda one: -one.photos)
        places = tuple(self._videos[:_PLACES])
        videos = IgnoredPhotos("", None, photos=len(self._videos), places=places, are_videos=True)
        return [one for one in (*most_first, videos) if one.photos]

    def _count(self, found: Ignored, photos: int, *, is_all: bool = True) -> None:
        key = (found.pattern, found.position)
        place = f"{found.place}/" if found.is_folder else str(found.place)
        before = self._found.get(key) or IgnoredPhotos(found.pattern, found.position)
        self._found[key] = replace(
            before,
            photos=before.photos + photos,
            is_all=before.is_all and is_all,
            places=(*before.places, place)[:_PLACES] if photos else before.places,
        )
