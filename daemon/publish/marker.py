"""The marker: a file in a sync folder that tells it from the empty folder that an unmounted drive leaves behind."""

from __future__ import annotations

import os
import secrets

from daemon.fs.files import opened, sync_directory, write_all

MARKER_NAME = ".fawkesd-sync-folder"
_MARKER_MAX_BYTES = 4096


def read_marker(root: int) -> str | None:
    """The marker of an open sync folder; None if it has none. Raises OSError."""
    try:
        with open(os.open(MARKER_NAME, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=root), "rb") as file:  # noqa: PTH123 - a descriptor
            lines = file.read(_MARKER_MAX_BYTES).decode(errors="replace").splitlines()
    except FileNotFoundError:
        return None
    return lines[0] if lines else None


def write_marker(root: int) -> str:
    """Make the marker of an open sync folder that has none, and return it. Raises OSError."""
    marker = secrets.token_hex(16)
    text = f"{marker}\nfawkesd publishes to this folder and recognises it by this file. Please keep it.\n"
    with opened(MARKER_NAME, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, dir_fd=root) as fd:
        write_all(fd, text.encode())
        os.fsync(fd)
    sync_directory(root)
    return marker
