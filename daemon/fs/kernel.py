"""Kernel queries about a folder or an open file: its file system, its writers, its watch limit."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import signal
from pathlib import Path

# A change made on another machine, or below a FUSE daemon, raises no event here; and a lease is either
# granted blindly (FUSE) or refused because of the protocol (SMB).
_REMOTE = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "virtiofs", "vboxsf", "prl_fs"}
)
_IN_CREATE = 0x100
_LIBC = ctypes.CDLL(None, use_errno=True)


def remote_kind(device: int) -> str | None:
    """The kind of file system, such as "nfs4", if it can change without this machine's knowledge.

    device: its st_dev. A device that no mount names (btrfs subvolumes) counts as local.
    """
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text(errors="replace").splitlines():
        fields = line.split()
        if fields[2] == wanted:
            kind = fields[fields.index("-") + 1]
            return kind if kind in _REMOTE or kind.startswith("fuse.") or kind == "fuse" else None
    return None


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
    fd = _LIBC.inotify_init1(os.O_CLOEXEC)
    if fd < 0:
        return False  # out of instances, which is another limit
    try:
        refused = _LIBC.inotify_add_watch(fd, os.fsencode(root), _IN_CREATE) < 0
        return refused and ctypes.get_errno() == errno.ENOSPC
    finally:
        os.close(fd)
