"""The findings of `fawkesd doctor`, one per check, and their text and JSON forms."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import Enum

from daemon.text import printable


class Level(Enum):
    """Severity: a fault keeps photos from being published, or endangers their owner."""

    FINE = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. subject: a folder or component. advice: what to do, empty if nothing."""

    level: Level
    subject: str
    message: str
    advice: str = ""


def as_line(finding: Finding) -> str:
    """Return a finding as lines of text; names are escaped."""
    advice = f"\n         {printable(finding.advice)}" if finding.advice else ""
    return f"{finding.level.value:8} {printable(finding.subject)}: {printable(finding.message)}{advice}"


def as_json(findings: Sequence[Finding]) -> str:
    """Return findings as one JSON object."""
    values = [{**asdict(finding), "level": finding.level.value} for finding in findings]
    has_fault = any(finding.level is Level.FAULT for finding in findings)
    return json.dumps({"ok": not has_fault, "findings": values}, indent=2)


def fine(subject: object, message: str) -> Finding:
    """A check that passed."""
    return Finding(Level.FINE, str(subject), message)


def warning(subject: object, message: str, advice: str) -> Finding:
    """It works, but not as well as it could."""
    return Finding(Level.WARNING, str(subject), message, advice)


def fault(subject: object, message: str, advice: str) -> Finding:
    """It does not work, or is dangerous."""
    return Finding(Level.FAULT, str(subject), message, advice)
