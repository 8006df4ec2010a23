"""Atomic writes: a complete file appears under its name at once, or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from daemon.errors import OutputError, OutputExists, OutputNameRefused
from daemon.fs.filenames import refusal
from daemon.fs.files import DIRECTORY, opened, sync_directory
from daemon.fs.mounts import kind_of
from daemon.fs.noreplace import NO_FLAG, place


def write(path: Path, data: bytes, *, replace: bool, mode: int = 0o666) -> None:
    """Write a complete, durable file; mode is subject to the umask.

    Raises OutputExists if the file exists and replace is False, OutputNameRefused if it can never have this name,
    OutputError if it cannot be written.
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
        if reason := _never(exc, path.parent):
            raise OutputNameRefused(f"{path} cannot be written: {reason}") from exc
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


def _never(exc: OSError, folder: Path) -> str | None:
    """Return why a folder can never hold a file of this name; None if that is not why writing failed."""
    try:
        device = folder.stat().st_dev
    except OSError:  # it is not there, or cannot be reached
        return None
    return refusal(exc, kind_of(device))


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
        place(temporary, path)
    except OSError as exc:
        if exc.errno not in NO_FLAG:
            raise
        _take(path, temporary)


def _take(path: Path, temporary: Path) -> None:
    """Where neither links nor renames without replacing exist: take the name with an empty file, and replace that."""
    path.open("xb").close()
    try:
        temporary.replace(path)
    except OSError:
        path.unlink()
        raise


def _sync_folder(path: Path) -> None:
    with opened(path, DIRECTORY) as descriptor:
        sync_directory(descriptor)
