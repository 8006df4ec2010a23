"""Folders and files that only their owner can open, where the file system keeps modes (FAT and exFAT keep none)."""

from __future__ import annotations

import contextlib
import errno
import stat
from collections.abc import Iterator
from pathlib import Path

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
# What FAT and exFAT say of modes and times to who is not the owner that they are mounted for, and some FUSE programs
_NO_MODES = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS})


def make_private(directory: Path) -> None:
    """Create a directory that only its owner can access, or restrict an existing one. Raises OSError."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    restrict(directory)


def restrict(path: Path) -> bool:
    """Take other users' rights to a file or folder away; return whether they had any. Raises OSError."""
    if not is_open_to_others(path):
        return False
    with where_modes_exist():
        path.chmod(stat.S_IMODE(path.stat().st_mode) & ~_OTHERS)
    return not is_open_to_others(path)


def is_open_to_others(path: Path) -> bool:
    """Whether its mode gives anybody but the owner a right to a file or folder. Raises OSError."""
    return bool(path.stat().st_mode & _OTHERS)


@contextlib.contextmanager
def where_modes_exist() -> Iterator[None]:
    """Go without a mode or a time that this file system cannot keep."""
    try:
        yield
    except OSError as exc:
        if exc.errno not in _NO_MODES:
            raise
