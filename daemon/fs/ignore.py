"""What is ignored below an outbox, and by which pattern: built-in ones, and those of a user's `ignore`.

Everything that asks whether a name is ignored asks here: events, scans, `why`, `doctor`.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import PurePath

from daemon.fs.gitignore import GitIgnore

# Both lists are compared in lower case. Patterns of one do not apply to the other: photos lie in folders that are
# named Wedding_original, Scan.part or BatchTool-2024 by people.

# Temporary files of exporters, sync tools and file managers. digiKam's end in .jpg and are not hidden; exiftool keeps
# `_original` beside the file it rewrote.
_FILES = (
    *(".*", "*~", "~$*", "~syncthing~*", "thumbs.db", "desktop.ini"),
    *("*.part", "*.filepart", "*.crdownload", "*.tmp", "*.partial", "*.tacitpart"),
    *("*_exiftool_tmp", "*_original", "*.digikamtempfile.*"),
)

# Hidden folders, among them the versions and trash of sync tools; previews, trash and snapshots of NAS and file
# servers; what Windows and macOS keep on a drive.
_FOLDERS = (
    *(".*", "@eadir", "#recycle", "@recycle", "#snapshot", "@recently-snapshot", "network trash folder"),
    *("$recycle.bin", "system volume information", "lost+found", "__macosx"),
)


@dataclass(frozen=True, slots=True)
class Ignored:
    """Why a file is ignored.

    pattern: as it is written. position: its index in the user's `ignore`; None if it is built in. place: the file, or
    the outermost folder above it that matches, below the outbox. is_folder: whether the place is a folder.
    """

    pattern: str
    position: int | None
    place: PurePath
    is_folder: bool


def ignored_by(
    relative: PurePath, ignore: tuple[str, ...] = (), *, is_folder: bool = False
) -> Ignored | None:
    """The pattern by which a path below an outbox, or a folder above it, is ignored; None if there is none.

    ignore: gitignore patterns, besides the built-in ones, which they cannot overrule.
    """
    for folder in reversed(relative.parents[:-1]):
        if (found := _folder_ignored_by(folder, ignore)) is not None:
            return found
    return ignored_itself(relative, ignore, is_folder=is_folder)


def ignored_itself(relative: PurePath, ignore: tuple[str, ...] = (), *, is_folder: bool) -> Ignored | None:
    """The same for a path in a folder that is not ignored."""
    built_in = _FOLDERS if is_folder else _FILES
    name = relative.name.lower()
    pattern = next((pattern for pattern in built_in if fnmatchcase(name, pattern)), None)
    if pattern is not None:
        return Ignored(pattern, None, relative, is_folder)
    position = compiled(ignore).match(relative, is_folder=is_folder) if ignore else None
    return None if position is None else Ignored(ignore[position], position, relative, is_folder)


@lru_cache(maxsize=64)
def compiled(patterns: tuple[str, ...]) -> GitIgnore:
    """The patterns, compiled. Raises ValueError as GitIgnore does."""
    return GitIgnore(patterns)


@lru_cache(maxsize=4096)
def _folder_ignored_by(folder: PurePath, ignore: tuple[str, ...]) -> Ignored | None:
    return ignored_itself(folder, ignore, is_folder=True)
