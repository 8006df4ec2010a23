"""What `fawkesd doctor` finds: one value per check."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Level(Enum):
    """How bad a finding is: a fault keeps photos from being published, or is a danger to their owner."""

    FINE = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked. subject: a folder, or a part. advice: what to do, empty if nothing."""

    level: Level
    subject: str
    message: str
    advice: str = ""


def fine(subject: object, message: str) -> Finding:
    """All is well."""
    return Finding(Level.FINE, str(subject), message)


def warning(subject: object, message: str, advice: str) -> Finding:
    """It works, not as well as it could."""
    return Finding(Level.WARNING, str(subject), message, advice)


def fault(subject: object, message: str, advice: str) -> Finding:
    """It does not work, or is dangerous."""
    return Finding(Level.FAULT, str(subject), message, advice)
