"""The queue of waiting photos, in the configured order."""

from __future__ import annotations

import math
import os
import sqlite3
from collections.abc import Callable, Sequence

from daemon.model import WAITING, Outbox, Photo, QueueOrder
from daemon.state.mounts import IS_AWAY
from daemon.state.photos import marks, photo_of

_PAUSED = "EXISTS (SELECT 1 FROM pauses WHERE pauses.user = photos.user AND pauses.root = photos.root AND until > ?)"
_FIRST = {
    QueueOrder.NEWEST: "mtime_ns DESC, id",
    QueueOrder.OLDEST: "mtime_ns, id DESC",
}  # an index is read either way


class Queue:
    """Queries for READY photos. clock: seconds since 1970."""

    def __init__(self, database: sqlite3.Connection, clock: Callable[[], float]) -> None:
        self._db = database
        self._clock = clock

    def ready(
        self,
        outboxes: Sequence[Outbox],
        *,
        longest_s: float,
        limit: int,
        order: QueueOrder = QueueOrder.NEWEST,
        approved: bool = False,
    ) -> list[Photo]:
        """READY rows of these outboxes, unless paused or on a mount that is away, whose backoff is over.

        longest_s: the longest possible backoff; a later time means that the clock was set back. approved: only those
        that were approved.
        """
        now = self._clock()
        source = "photos INDEXED BY photos_approved" if approved else "photos"
        condition = "approved = 1 AND " if approved else ""
        rows = self._db.execute(
            f"SELECT * FROM {source} WHERE {condition}state = 'ready' AND {_from_any(outboxes)}"  # noqa: S608 - marks only
            f" AND NOT (not_before > ? AND not_before <= ?) AND NOT {_PAUSED} AND NOT {IS_AWAY}"
            f" ORDER BY {_FIRST[order]} LIMIT ?",
            (*_roots_of(outboxes), now, now + longest_s, now, limit),
        )
        return [photo_of(row) for row in rows]

    def next_ready_at(self, outboxes: Sequence[Outbox]) -> float | None:
        """When the first READY row of these outboxes may be tried; None if none may without user action."""
        query = (
            "SELECT min(max(not_before, coalesce(until, 0))) FROM photos LEFT JOIN pauses USING (user, root)"  # noqa: S608
            f" WHERE state = 'ready' AND {_from_any(outboxes)} AND NOT {IS_AWAY}"
        )
        (when,) = self._db.execute(query, _roots_of(outboxes)).fetchone()
        return float(when) if when is not None and when < math.inf else None

    def waiting(self, outboxes: Sequence[Outbox]) -> int:
        """How many rows of these outboxes can finish without user action."""
        query = (
            f"SELECT count(*) FROM photos WHERE state IN ({marks(WAITING)}) AND {_from_any(outboxes)}"  # noqa: S608
            f" AND NOT (state = 'ready' AND ({_PAUSED} OR {IS_AWAY}))"
        )
        return int(
            self._db.execute(
                query, (*(state.value for state in WAITING), *_roots_of(outboxes), self._clock())
            ).fetchone()[0]
        )


def _from_any(outboxes: Sequence[Outbox]) -> str:
    """The condition that a row is of one of these outboxes; takes `_roots_of` them."""
    return "(user, root) IN (VALUES (NULL, NULL)" + ", (?, ?)" * len(outboxes) + ")"


def _roots_of(outboxes: Sequence[Outbox]) -> list[str | bytes]:
    """What `_from_any` takes."""
    return [value for outbox in outboxes for value in (outbox.user, os.fsencode(outbox.root))]
