"""Facts that the running service records for `status`, human-readable but for a secret of its own; key -> value."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from daemon.fs.tally import IgnoredPhotos
from daemon.text import printable

ENGINE = "engine"  # its device, such as "cpu", or UNLOADED; missing while it starts
UNLOADED = "unloaded, idle"
WATCHING = "watching"  # "natively", or which outboxes are polled and why
UNFINISHED = "unfinished"  # the files that wait for their writers, as `state.unfinished` writes them
AWAY = "away "  # followed by an outbox: why it is waited for
RESULTS_KEY = "results key"  # of the checksums of kept results
PAUSED = "paused "  # followed by a user's name: why nothing can be published for them
_IGNORED = "ignored "  # followed by an outbox: JSON, the photos in it that were ignored at its last scan


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

    def forget_all(self, prefix: str) -> None:
        """Remove every fact whose key begins so."""
        self._db.execute("DELETE FROM facts WHERE substr(key, 1, ?) = ?", (len(prefix), prefix))

    def secret(self, key: str) -> bytes:
        """The secret of this ledger under a key, 32 bytes, made when first asked for."""
        value = self.all().get(key)  # first, since whoever only reads the ledger cannot make one
        if value is None:
            value = secrets.token_hex(32)
            self.note(key, value)
        return bytes.fromhex(value)

    def all(self) -> dict[str, str]:
        """Every fact by its key."""
        return {row["key"]: row["value"] for row in self._db.execute("SELECT key, value FROM facts")}

    def note_ignored(self, outbox: Path, photos: Sequence[IgnoredPhotos]) -> None:
        """Record which photos of an outbox a scan found to be ignored."""
        self.note(f"{_IGNORED}{printable(outbox)}", json.dumps([asdict(one) for one in photos]))

    def ignored(self, outbox: Path) -> list[IgnoredPhotos]:
        """The photos of an outbox that its last scan found to be ignored."""
        text = self.all().get(f"{_IGNORED}{printable(outbox)}", "[]")
        return [IgnoredPhotos(**{**values, "places": tuple(values["places"])}) for values in json.loads(text)]
