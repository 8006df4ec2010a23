"""The markers by which sync folders are recognised."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path


class Markers:
    """The marker of each sync folder that was ever used."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._db = database

    def of(self, sync: Path) -> str | None:
        """The marker this sync folder had when it was first used."""
        query = "SELECT marker FROM sync_roots WHERE path = ?"
        row = self._db.execute(query, (os.fsencode(sync),)).fetchone()
        return row["marker"] if row else None

    def remember(self, sync: Path, marker: str) -> None:
        """Record the marker of a sync folder used for the first time."""
        self._db.execute("INSERT INTO sync_roots VALUES (?, ?)", (os.fsencode(sync), marker))
