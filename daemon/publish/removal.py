"""Removal of a published copy: only if it is still exactly what was published."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from daemon.fs.files import descend, sha256_at, sync_directory
from daemon.model import WAS_PUBLISHED, Change, Output, Photo, State
from daemon.publish.sync_folder import SyncFolder
from daemon.state.ledger import Ledger
from daemon.text import printable

_NOTHING_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


def recall(photo: Photo, folder: SyncFolder, ledger: Ledger) -> Photo:
    """Remove the copy of a RECALLING photo, which then is RECALLED; one that was changed stays, and the row as it was.

    It may be called again after a crash at any point. Raises PublishError, and then the photo stays as it is.
    """
    assert photo.output is not None, "only what was published is recalled"
    with folder.errors("the copy cannot be removed"), folder.writable(0) as root:
        is_removed = remove(root, photo.output) and not _is_there(root, photo.output.relative)
    if is_removed:
        reason = f"its copy {printable(photo.output.relative)} was removed"
        return ledger.move(photo, State.RECALLED, Change(reason=reason))
    latest = ledger.latest(photo.source)
    if latest is not None and latest.id != photo.id:
        return ledger.move(photo, State.SUPERSEDED, Change(reason=WAS_PUBLISHED))
    return ledger.move(photo, State.PUBLISHED, Change(reason="its copy was changed, so it was not recalled"))


def remove(root: int, output: Output) -> bool:
    """Remove a published file, and the folders it leaves empty; returns False if another file is there.

    root: the open sync folder. Once it returns, the removal survives a power cut. Raises OSError.
    """
    try:
        with descend(root, output.relative.parent) as directory:
            found = sha256_at(output.relative.name, directory)
            if found not in {None, output.sha256}:
                return False
            if found is not None:
                os.unlink(output.relative.name, dir_fd=directory)
                sync_directory(directory)
    except OSError as exc:
        if exc.errno not in _NOTHING_THERE:
            raise
    with contextlib.suppress(OSError):
        for folder in output.relative.parents[:-1]:
            with descend(root, folder.parent) as directory:
                os.rmdir(folder.name, dir_fd=directory)
    return True


def _is_there(root: int, relative: Path) -> bool:
    """Whether anything has this name, such as a link in place of the copy."""
    with contextlib.suppress(OSError), descend(root, relative.parent) as directory:
        os.stat(relative.name, dir_fd=directory, follow_symlinks=False)
        return True
    return False
