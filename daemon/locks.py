"""One fawkesd per directory: a lock file, locked with flock, with the holder's process number in it."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from daemon.errors import AlreadyRunning

LOCK_NAME = "lock"


class DirectoryLock:
    """Holds a directory until released or until the process ends, however it ends."""

    def __init__(self, directory: Path) -> None:
        """Take the lock; raises AlreadyRunning with the holder's pid, or OSError."""
        self._fd = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        if not (_locks(self._fd) or _locks_after_a_moment(self._fd)):
            pid = _pid(self._fd)
            os.close(self._fd)
            raise AlreadyRunning(directory, pid)
        number = f"{os.getpid()}\n".encode()
        os.pwrite(self._fd, number, 0)  # over the last holder's, which also a full disk allows
        os.ftruncate(self._fd, len(number))

    def release(self) -> None:
        """Let the directory go."""
        os.close(self._fd)


def make_private(directory: Path) -> None:
    """Make a directory that only its owner can look into, or make it so. Raises OSError."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if directory.stat().st_mode & 0o077:
        directory.chmod(0o700)


def holder(directory: Path) -> int | None:
    """The pid of the fawkesd that holds a directory; None if none does (or it left no number)."""
    try:
        fd = os.open(directory / LOCK_NAME, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        return None if _locks(fd) else _pid(fd)
    finally:
        os.close(fd)


def _locks(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _locks_after_a_moment(fd: int) -> bool:
    # `holder` takes the lock for an instant; a start at that instant must not fail.
    time.sleep(0.1)
    return _locks(fd)


def _pid(fd: int) -> int | None:
    text = os.pread(fd, 32, 0).strip()
    return int(text) if text.isdigit() else None
