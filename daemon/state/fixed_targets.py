"""The target that each person's published photos carry, which all later ones must carry too."""

from __future__ import annotations

import sqlite3

from fawkes_engine import STRANGER, Report


class FixedTargets:
    """The table of fixed targets: person -> id of an identity. Strangers are not in it."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._db = database

    def of(self, person: str) -> str | None:
        """The target that a person's published photos carry; None if nothing was published, or after `release`."""
        row = self._db.execute("SELECT identity FROM fixed_targets WHERE person = ?", (person,)).fetchone()
        return row["identity"] if row else None

    def fix(self, person: str, identity: str) -> None:
        """Record a person's target when the first photo with it is published; one that is fixed stays."""
        self._db.execute("INSERT OR IGNORE INTO fixed_targets VALUES (?, ?)", (person, identity))

    def release(self, person: str) -> None:
        """Let the next photo that is published fix a person's target."""
        self._db.execute("DELETE FROM fixed_targets WHERE person = ?", (person,))


def targets_in(report: Report) -> dict[str, str]:
    """The target that a photo shows each person with; without strangers."""
    return {face.person: face.target for face in report.faces if not face.person.startswith(STRANGER)}
