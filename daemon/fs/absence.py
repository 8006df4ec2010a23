"""Whether a configured folder is there now, and if not, why and what to do about it.

A folder on a drive that is unplugged, or on a server that does not answer, is away, not wrong.
"""

from __future__ import annotations

import errno
from collections.abc import Collection
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path

from daemon.fs import mounts
from daemon.fs.filenames import twin_key
from daemon.fs.files import DIRECTORY, explain, opened

_FSTAB = Path("/etc/fstab")


def absence(folder: Path) -> str | None:
    """Why a folder cannot be opened now, such as "does not exist"; None if it can."""
    try:
        with opened(folder, DIRECTORY):
            return None
    except OSError as exc:
        if exc.errno == errno.ENOTDIR:
            return "is not a folder"
        if exc.errno != errno.ENOENT:
            return f"cannot be opened ({explain(exc)})"
        place = unmounted(folder)
        return "does not exist" if place is None else f"does not exist, and {place} is not mounted"


def unmounted(folder: Path) -> Path | None:
    """The place in /etc/fstab that a folder is on, if nothing is mounted there; None otherwise.

    In a sandbox the folder itself, or one above it, may be mounted instead of that place.
    """
    mounted, expected = _mounted(), _expected()
    for place in (folder, *folder.parents[:-1]):
        if place in mounted:
            return None
        if place in expected:
            return place
    return None


def advice(folder: Path, configured: Collection[Path] = ()) -> str:
    """What to do about a missing folder that was never used: its name may be misspelt.

    configured: folders that are not suggested, since they have a purpose already.
    """
    place = unmounted(folder)
    if place is not None:
        return f"mount {place}"
    close = _close_name(folder, configured)
    if close is not None and twin_key(str(close)) == twin_key(str(folder)):
        return (
            f"did you mean {close}? Its case differs, or its umlauts are as macOS writes them: copy its name"
        )
    return (
        f"did you mean {close}? Or mount its drive or create it" if close else "mount its drive or create it"
    )


def _close_name(folder: Path, configured: Collection[Path]) -> Path | None:
    """An existing folder whose path differs only in one name, and there only a little."""
    for missing in (folder, *folder.parents):
        if missing.parent.is_dir():
            break
    try:
        names = [entry.name for entry in missing.parent.iterdir() if not entry.name.startswith(".")]
    except OSError:
        return None
    for name in get_close_matches(missing.name, names):
        close = missing.parent / name / folder.relative_to(missing)
        if close.is_dir() and close not in configured:
            return close
    return None


def _mounted() -> set[Path]:
    with suppress(OSError):
        return {mount.point for mount in mounts.read()}
    return set()


def _expected() -> set[Path]:
    try:
        lines = _FSTAB.read_bytes().splitlines()
    except OSError:
        return set()
    words = [line.split() for line in lines if not line.lstrip().startswith(b"#")]
    return {Path(mounts.unescaped(line[1])) for line in words if len(line) > 2 and line[1].startswith(b"/")}
