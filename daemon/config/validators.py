"""Checks of single values of a configuration."""

from __future__ import annotations

import shutil
from pathlib import Path

from daemon.config.quiet_hours import QuietHours
from daemon.fs.filenames import ignore_rules

NOTIFY_SEND = "notify-send"


def existing_folder(path: Path) -> Path:
    """Return the path itself if it is a folder. Raises ValueError saying why not."""
    if possible_folder(path).exists():
        return path
    raise ValueError(f"{path} does not exist; create the folder or correct the path")


def possible_folder(path: Path) -> Path:
    """Return the path itself if it is a folder or nothing yet. Raises ValueError saying why not."""
    try:
        taken = path.exists() and not path.is_dir()
    except OSError as exc:
        raise ValueError(f"{path} cannot be looked at ({exc.strerror}); check who may open it") from exc
    if taken:
        raise ValueError(f"{path} is not a folder; name the folder, not a file")
    return path


def runnable(command: tuple[str, ...]) -> tuple[str, ...]:
    """Return the command itself if it is empty or its program is there. Raises ValueError saying why not."""
    if command and shutil.which(command[0]) is None:
        raise ValueError(f"{command[0]} is no program that can be run; give its full path")
    return command


def showable(desktop: bool) -> bool:
    """Return the value itself if it is False or messages can be shown. Raises ValueError saying why not."""
    if desktop and shutil.which(NOTIFY_SEND) is None:
        raise ValueError(f"{NOTIFY_SEND} is not installed; in Debian it is in the package libnotify-bin")
    return desktop


def hours(text: str) -> str:
    """Return a span of hours itself. Raises ValueError saying why it is none."""
    QuietHours.parse(text)
    return text


def ignore_pattern(line: str) -> str:
    """Return a line of ignore patterns itself. Raises ValueError saying why it is none."""
    try:
        ignore_rules((line,))
    except ValueError as exc:
        raise ValueError(f"{line!r} is no pattern of a .gitignore ({exc}); correct it") from exc
    return line
