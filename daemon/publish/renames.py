"""Renamed photos: which one a photo was before, and the removal of the copy under the former name.

A file under a new name was renamed if the same bytes, with the same modification time, were published from a
name that exists no more. A copy of a file that still exists is none, nor is one of a file that is merely away.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from daemon.fs.files import descend, explain, sync_directory
from daemon.model import Photo, State
from daemon.publish.removal import remove
from daemon.sd.journal import Outcome, about
from daemon.text import printable

log = logging.getLogger(__name__)


def former(photo: Photo, published: Iterable[Photo]) -> Photo | None:
    """The row of a photo under its former name, among the PUBLISHED rows of the same bytes and user; None if none is.

    If several names are gone, then that of the same inode, or else of the same file name, or else the newest: a
    folder with two copies of a photo in it may have been renamed.
    """
    gone = [
        row
        for row in published
        if row.source != photo.source
        and row.snapshot.mtime_ns == photo.snapshot.mtime_ns  # kept by a move, but not by a second export
        and _is_gone(row, photo)
    ]

    def likeness(row: Photo) -> tuple[bool, bool, int]:
        has_name = row.source.relative.name == photo.source.relative.name
        return row.snapshot.ino == photo.snapshot.ino, has_name, row.id

    return max(gone, key=likeness, default=None)


def vacate(before: Photo, photo: Photo, root: int) -> bool:
    """Remove the copy under a photo's former name if it is exactly what was published; returns whether it is gone.

    root: the open sync folder. photo: the same photo under its new name, the copy of which is there.
    """
    assert before.output is not None, "a published photo has an output"
    assert photo.output is not None, "a published photo has an output"
    if before.output.relative != photo.output.relative:
        try:
            _sync(root, photo.output.relative.parent)
            is_removed = remove(root, before.output)
        except OSError as exc:
            log.warning(
                "%s was renamed, but its copy %s cannot be removed: %s",
                printable(before.source.path),
                printable(before.output.relative),
                explain(exc),
            )
            return False
        if not is_removed:
            return False
    log.info(
        "renamed: %s to %s, and its copy with it",
        printable(before.source.path),
        printable(photo.source.path),
        extra=about(Outcome.RENAMED, before, stage=State.PUBLISHED),
    )
    return True


def _is_gone(before: Photo, photo: Photo) -> bool:
    """Whether the former name exists no more, though the file system that it was on is there."""
    outbox = before.source.outbox
    try:
        os.lstat(before.source.path)
    except (FileNotFoundError, NotADirectoryError):
        folder = _nearest_folder(before.source.path, outbox.root)
    except OSError:
        return False
    else:
        return False
    if folder is None:
        return False
    # An unplugged drive leaves its mount point behind, on another device. Device numbers may also change between two
    # mounts; the inode tells then that the very same file is there under its new name.
    return folder.st_dev == before.snapshot.dev or before.snapshot.same_content(photo.snapshot)


def _nearest_folder(path: Path, root: Path) -> os.stat_result | None:
    """The status of the nearest folder above a path that exists; None if the root is missing, or none can be read."""
    for folder in path.parents:
        try:
            return folder.lstat()
        except (FileNotFoundError, NotADirectoryError):
            if folder == root:
                break
        except OSError:
            break
    return None


def _sync(root: int, folder: Path) -> None:
    """Make sure that the names in a folder outlast a power cut; after a crash they may not have been written yet."""
    with descend(root, folder) as directory:
        sync_directory(directory)
