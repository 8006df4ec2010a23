"""Validators for single values of a configuration."""

from __future__ import annotations

import errno
import re
import shutil
import stat
from pathlib import Path

from daemon.config.address import Address
from daemon.config.quiet_hours import QuietHours
from daemon.fs.gitignore import GitIgnore

NOTIFY_SEND = "notify-send"


# Windows drives and servers, addresses, variables: as relative paths, they would be folders that never appear
_NO_PATH = re.compile(r"[A-Za-z]:[\\/]|\\\\|[A-Za-z][A-Za-z0-9+.-]+:/|\$[A-Za-z{]")
_QUOTES = "'\"‘’‚“”„«»`"

_IMPOSSIBLE = frozenset({errno.ENOTDIR, errno.ENAMETOOLONG})


def local_path(path: Path) -> Path:
    """Return the path as it is written if it can be one on this machine. Raises ValueError that says what it is."""
    text = str(path)
    if text[:1] in _QUOTES and text[-1] in _QUOTES:
        raise ValueError(f"{text} has quotes in its name; write it without them, or in plain straight ones")
    if _NO_PATH.match(text):
        raise ValueError(
            f"{text} is not a path on this machine; write the folder as it is here, such as ~/Pictures/outbox, or "
            "/mnt/nas/photos for a drive or server that is mounted"
        )
    return path


def metrics_file(path: Path) -> Path:
    """Return the path if the node exporter reads files of that name. Raises ValueError if it does not."""
    if path.suffix != ".prom":
        raise ValueError(f"{path} would not be read by the node exporter; name a file *.prom")
    return path


def photo_folder(path: Path) -> Path:
    """Return the path if it is a folder, or may be one later: its drive may be away, its server not answer.

    Raises ValueError that says why it never can be one.
    """
    try:
        taken = not stat.S_ISDIR(path.stat().st_mode)
    except OSError as exc:
        if exc.errno in _IMPOSSIBLE:
            raise ValueError(f"{path} cannot be a folder ({exc.strerror}); correct the path") from exc
        return path
    if taken:
        raise ValueError(f"{path} is not a folder; name the folder, not a file")
    return path


def possible_folder(path: Path) -> Path:
    """Return the path if it is a folder or does not exist yet. Raises ValueError that says why not."""
    try:
        taken = path.exists() and not path.is_dir()
    except OSError as exc:
        raise ValueError(
            f"{path} cannot be accessed ({exc.strerror}); check its permissions and those of the folders above it"
        ) from exc
    if taken:
        raise ValueError(f"{path} is not a folder; name the folder, not a file")
    return path


def runnable(command: tuple[str, ...]) -> tuple[str, ...]:
    """Return the command if it is empty or its program exists. Raises ValueError that says why not."""
    if command and shutil.which(command[0]) is None:
        raise ValueError(f"{command[0]} is not an executable program; install it or give its full path")
    return command


def showable(desktop: bool) -> bool:
    """Return the value if it is False or notifications can be shown. Raises ValueError that says why not."""
    if desktop and shutil.which(NOTIFY_SEND) is None:
        raise ValueError(f"{NOTIFY_SEND} is not installed; install it (on Debian, the package libnotify-bin)")
    return desktop


def hours(text: str) -> str:
    """Return the text if it is a range of hours. Raises ValueError that says why not."""
    QuietHours.parse(text)
    return text


def ignore_pattern(line: str) -> str:
    """Return the line if it is a gitignore pattern that can match. Raises ValueError that says why not."""
    try:
        GitIgnore([line])
    except ValueError as exc:
        raise ValueError(f"{line!r} {exc}") from exc
    return line


def listen_address(text: str) -> str:
    """Return the text if the web page can listen there. Raises ValueError that says why not."""
    Address.parse(text)
    return text
