"""One fawkesd per directory: a lock file, locked with flock, with the holder's pid in it."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from daemon.errors import AlreadyRunning

LOCK_NAME = "lock"


class DirectoryLock:
    """A lock on a directory, held until released or until the process ends, however it ends."""

    def __init__(self, directory: Path, patience_s: float = 0.2) -> None:
        """Take the lock; raises AlreadyRunning with the holder's pid, or OSError.

        patience_s: how long to wait for it; `holder` takes it for an instant, and must not make this fail.
        """
        self._fd = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        if not _locks_within(self._fd, patience_s):
            pid = _pid(self._fd)
            os.close(self._fd)
            raise AlreadyRunning(directory, pid)
        number = f"{os.getpid()}\n".encode()
        os.pwrite(self._fd, number, 0)  # overwrites the last holder's, which works even on a full disk
        os.ftruncate(self._fd, len(number))

    def release(self) -> None:
        """Release the lock."""
        os.close(self._fd)


def holder(directory: Path) -> int | None:
    """The pid of the fawkesd that holds a directory; None if none does (or it left no pid)."""
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


def _locks_within(fd: int, patience_s: float) -> bool:
    give_up_s = time.monotonic() + patience_s
    while not (is_locked := _locks(fd)) and time.monotonic() < give_up_s:
        time.sleep(0.02)
    return is_locked


def _pid(fd: int) -> int | None:
    text = os.pread(fd, 32, 0).strip()
    return int(text) if text.isdigit() else None
