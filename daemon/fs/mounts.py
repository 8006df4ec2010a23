"""What is mounted where, from the one place that tells: /proc/self/mountinfo."""

from __future__ import annotations

import os
import re
import select
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from daemon.fs.files import opened
from daemon.fs.ignore import ignored_by

_TABLE = Path("/proc/self/mountinfo")
_OCTAL = re.compile(rb"\\([0-7]{3})")  # how spaces, tabs, line feeds and backslashes are written
# A change made on another machine, or below a FUSE daemon, raises no event here; and a lease is either
# granted blindly (FUSE) or refused because of the protocol (SMB).
_REMOTE = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre"),
        *("virtiofs", "vboxsf", "prl_fs", "fakeowner"),  # of virtual machines; the last is Docker Desktop's
    }
)


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted file system.

    id: the kernel's number, which may be given again after an unmount. device: as `st_dev`, but not for a btrfs
    subvolume. point: where it is mounted. kind: of file system, such as "ext4".
    """

    id: int
    device: int
    point: Path
    kind: str

    @property
    def is_remote(self) -> bool:
        """Whether its files can change without this machine's knowledge."""
        return self.kind in _REMOTE or self.kind == "fuse" or self.kind.startswith("fuse.")


class MountTable:
    """The mounts as of the last look."""

    def __init__(self) -> None:
        """Raises OSError."""
        self._fd = os.open(_TABLE, os.O_RDONLY)  # kept, so that a look needs no file descriptor
        weakref.finalize(self, os.close, self._fd)
        self._changes = select.poll()
        self._changes.register(self._fd, select.POLLPRI)
        self._text = b""
        self._mounts: list[Mount] = []
        self._replaced = 0

    def look(self) -> None:
        """Read the table."""
        has_changed = bool(self._changes.poll(0))
        text = _all_of(self._fd)
        if text != self._text:
            self._text, self._mounts = text, parse(text)
        elif has_changed:
            # Unmounted and mounted again, with the same number: no watch of before is alive.
            self._replaced += 1

    def below(self, root: Path) -> list[Mount]:
        """The mounts below a folder, as `below` says."""
        return below(root, self._mounts)

    def state_of(self, root: Path) -> object:
        """A value that is another one after something at or below a folder was mounted or unmounted."""
        mounts = [mount for mount in self._mounts if mount.point.is_relative_to(root)]
        return (mounts, self._replaced) if mounts else ()


def parse(table: bytes) -> list[Mount]:
    """The mounts of a table in the form of mountinfo, as proc_pid_mountinfo(5) describes it, in its order."""
    return [
        _mount(line.split(b" ")) for line in table.split(b"\n") if line
    ]  # a name may hold other line ends


def read() -> list[Mount]:
    """The present mounts, later ones last. Raises OSError."""
    return parse(_TABLE.read_bytes())


def below(root: Path, mounts: Iterable[Mount]) -> list[Mount]:
    """Those below a folder, without the folder itself; where several lie on one another, the topmost.

    What lies in ignored folders is left out, since nobody looks there.
    """
    topmost = {
        mount.point: mount
        for mount in mounts
        if root in mount.point.parents and not ignored_by(mount.point.relative_to(root), is_folder=True)
    }
    return list(topmost.values())


def remote_below(root: Path) -> Mount | None:
    """A mount below a folder whose files can change without this machine's knowledge. Raises OSError."""
    return next((mount for mount in below(root, read()) if mount.is_remote), None)


def remote_kind(device: int) -> str | None:
    """The kind of file system, such as "nfs4", if it can change without this machine's knowledge.

    device: its st_dev. A device that no mount names (btrfs subvolumes) counts as local. Raises OSError.
    """
    return next((mount.kind for mount in read() if mount.device == device and mount.is_remote), None)


def kind_of(device: int) -> str | None:
    """The kind of file system, such as "vfat"; None for a device that no mount names. device: its st_dev.

    Raises OSError.
    """
    return next((mount.kind for mount in read() if mount.device == device), None)


def mount_of(folder: Path) -> tuple[int, str]:
    """Identify a mount. The device number is not enough: bind mounts share it, and links between them fail.

    Raises OSError.
    """
    with opened(folder, os.O_PATH) as descriptor:
        info = Path(f"/proc/self/fdinfo/{descriptor}").read_text()
        return os.fstat(descriptor).st_dev, info.partition("mnt_id:")[2].split()[0]


def _all_of(fd: int) -> bytes:
    text = b""
    while chunk := os.pread(fd, 1 << 20, len(text)):
        text += chunk
    return text


def _mount(fields: list[bytes]) -> Mount:
    major, minor = fields[2].split(b":")
    kind = fields[fields.index(b"-", 6) + 1]  # after any number of optional fields
    return Mount(
        int(fields[0]), os.makedev(int(major), int(minor)), Path(unescaped(fields[4])), unescaped(kind)
    )


def unescaped(field: bytes) -> str:
    """Undo how a name is written in mountinfo and in fstab."""
    return os.fsdecode(_OCTAL.sub(lambda match: bytes([int(match[1], 8)]), field))
