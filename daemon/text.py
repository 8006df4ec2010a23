"""Formats text for terminals, log lines and pages."""

from __future__ import annotations

import datetime
import os
import re
from html import escape
from pathlib import Path


def printable(path: Path | str) -> str:
    """Escape a path into one line of printable characters, so that it cannot forge or break a log line."""
    text = os.fsencode(path).decode(errors="backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def as_html(text: str) -> str:
    """Escape a message for a page, with `commands` in it as code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))


def figure(value: float, digits: int, sign: str = "") -> str:
    """Return a number with so many digits after the point. sign: "+" shows it, too; what rounds to zero has none."""
    text = f"{value:{sign}.{digits}f}"
    return text if float(text) else text.lstrip("+-")


def count(number: int, one: str) -> str:
    """Return a number of things: `1 face`, `2 faces`."""
    return f"{number} {one}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """Return an approximate duration: `40 s`, `9 min`, `3 h`, `2 days`."""
    for unit, size_s in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 1.5 * size_s:
            return f"{round(seconds / size_s)} {unit}"
    return f"{max(1, round(seconds))} s"


def moment(seconds: float) -> str:
    """Return seconds since 1970 as local time."""
    return datetime.datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")
