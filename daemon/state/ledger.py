"""The ledger: one sqlite row per content of a photo, the source of truth for what is done and what remains.

Every change of state goes through `move`, which checks it against the one table `model.TRANSITIONS`.
WAL with synchronous=FULL: once a method has returned, its change survives a power cut.
Times are seconds since 1970, since they outlive the process.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from daemon.errors import IllegalTransition, LedgerUnavailable
from daemon.fs.private import make_private
from daemon.model import (
    TRANSITIONS,
    WAS_PUBLISHED,
    WAS_RECALLED,
    WAS_REJECTED,
    Change,
    Photo,
    Settled,
    Source,
    State,
)
from daemon.state.facts import Facts
from daemon.state.fixed_targets import FixedTargets
from daemon.state.markers import Markers
from daemon.state.mounts import Mounts
from daemon.state.pauses import Pauses
from daemon.state.photos import THIS_SOURCE, Photos, is_known, key_of, marks, photo_of
from daemon.state.queue import Queue
from daemon.state.reviews import Reviews
from daemon.state.schema import open_ledger
from daemon.text import printable

_NO_CHANGE = Change()
# state -> the states from which a photo may come to it
_FROM = {to: tuple(state.value for state, targets in TRANSITIONS.items() if to in targets) for to in State}
_IS_FROM = {to: f"state IN ({marks(states)})" for to, states in _FROM.items()}


class Ledger(Photos):
    """The ledger's only writer; not thread-safe.

    queue, reviews, pauses, mounts, facts, markers, targets: the other queries and tables of the same file.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        """Open or create; repair what a crash left. Raises LedgerError; every method LedgerUnavailable."""
        self._clock = clock
        super().__init__(open_ledger(path))
        self._path = path
        self._file = os.open(path, os.O_PATH)  # closing any other descriptor would release sqlite's locks
        self.queue = Queue(self._db, clock)
        self.reviews = Reviews(self._db, clock)
        self.pauses = Pauses(self._db, clock)
        self.mounts = Mounts(self._db)
        self.facts = Facts(self._db)
        self.markers = Markers(self._db)
        self.targets = FixedTargets(self._db)
        self._repair()

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)
        self._db.close()

    def check_file(self) -> None:
        """Make sure that others, and the next run, find what is written: the open file still has its name.

        If it was removed, it is written anew. Raises LedgerUnavailable then: the ledger must be opened again.
        """
        if os.fstat(self._file).st_nlink > 0:
            return
        if not self._path.exists():
            self._write_anew()
        raise LedgerUnavailable(f"{self._path} was removed or replaced while it was in use")

    def admit(self, arrivals: Iterable[Settled]) -> int:
        """Insert a READY generation for each content not known yet; older ones become SUPERSEDED.

        Content that was GONE, or dropped as changed, counts as new when it is back. Returns how many rows
        were inserted.
        """
        made = 0
        with self._transaction():
            for settled in arrivals:
                latest = self.latest(settled.source)
                if latest is None or not is_known(latest.state, latest.snapshot, settled.snapshot):
                    if latest is not None:
                        self._supersede(settled.source)
                    self._insert(settled, generation=latest.generation + 1 if latest else 1)
                    made += 1
        return made

    def move(self, photo: Photo, to: State, change: Change = _NO_CHANGE) -> Photo:
        """Change the state of a row, and the columns `change` names; returns the photo as it now is.

        The reason is always written: without one it is cleared. Raises IllegalTransition, and then nothing
        has changed.
        """
        columns = _columns(change)
        assignments = "".join(f", {name} = ?" for name in columns)
        query = (
            f"UPDATE photos SET state = ?, updated = ?, reason = ?{assignments}"  # noqa: S608 - constant names
            f" WHERE id = ? AND {_IS_FROM[to]} RETURNING *"
        )
        values = (to.value, self._clock(), change.reason, *columns.values(), photo.id, *_FROM[to])
        moved = self._db.rows(query, values)
        if not moved:
            raise IllegalTransition(
                f"a photo that is {self.get(photo.id).state.value} cannot become {to.value}"
            )
        return photo_of(moved[0])

    def move_all(self, photos: Sequence[Photo], to: State) -> list[Photo]:
        """Change the state of several rows, or of none, and clear their reasons. Raises as `move` does."""
        if not photos:
            return []
        with self._transaction():
            return [self.move(photo, to) for photo in photos]

    def published(self, photo: Photo, former: Photo | None) -> Photo:
        """Make a PUBLISHING photo PUBLISHED; it keeps its reason, which tells where its bytes are from.

        former: the PUBLISHED row of the same photo under the name it had before, which becomes GONE with it.
        """
        with self._transaction():
            if former is not None:
                renamed = Change(reason=f"renamed to {printable(photo.source.path)}; its copy was moved")
                self.move(former, State.GONE, renamed)
            return self.move(photo, State.PUBLISHED, Change(reason=photo.reason))

    def retry(self, source: Source | None) -> int:
        """Retry held photos, and those in backoff after a failure, at once; returns how many.

        source: one photo; None for all.
        """
        assert State.READY in TRANSITIONS[State.HELD]
        which, key = (THIS_SOURCE, key_of(source)) if source else ("1", ())
        with self._transaction():
            cursor = self._db.execute(
                "UPDATE photos SET state = 'ready', reason = NULL, attempts = 0, engine_deaths = 0,"  # noqa: S608
                " not_before = 0, no_face = nullif(no_face, 'hold'), updated = ?"
                f" WHERE {which} AND (state = 'held' OR (state = 'ready' AND not_before > 0))",
                (self._clock(), *key),
            )
            return cursor.rowcount

    def _write_anew(self) -> None:
        temporary = self._path.with_name(f".{secrets.token_hex(8)}.tmp")
        try:
            make_private(self._path.parent)
            temporary.touch(mode=0o600)
            with contextlib.closing(sqlite3.connect(temporary)) as copy:
                self._db.backup(copy)
            temporary.rename(self._path)
        except (OSError, sqlite3.Error) as exc:
            raise LedgerUnavailable(f"{self._path} was removed and cannot be written anew: {exc}") from exc
        finally:
            temporary.unlink(missing_ok=True)

    def _repair(self) -> None:
        # The process that worked on these is dead; before PUBLISHING, nothing is in the sync folder. Since the
        # photo may have killed it, it is retried alone. PUBLISHING rows need the sync folder (`destinations`).
        with self._transaction():
            for state in (State.WORKING, State.STAGED):
                assert State.READY in TRANSITIONS[state]
                self._db.execute(
                    "UPDATE photos SET state = 'ready', alone = 1 WHERE state = ?", (state.value,)
                )

    def _supersede(self, source: Source) -> None:
        # A copy that is about to be removed is removed: its row is not superseded before that.
        self._db.execute(
            "UPDATE photos SET reason = CASE state WHEN 'published' THEN ? WHEN 'rejected' THEN ?"  # noqa: S608
            " WHEN 'recalled' THEN ? ELSE reason END, state = 'superseded', updated = ?"
            f" WHERE {THIS_SOURCE} AND {_IS_FROM[State.SUPERSEDED]} AND state != 'recalling'",
            (
                *(WAS_PUBLISHED, WAS_REJECTED, WAS_RECALLED, self._clock()),
                *key_of(source),
                *_FROM[State.SUPERSEDED],
            ),
        )

    def _insert(self, settled: Settled, *, generation: int) -> None:
        snapshot = settled.snapshot
        now = self._clock()
        self._db.execute(
            "INSERT INTO photos"
            " (user, root, path, generation, state, dev, ino, size, mtime_ns, ctime_ns, created, updated)"
            " VALUES (?, ?, ?, ?, 'ready', ?, ?, ?, ?, ?, ?, ?)",
            (
                *key_of(settled.source),
                generation,
                *(snapshot.dev, snapshot.ino, snapshot.size, snapshot.mtime_ns, snapshot.ctime_ns),
                now,
                now,
            ),
        )

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


def _columns(change: Change) -> dict[str, object]:
    columns = {
        "input_sha256": change.input_sha256,
        "output_path": os.fsencode(change.output.relative) if change.output else None,
        "output_sha256": change.output.sha256 if change.output else None,
        "attempts": change.attempts,
        "alone": change.alone,
        "engine_deaths": change.engine_deaths,
        "not_before": change.not_before,
        "report": change.report,
        "options": change.options,
        "chosen_mode": change.choice.mode if change.choice else None,
        "chosen_strength": change.choice.strength if change.choice else None,
        "result_sha256": change.result_sha256,
        "approved": change.approved,
        "no_face": change.no_face.value if change.no_face else None,
    }
    return {name: value for name, value in columns.items() if value is not None}
