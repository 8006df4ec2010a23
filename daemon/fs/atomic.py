"""Atomic writes: a complete file appears under its name at once, or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path

from daemon.errors import OutputError, OutputExists

# what file systems without hard links (FAT, some network and FUSE mounts) answer to link()
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS}


def write(path: Path, data: bytes, *, replace: bool, mode: int = 0o666) -> None:
    """Write a complete, durable file; mode is subject to the umask.

    Raises OutputExists if the file exists and replace is False, OutputError if it cannot be written.
    """
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        _write_durably(temporary, data, mode)
        try:
            _publish(temporary, path, replace=replace)
        finally:
            _sync_folder(path.parent)  # also if another writer was first: then the other's file is durable
    except FileExistsError as exc:
        raise OutputExists(f"{path} exists already; move it away or use --force") from exc
    except OSError as exc:
        raise OutputError(f"{path} cannot be written ({exc.strerror})") from exc
    finally:
        temporary.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Remove a file durably, if it is there. Raises OutputError."""
    try:
        path.unlink(missing_ok=True)
        _sync_folder(path.parent)
    except OSError as exc:
        raise OutputError(f"{path} cannot be removed ({exc.strerror})") from exc


def make_folder(path: Path, mode: int = 0o777) -> None:
    """Create a folder and its parents, if missing. Raises OutputError if that is impossible."""
    try:
        path.mkdir(mode, parents=True, exist_ok=True)
    except OSError as exc:
        raise OutputError(f"the folder {path} cannot be created ({exc.strerror})") from exc


def _write_durably(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with open(descriptor, "wb") as file:  # noqa: PTH123  the descriptor carries the mode
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def _publish(temporary: Path, path: Path, *, replace: bool) -> None:
    if replace:
        temporary.replace(path)
        return
    try:
        path.hardlink_to(temporary)  # unlike rename, never takes the place of another file
    except OSError as exc:
        if exc.errno not in _NO_LINKS:
            raise
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from exc
        temporary.rename(path)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
