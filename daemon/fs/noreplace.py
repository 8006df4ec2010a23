"""Giving a complete file its final name, in one step and never in the place of another file."""

from __future__ import annotations

import ctypes
import errno
import os
from enum import Enum
from pathlib import Path

_RENAME_NOREPLACE = 1
_AT_FDCWD = -100
_LIBC = ctypes.CDLL(None, use_errno=True)

# What link() says on a file system without hard links. FAT and exFAT say EPERM, as does FUSE for most programs
# behind it. A name on another mount is EXDEV, and no reason to try another way.
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS})
# What renameat2() says where it does not know the flag: the file system, an old kernel, a sandbox.
NO_FLAG = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM})


class Way(Enum):
    """How `place` can work on a file system."""

    LINK = "link"
    RENAME = "rename"


def place(file: Path, name: Path | str, directory: int | None = None) -> None:
    """Give a complete file a further name, or a new one where there are no hard links.

    name: relative to an open directory, if there is one. After a link the file also keeps its old name.
    Raises FileExistsError if the name is taken, and other OSErrors.
    """
    try:
        os.link(file, name, dst_dir_fd=directory, follow_symlinks=False)
    except OSError as exc:
        if exc.errno not in _NO_LINKS:
            raise
        rename(file, name, directory)


def rename(file: Path, name: Path | str, directory: int | None = None) -> None:
    """Rename a file unless the new name is taken, which `os.rename` would replace. As `place`."""
    to = _AT_FDCWD if directory is None else directory
    if _LIBC.renameat2(_AT_FDCWD, os.fsencode(file), to, os.fsencode(name), _RENAME_NOREPLACE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(file), None, str(name))


def way(file: Path, other: Path) -> Way | None:
    """How `place` can give `file` the free name `other`; None if in neither way. Afterwards one of the names is there.

    Raises OSError for what is no matter of the file system's kind.
    """
    try:
        place(file, other)
    except OSError as exc:
        # EIO is also what mounts by rclone say to a link; a disk that fails says it to the rename, too.
        if exc.errno in NO_FLAG or (exc.errno == errno.EIO and _refuses_the_flag(file, other)):
            return None
        raise
    return Way.LINK if file.exists() else Way.RENAME


def _refuses_the_flag(file: Path, other: Path) -> bool:
    try:
        rename(file, other)
    except OSError as exc:
        return exc.errno in NO_FLAG
    return False
