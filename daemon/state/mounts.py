"""The mounts below outboxes: where one that was there is away, its photos wait as those of a missing outbox do."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from daemon.model import Outbox, Source

# Conditions on a row of `photos`: that it lies on a mount below its outbox, and that this mount is away. A prefix
# ends with "/".
_MOUNT = (
    "SELECT 1 FROM mounts WHERE mounts.user = photos.user AND mounts.root = photos.root"
    " AND substr(photos.path, 1, length(prefix)) = prefix"
)
IS_MOUNTED = f"EXISTS ({_MOUNT})"
IS_AWAY = f"EXISTS ({_MOUNT} AND away)"


class Mounts:
    """The folders below outboxes on which something was mounted when it was last looked at, or is away."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._db = database

    def of(self, outbox: Outbox) -> dict[Path, bool]:
        """The folders below an outbox, as relative paths, and whether the mount of each is away."""
        rows = self._db.execute("SELECT prefix, away FROM mounts WHERE user = ? AND root = ?", _key(outbox))
        return {Path(os.fsdecode(row["prefix"])): bool(row["away"]) for row in rows}

    def away_from(self, source: Source) -> Path | None:
        """The folder of a photo, below its outbox, whose mount is away; None if there is none."""
        folders = self.of(source.outbox).items()
        return next((path for path, away in folders if away and path in source.relative.parents), None)

    def note(self, outbox: Outbox, folder: Path, *, away: bool) -> None:
        """Record that something is mounted on a folder, or that it is away."""
        row = (*_key(outbox), os.fsencode(folder) + b"/", away)
        self._db.execute("INSERT OR REPLACE INTO mounts VALUES (?, ?, ?, ?)", row)

    def forget(self, outbox: Outbox, folder: Path) -> None:
        """Record that a folder is one like any other again."""
        key = (*_key(outbox), os.fsencode(folder) + b"/")
        self._db.execute("DELETE FROM mounts WHERE user = ? AND root = ? AND prefix = ?", key)


def _key(outbox: Outbox) -> tuple[str, bytes]:
    return outbox.user, os.fsencode(outbox.root)
