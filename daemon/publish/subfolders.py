"""Folders below a sync folder: entered, and made where they are missing, by descriptors and never through a link."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from daemon.fs.filenames import candidates, twin_key, twin_keys
from daemon.fs.files import DIRECTORY, sync_directory

NO_REAL_DIRECTORY = frozenset({errno.ENOTDIR, errno.ELOOP})


@contextlib.contextmanager
def enter(root: int, relative: Path) -> Iterator[tuple[int, Path]]:
    """A descriptor of the directory for `relative`, created if missing, and its path below the root.

    A component whose name is taken by a file, a symlink or another spelling gets a number, as files do.
    """
    with contextlib.ExitStack() as stack:
        directory, path = root, Path()
        for part in relative.parts:
            name, directory = _subdirectory(directory, part)
            stack.callback(os.close, directory)
            path /= name
        yield directory, path


def _subdirectory(parent: int, wanted: str) -> tuple[str, int]:
    twins: set[str] | None = None
    for name in candidates(wanted):
        try:
            return name, os.open(name, DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
        except FileNotFoundError:
            if twins is None:
                twins = twin_keys(os.listdir(parent))
            if twin_key(name) not in twins:
                os.mkdir(name, dir_fd=parent)
                sync_directory(parent)
                return name, os.open(name, DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
        except OSError as exc:
            if exc.errno not in NO_REAL_DIRECTORY:
                raise
    raise AssertionError("candidates never end")
