"""Paused outboxes: the part of the ledger that the user controls."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from daemon.model import Outbox, PauseReason
from daemon.state.schema import LedgerConnection


class Pauses:
    """The table of pauses, which survive a restart. clock: seconds since 1970."""

    def __init__(self, database: LedgerConnection, clock: Callable[[], float]) -> None:
        self._db = database
        self._clock = clock

    def add(self, outbox: Outbox, for_s: float = math.inf) -> None:
        """Pause an outbox for `for_s`; photos in progress are finished."""
        self._put(outbox, self._clock() + for_s, PauseReason.BY_HAND)

    def remove(self, outbox: Outbox) -> bool:
        """Resume an outbox; returns whether it was paused by hand until now."""
        removed = self._db.rows(
            "DELETE FROM pauses WHERE user = ? AND root = ? AND reason = ? RETURNING until > ?",
            (outbox.user, os.fsencode(outbox.root), PauseReason.BY_HAND.value, self._clock()),
        )
        return any(was_paused for (was_paused,) in removed)

    def configure(self, outboxes: Iterable[Outbox]) -> None:
        """Pause outboxes that are no longer configured, and resume those that are configured again."""
        rows = self._db.execute("SELECT DISTINCT user, root FROM photos").fetchall()
        known = {Outbox(user, Path(os.fsdecode(root))) for user, root in rows}
        self._db.execute("DELETE FROM pauses WHERE reason = ?", (PauseReason.REMOVED.value,))
        for outbox in known - set(outboxes):
            self._put(outbox, math.inf, PauseReason.REMOVED)

    def _put(self, outbox: Outbox, until: float, reason: PauseReason) -> None:
        row = (outbox.user, os.fsencode(outbox.root), until, reason.value)
        self._db.execute("INSERT OR REPLACE INTO pauses VALUES (?, ?, ?, ?)", row)
