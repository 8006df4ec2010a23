"""Reading and opening below a folder without ever following a symlink out of it."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from daemon.errors import SourceChanged, SourceFault, SourceGone
from daemon.model import Settled, Snapshot

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
# O_NONBLOCK: opening a named pipe with a photo's name must not wait for a writer.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
# sqlite integers are signed; some network file systems use the whole unsigned range for inodes.
_SIGNED_63 = (1 << 63) - 1
# How a user namespace, such as that of the system service, shows every account but its own.
_UNMAPPED = 65534


def snapshot_of(path: Path) -> Snapshot | None:
    """The snapshot of a regular file; None for anything else, or if there is nothing."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return _snapshot(status) if stat.S_ISREG(status.st_mode) else None


@contextlib.contextmanager
def opened(path: Path | str, flags: int, *, dir_fd: int | None = None) -> Iterator[int]:
    """Context manager: an open file descriptor."""
    fd = os.open(path, flags, 0o666, dir_fd=dir_fd)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def descend(root: int, relative: Path) -> Iterator[int]:
    """A descriptor of the directory `relative` below an open one; no component may be a symlink.

    Raises OSError (ELOOP, ENOTDIR, ENOENT, ...).
    """
    with contextlib.ExitStack() as stack:
        for part in relative.parts:
            root = stack.enter_context(opened(part, DIRECTORY | os.O_NOFOLLOW, dir_fd=root))
        yield root


def sync_directory(fd: int) -> None:
    """Make the names in an open directory durable, where its file system can: some network and guest ones cannot."""
    try:
        os.fsync(fd)
    except OSError as exc:
        if exc.errno != errno.EINVAL:
            raise


def write_all(fd: int, data: bytes) -> None:
    """Write all of these bytes to an open file."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def read_source(settled: Settled) -> bytes:
    """The bytes of a photo, exactly as its snapshot identifies them.

    Raises SourceGone, SourceChanged, or SourceFault with a reason to show to its owner.
    """
    source = settled.source
    try:
        with (
            opened(source.outbox.root, DIRECTORY) as root,
            descend(root, source.relative.parent) as parent,
            opened(source.relative.name, _FILE, dir_fd=parent) as fd,
        ):
            _expect(settled.snapshot, fd)
            data = read_all(fd, settled.snapshot.size)
            _expect(settled.snapshot, fd)
    except FileNotFoundError as exc:
        raise SourceGone(str(source.path)) from exc
    except OSError as exc:
        raise SourceFault(f"the photo cannot be read: {explain(exc)}{rights(source.path, exc)}") from exc
    if len(data) != settled.snapshot.size:
        raise SourceChanged(str(source.path))
    return data


def read_all(fd: int, size: int) -> bytes:
    """At most `size` bytes from the start of an open file."""
    os.lseek(fd, 0, os.SEEK_SET)
    chunks = []
    while size > 0 and (chunk := os.read(fd, min(size, 1 << 20))):
        chunks.append(chunk)
        size -= len(chunk)
    return b"".join(chunks)


def sha256_at(name: str, dir_fd: int) -> str | None:
    """The hex sha256 of a regular file in an open directory; None if there is none of that name."""
    try:
        with opened(name, _FILE, dir_fd=dir_fd) as fd:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return None
            digest = hashlib.sha256()
            while chunk := os.read(fd, 1 << 20):
                digest.update(chunk)
            return digest.hexdigest()
    except OSError as exc:
        if exc.errno in {errno.ENOENT, errno.ELOOP, errno.ENXIO}:
            return None
        raise


def read_exactly(name: str, dir_fd: int, sha256: str) -> bytes | None:
    """The bytes of a regular file in an open directory; None unless they have this hash (hex). Raises OSError."""
    if sha256_at(name, dir_fd) != sha256:  # first, since any other file may be too large for memory
        return None
    with opened(name, _FILE, dir_fd=dir_fd) as fd:
        data = read_all(fd, os.fstat(fd).st_size)
    return data if hashlib.sha256(data).hexdigest() == sha256 else None


def explain(exc: OSError) -> str:
    """The system's error message, without the path, which is shown beside it."""
    return exc.strerror or str(exc)


def rights(path: Path, exc: OSError) -> str:
    """Whose a file or folder is that this process may not use, so that the user can fix it; "" for another error."""
    if exc.errno not in {errno.EACCES, errno.EPERM}:
        return ""
    try:
        status = os.lstat(path)
    except OSError:
        return ""
    mode, owner = stat.filemode(status.st_mode), account(status.st_uid)
    return f" (its mode is {mode}, its owner {owner}; fawkesd runs as {account(os.geteuid())})"


def account(uid: int) -> str:
    """The name of an account, for messages; its number if it has none."""
    if uid == _UNMAPPED:
        return "another account"
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _snapshot(status: os.stat_result) -> Snapshot:
    dev, ino = status.st_dev & _SIGNED_63, status.st_ino & _SIGNED_63
    return Snapshot(dev, ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _expect(snapshot: Snapshot, fd: int) -> None:
    if _snapshot(os.fstat(fd)) != snapshot:
        raise SourceChanged("the file changed while it was being read")
