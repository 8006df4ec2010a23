"""Kernel queries: who has a file open for writing, whether change events are to be had and NVIDIA's driver is there."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import resource
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from daemon.fs.mounts import remote_kind

_IN_CREATE = 0x100
_LIBC = ctypes.CDLL(None, use_errno=True)


def has_nvidia_driver() -> bool:
    """Whether the driver of NVIDIA's graphics cards is loaded, as far as can be told without CUDA."""
    return Path("/dev/nvidiactl").exists()


def has_writer(fd: int) -> bool:
    """Whether somebody has this file open, or mapped, for writing. False where that cannot be known.

    fd: open for reading. A read lease is refused while there is a writer; it is given back at once, so that
    no writer is kept waiting.
    """
    try:
        # The default signal of a broken lease would end the process; this one is ignored by default.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as exc:  # EACCES: the file is another user's. EINVAL: this file system has no leases.
        return exc.errno == errno.EAGAIN and remote_kind(os.fstat(fd).st_dev) is None
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def was_written(fd: int, position: int) -> bool:
    """Whether the byte at a position of an open file was ever written; False where that cannot be known.

    Space that was only reserved is a hole on a local file system; a remote one may tell it as data.
    """
    if remote_kind(os.fstat(fd).st_dev) is not None:
        return False
    before = os.lseek(fd, 0, os.SEEK_CUR)
    try:
        return os.lseek(fd, position, os.SEEK_DATA) == position
    except OSError:  # ENXIO: a hole up to the end of the file
        return False
    finally:
        os.lseek(fd, before, os.SEEK_SET)


def watches_used_up(root: Path) -> bool:
    """Whether the kernel refuses one more watch: then folders below may silently be unwatched."""
    try:
        with _inotify() as fd:
            refused = _LIBC.inotify_add_watch(fd, os.fsencode(root), _IN_CREATE) < 0
            return refused and ctypes.get_errno() == errno.ENOSPC
    except OSError:
        return False  # that is another limit: see `no_events`


@dataclass(frozen=True, slots=True)
class Limit:
    """A setting of the kernel, such as "fs.inotify.max_user_watches", and its value."""

    name: str
    value: int

    def __str__(self) -> str:
        return f"{self.name} is {self.value}"


@dataclass(frozen=True, slots=True)
class NoEvents:
    """Why no change events can be had. limit: what to raise; None if that is no setting of the kernel."""

    reason: str
    limit: Limit | None = None


def no_events() -> NoEvents | None:
    """Why no observer of change events can be started now; None if one can.

    It takes an inotify instance, and a pipe that ends the wait for its events.
    """
    try:
        with _inotify():
            return None if _can_open(2) else _files_used_up()
    except OSError as exc:
        if exc.errno == errno.EMFILE:  # of the user or of the process
            return _instances_used_up() if _can_open(1) else _files_used_up()
        if exc.errno == errno.ENOSYS:
            return NoEvents("this system has no inotify")
        return NoEvents(f"inotify cannot be used: {exc.strerror}")


def inotify_limit(what: str) -> Limit | None:
    """The limit per user of inotify's "instances" or "watches"; None if the system does not tell it."""
    names = (f"fs.inotify.max_user_{what}", f"user.max_inotify_{what}")  # the latter is a container's own
    limits = [Limit(name, value) for name in names if (value := _setting(name)) is not None]
    return min(limits, key=lambda limit: limit.value, default=None)


def _files_used_up() -> NoEvents:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return NoEvents(f"no file descriptor left: RLIMIT_NOFILE is {limit}")


def _instances_used_up() -> NoEvents:
    limit = inotify_limit("instances")
    return NoEvents("no inotify instance left" + (f": {limit}" if limit else ""), limit)


def _setting(name: str) -> int | None:
    try:
        return int(Path("/proc/sys", *name.split(".")).read_text())
    except OSError:
        return None


def _can_open(count: int) -> bool:
    """Whether this process can open so many more files."""
    with contextlib.ExitStack() as stack:
        try:
            for _ in range(count):
                stack.callback(os.close, os.open("/", os.O_RDONLY))
        except OSError:
            return False
    return True


@contextlib.contextmanager
def _inotify() -> Iterator[int]:
    """Context manager: an inotify instance. Raises OSError."""
    fd = _LIBC.inotify_init1(os.O_CLOEXEC)
    if fd < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    try:
        yield fd
    finally:
        os.close(fd)
