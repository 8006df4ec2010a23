"""What people decide about single photos: which wait for that, which stay away, and which copy is out."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from daemon.model import REDO_REASON, WAS_PUBLISHED, WAS_RECALLED, WAS_REJECTED, Outbox, Photo, Source, State
from daemon.state.photos import THIS_SOURCE, key_of, photo_of
from daemon.state.schema import LedgerConnection
from daemon.text import printable


@dataclass(frozen=True, slots=True)
class StaysAway:
    """Why a photo is not published.

    state: REJECTED or RECALLED. is_rewritten: that was said of an earlier content of the same file.
    """

    state: State
    reason: str
    is_rewritten: bool


class Reviews:
    """Queries for photos in review, rejected or recalled. clock: seconds since 1970."""

    def __init__(self, database: LedgerConnection, clock: Callable[[], float]) -> None:
        self._db = database
        self._clock = clock

    def find(self, photo_id: int) -> Photo | None:
        """The row of this number, if there is one."""
        return self._first("SELECT * FROM photos WHERE id = ?", (photo_id,))

    def at(self, path: Path) -> Photo | None:
        """The newest row of the photo with this absolute path, if it is known."""
        for user, root in self._db.execute("SELECT DISTINCT user, root FROM photos").fetchall():
            outbox = Outbox(user, Path(os.fsdecode(root)))
            if path.is_relative_to(outbox.root):
                source = Source(outbox, path.relative_to(outbox.root))
                query = f"SELECT * FROM photos WHERE {THIS_SOURCE} ORDER BY generation DESC LIMIT 1"  # noqa: S608
                if (found := self._first(query, key_of(source))) is not None:
                    return found
        return None

    def copy_of(self, source: Source) -> Photo | None:
        """The row of the copy that is, or may be, in the sync folder; None if none was published."""
        return self._first(
            f"SELECT * FROM photos WHERE {THIS_SOURCE} AND output_path IS NOT NULL"  # noqa: S608 - constant
            " AND (state IN ('published', 'recalling') OR (state = 'superseded' AND reason IN (?, ?)))"
            " ORDER BY generation DESC LIMIT 1",
            (*key_of(source), WAS_PUBLISHED, REDO_REASON),
        )

    def approve_all(self, user: str | None, until: float | None = None) -> int:
        """Approve every photo in review, of one user or of all; returns how many.

        until: only what has waited since then, in seconds since 1970.
        """
        cursor = self._db.execute(
            "UPDATE photos SET state = 'ready', reason = NULL, approved = 1, not_before = 0, updated = ?"
            " WHERE state = 'review' AND (? IS NULL OR user = ?) AND (? IS NULL OR updated <= ?)",
            (self._clock(), user, user, until, until),
        )
        return cursor.rowcount

    def make_again(self, fingerprint: str) -> int:
        """Make every photo in review READY that another engine has made; returns how many."""
        cursor = self._db.execute(
            "UPDATE photos SET state = 'ready', reason = NULL, updated = ?"
            " WHERE state = 'review' AND json_extract(report, '$.fingerprint') IS NOT ?",
            (self._clock(), fingerprint),
        )
        return cursor.rowcount

    def need_result(self, photo: Photo) -> bool:
        """Whether another photo of the same user with the same bytes waits for the same result."""
        query = (
            "SELECT 1 FROM photos WHERE user = ? AND input_sha256 = ? AND id != ?"
            " AND (state IN ('review', 'rejected') OR (state = 'ready' AND approved))"
        )
        values = (photo.source.outbox.user, photo.input_sha256, photo.id)
        return self._db.execute(query, values).fetchone() is not None

    def stays_away(self, photo: Photo) -> StaysAway | None:
        """Why a photo that has been read must not be published; None if it may be.

        A person said so of an earlier content of the same file, or of the same bytes under another name.
        """
        if photo.approved:
            return None
        last = self._db.execute(
            f"SELECT state, reason, input_sha256 FROM photos WHERE {THIS_SOURCE} AND generation < ?"  # noqa: S608
            " AND (state IN ('recalling', 'recalled') OR reason IN (?, ?, ?, ?)) ORDER BY generation DESC LIMIT 1",
            (*key_of(photo.source), photo.generation, WAS_PUBLISHED, WAS_REJECTED, WAS_RECALLED, REDO_REASON),
        ).fetchone()
        if last is None:
            return self._by_content(photo)
        if last["reason"] in {WAS_PUBLISHED, REDO_REASON}:
            is_same = last["input_sha256"] in {None, photo.input_sha256}
            return None if is_same else self._by_content(photo)
        state = State.REJECTED if last["reason"] == WAS_REJECTED else State.RECALLED
        reason = f"it was {state.value}, and the original was written again"
        return StaysAway(state, reason, is_rewritten=True)

    def _by_content(self, photo: Photo) -> StaysAway | None:
        other = self._first(
            "SELECT * FROM photos WHERE user = ? AND input_sha256 = ? AND id != ?"
            " AND state IN ('rejected', 'recalling', 'recalled') ORDER BY id LIMIT 1",
            (photo.source.outbox.user, photo.input_sha256, photo.id),
        )
        if other is None:
            return None
        state = State.REJECTED if other.state is State.REJECTED else State.RECALLED
        reason = f"the same photo was {state.value} as {printable(other.source.path)}"
        return StaysAway(state, reason, is_rewritten=False)

    def _first(self, query: str, values: tuple[object, ...]) -> Photo | None:
        row = self._db.execute(query, values).fetchone()
        return photo_of(row) if row else None
