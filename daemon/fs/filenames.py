"""File names: which are photos, and what a published file is called.

Pure functions on names; no file is touched.
"""

from __future__ import annotations

import errno
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from enum import Enum
from pathlib import PurePath

from daemon.fs.ignore import ignored_by

# Every name here is a photo to its owner. The engine refuses the kinds it cannot write, so that the photo is
# visibly held instead of silently skipped.
PHOTO_SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".gif", ".bmp", ".avif"),
        *(".heic", ".heif", ".hif", ".jxl", ".jp2", ".j2k", ".psd", ".psb", ".mpo", ".insp", ".exr", ".xcf"),
        *(".dng", ".raw", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".orf", ".rw2"),
        *(".raf", ".pef", ".srw", ".rwl", ".iiq", ".3fr", ".x3f", ".erf", ".kdc", ".mrw", ".dcr", ".gpr"),
    }
)

# Live and motion photos come with a clip of the same faces, and cameras film, too; a clip is never published.
CLIP_SUFFIXES = frozenset(
    {
        *(".mov", ".mp4", ".m4v", ".3gp", ".3g2", ".avi", ".mts", ".m2ts", ".mpg", ".mpeg", ".mkv", ".webm"),
        *(".wmv", ".insv"),
    }
)

# Extensions that name one format: a published JPEG keeps the name IMG_1.JPEG.
_ALIASES = {
    ".jpeg": ".jpg",
    ".jpe": ".jpg",
    ".jfif": ".jpg",
    ".tiff": ".tif",
    ".heif": ".heic",
    ".hif": ".heic",
}

_NAME_ERRNOS = frozenset({errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ})
# What FAT, exFAT, NTFS (mounted for Windows) and SMB servers refuse in a name
_WINDOWS_REFUSES = frozenset('"*:<>?\\|')


class Kind(Enum):
    """What a file below an outbox is, by its name."""

    PHOTO = "photo"
    CLIP = "clip"
    OTHER = "other"


def kind_of(relative: PurePath, ignore: tuple[str, ...] = ()) -> Kind:
    """Whether this path below an outbox is a photo to publish or to hold, a clip, or ignored.

    ignore: further gitignore patterns.
    """
    kind = kind_by_suffix(relative)
    return Kind.OTHER if kind is not Kind.OTHER and ignored_by(relative, ignore) is not None else kind


def kind_by_suffix(relative: PurePath) -> Kind:
    """The same for a path that is not ignored."""
    suffix = relative.suffix.lower()
    if suffix in PHOTO_SUFFIXES:
        return Kind.PHOTO
    return Kind.CLIP if suffix in CLIP_SUFFIXES else Kind.OTHER


def objection(relative: PurePath) -> str | None:
    """Why a photo of this name is held: sync tools drop such names or fail on them. None if it is not."""
    text = str(relative)
    try:
        text.encode()
    except UnicodeEncodeError:
        return "the file name is not valid UTF-8, which sync tools refuse; rename the file"
    if any(unicodedata.category(character) == "Cc" for character in text):
        return "the file name contains control characters, which sync tools refuse; rename the file"
    return None


def refusal(exc: OSError, kind: str | None) -> str | None:
    """Why a file system never accepts the name that it refused with this error; None if that is not about a name.

    kind: of file system, such as "vfat", if known.
    """
    name = PurePath(os.fsdecode(exc.filename2 or exc.filename or "")).name
    bad = " ".join(sorted(_WINDOWS_REFUSES & set(name)))
    # SMB servers and some FUSE programs have no such file rather than no such name.
    if not name or (exc.errno not in _NAME_ERRNOS and not (exc.errno == errno.ENOENT and bad)):
        return None
    where = f"the file system ({kind or 'of an unknown kind'})"
    if exc.errno == errno.ENAMETOOLONG:
        return f"the name '{name}' is too long for {where}; rename the file"
    if bad:
        return f"{where} accepts no {bad} in a name, as in '{name}'; rename the file"
    return f"{where} does not accept the name '{name}' ({exc.strerror}); rename the file"


def output_name(source_name: str, suffix: str) -> str:
    """The published name: the source's own, with the extension replaced only if the format changed."""
    old = PurePath(source_name).suffix
    if _format(old) == _format(suffix):
        return source_name
    return source_name[: len(source_name) - len(old)] + suffix


def candidates(name: str) -> Iterator[str]:
    """The names to try in order: `name.jpg`, `name~2.jpg`, `name~3.jpg`, ..."""
    yield name
    path = PurePath(name)
    number = 2
    while True:
        yield f"{path.stem}~{number}{path.suffix}"
        number += 1


def is_candidate(name: str, wanted: str) -> bool:
    """Whether a name is one of the `candidates` of another."""
    path = PurePath(wanted)
    return re.fullmatch(rf"{re.escape(path.stem)}(~\d+)?{re.escape(path.suffix)}", name) is not None


def twin_keys(names: Iterable[str]) -> set[str]:
    """The `twin_key` of each name."""
    return set(map(twin_key, names))


def twin_key(name: str) -> str:
    """Equal for names that macOS, Windows or a phone would take for one file."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _format(suffix: str) -> str:
    lower = suffix.lower()
    return _ALIASES.get(lower, lower)
