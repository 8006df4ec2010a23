"""Facts that the running service records for `status`: keys with human-readable values."""

from __future__ import annotations

import sqlite3

ENGINE = "engine"  # its device, such as "cpu", or UNLOADED; missing while it starts
UNLOADED = "unloaded, idle"
WATCHING = "watching"  # "natively", or which outboxes are polled and why
UNFINISHED = "unfinished"  # the files that wait for their writers, as `state.unfinished` writes them
PAUSED = "paused "  # followed by a user's name: why nothing can be published for them


class Facts:
    """The facts in the ledger; they may be out of date if the service is stopped."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._db = database

    def note(self, key: str, value: str) -> None:
        """Record a fact, such as the engine's device."""
        self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (key, value))

    def forget(self, key: str) -> None:
        """Remove a fact that no longer holds."""
        self._db.execute("DELETE FROM facts WHERE key = ?", (key,))

    def all(self) -> dict[str, str]:
        """Every fact by its key."""
        return {row["key"]: row["value"] for row in self._db.execute("SELECT key, value FROM facts")}
