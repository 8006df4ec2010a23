"""How photos get from the staging folder into the sync folder: linked or, without hard links, renamed."""

from __future__ import annotations

import errno
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from daemon.fs.files import opened
from daemon.fs.mounts import kind_of, mount_of
from daemon.fs.noreplace import Way, way

_ELSEWHERE = (
    "choose a sync folder on ext4, btrfs or XFS, or mount exFAT, FAT or NTFS by the kernel's own drivers (exfat, vfat, "
    "ntfs3) instead of FUSE; or take a folder on a local disk, and let a sync tool copy it to this one"
)


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why no photo can get into the sync folder in one step, and what helps."""

    problem: str
    advice: str


def apart(staging: Path, sync: Path) -> Obstacle:
    """The obstacle of two folders that are not on one mount."""
    return Obstacle(
        f"files cannot be linked or renamed from {staging} to {sync}, which is not on the same mount",
        "set `staging` to a folder beside the sync folder",
    )


def way_in(marker: Path, staging: Path) -> Way | Obstacle:
    """Try how photos can get from `staging` into the sync folder. Raises OSError.

    marker: the sync folder's, which may be missing before the first start. All trials appear in staging, so that no
    sync tool sees them.
    """
    sync = marker.parent
    file, other = staging / secrets.token_hex(8), staging / secrets.token_hex(8)
    if mount_of(staging) != mount_of(sync) or _refuses_to_cross(marker, other):
        return apart(staging, sync)
    try:
        with opened(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL):
            pass
        found = way(file, other)
    finally:
        file.unlink(missing_ok=True)
        other.unlink(missing_ok=True)
    if found is None:
        kind = kind_of(sync.stat().st_dev) or "of an unknown kind"
        return Obstacle(
            f"the file system of {sync} ({kind}) has neither hard links nor renames that never replace a file "
            "(RENAME_NOREPLACE): a photo could not appear there in one step without endangering other files",
            _ELSEWHERE,
        )
    return found


def _refuses_to_cross(marker: Path, other: Path) -> bool:
    """Whether a file system of several parts (a FUSE union, project quotas) keeps the folders apart in one mount."""
    try:
        os.link(marker, other, follow_symlinks=False)
    except OSError as exc:
        return exc.errno == errno.EXDEV
    other.unlink(missing_ok=True)
    return False
