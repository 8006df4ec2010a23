"""The ledger: one sqlite row per content of a photo, the truth about what was done and what is to do.

Every change of state goes through `move`, which holds it against the one table `model.TRANSITIONS`.
WAL with synchronous=FULL: what a method has returned from survives a power cut.
Times are seconds since 1970, since they outlive the process.
"""

from __future__ import annotations

import contextlib
import math
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from daemon.errors import IllegalTransition, LedgerError
from daemon.model import (
    TRANSITIONS,
    WAITING,
    Change,
    Order,
    Outbox,
    Output,
    PauseReason,
    Photo,
    Settled,
    Snapshot,
    Source,
    State,
)
from daemon.schema import migrate

LEDGER_NAME = "ledger.sqlite3"

_NO_CHANGE = Change()
_KEY = "user = ? AND root = ? AND path = ?"
_PAUSED = "EXISTS (SELECT 1 FROM pauses WHERE pauses.user = photos.user AND pauses.root = photos.root AND until > ?)"
_DIRECTION = {Order.NEWEST: "DESC", Order.OLDEST: "ASC"}


class Ledger:
    """The ledger's only writer; not for use by several threads."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        """Open or create; repair what a crash left. Raises LedgerError."""
        self._clock = clock
        try:
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.row_factory = sqlite3.Row
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            migrate(self._db)
        except sqlite3.DatabaseError as exc:
            raise LedgerError(f"the ledger {path} cannot be opened: {exc}") from exc
        self._repair()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def admit(self, arrivals: Iterable[Settled]) -> int:
        """A new READY generation for each settled content not known yet; older ones become SUPERSEDED.

        A content that was GONE, or dropped as changed, and is there again counts as new. Returns how many
        rows were made.
        """
        made = 0
        with self._transaction():
            for settled in arrivals:
                latest = self.latest(settled.source)
                if latest is None or not _is_known(latest, settled.snapshot):
                    self._supersede(settled.source)
                    self._insert(settled, generation=latest.generation + 1 if latest else 1)
                    made += 1
        return made

    def latest(self, source: Source) -> Photo | None:
        """The newest generation of a source path."""
        row = self._db.execute(
            f"SELECT * FROM photos WHERE {_KEY} ORDER BY generation DESC LIMIT 1",  # noqa: S608 - constant
            _key(source),
        ).fetchone()
        return photo_of(row) if row else None

    def knows(self, source: Source, snapshot: Snapshot) -> bool:
        """Whether a scan that finds this content can pass over it."""
        latest = self.latest(source)
        return latest is not None and _is_known(latest, snapshot)

    def get(self, photo_id: int) -> Photo:
        """The row as it is now."""
        return photo_of(self._db.execute("SELECT * FROM photos WHERE id = ?", (photo_id,)).fetchone())

    def ready(
        self, users: Sequence[str], *, longest_s: float, limit: int, order: Order = Order.NEWEST
    ) -> list[Photo]:
        """READY rows of these users whose waiting time is over and whose outbox is not paused.

        longest_s: the longest wait ever asked for; a later time comes from a clock that was set back.
        """
        now = self._clock()
        marks = ",".join("?" * len(users))
        rows = self._db.execute(
            f"SELECT * FROM photos WHERE state = 'ready' AND user IN ({marks})"  # noqa: S608 - marks only
            f" AND NOT (not_before > ? AND not_before <= ?) AND NOT {_PAUSED}"
            f" ORDER BY mtime_ns {_DIRECTION[order]}, id LIMIT ?",
            (*users, now, now + longest_s, now, limit),
        )
        return [photo_of(row) for row in rows]

    def next_ready_at(self, users: Sequence[str]) -> float | None:
        """When the first READY row of these users may be tried; None if none may before a command."""
        marks = ",".join("?" * len(users))
        query = (
            "SELECT min(max(not_before, coalesce(until, 0))) FROM photos LEFT JOIN pauses USING (user, root)"  # noqa: S608
            f" WHERE state = 'ready' AND user IN ({marks})"
        )
        (when,) = self._db.execute(query, users).fetchone()
        return float(when) if when is not None and when < math.inf else None

    def waiting(self, users: Sequence[str]) -> int:
        """How many rows of these users will come to an end without a command."""
        marks = ",".join("?" * len(users))
        states = ",".join(f"'{state.value}'" for state in WAITING)
        query = (
            f"SELECT count(*) FROM photos WHERE state IN ({states}) AND user IN ({marks})"  # noqa: S608
            f" AND NOT (state = 'ready' AND {_PAUSED})"
        )
        return int(self._db.execute(query, (*users, self._clock())).fetchone()[0])

    def in_state(self, *states: State, user: str | None = None) -> list[Photo]:
        """Every row in one of these states, oldest row first."""
        marks = ",".join("?" * len(states))
        rows = self._db.execute(
            f"SELECT * FROM photos WHERE state IN ({marks}) AND (? IS NULL OR user = ?) ORDER BY id",  # noqa: S608
            (*(state.value for state in states), user, user),
        )
        return [photo_of(row) for row in rows]

    def count(self, *states: State, user: str | None = None) -> int:
        """How many rows, of one user or of all, are in one of these states."""
        marks = ",".join("?" * len(states))
        query = f"SELECT count(*) FROM photos WHERE state IN ({marks}) AND (? IS NULL OR user = ?)"  # noqa: S608
        return int(self._db.execute(query, (*(s.value for s in states), user, user)).fetchone()[0])

    def move(self, photos: Photo | Sequence[Photo], to: State, change: Change = _NO_CHANGE) -> None:
        """Change the state of one row, or of several at once, and the columns `change` names.

        The reason is always written: without one it is cleared. Raises IllegalTransition, and then nothing
        has changed.
        """
        columns = _columns(change)
        assignments = "".join(f", {name} = :{name}" for name in columns)
        set_clause = "state = :to, updated = :now, reason = :reason" + assignments
        statement = f"UPDATE photos SET {set_clause} WHERE id = :id"  # noqa: S608 - our own column names
        values = {"to": to.value, "now": self._clock(), "reason": change.reason, **columns}
        with self._transaction():
            for photo in [photos] if isinstance(photos, Photo) else photos:
                check_transition(self.get(photo.id).state, to)
                self._db.execute(statement, {**values, "id": photo.id})

    def retry(self, source: Source | None) -> int:
        """Try held photos, and those that wait after a failure, again at once; returns how many.

        source: one photo; None for all.
        """
        assert State.READY in TRANSITIONS[State.HELD]
        which, key = (_KEY, _key(source)) if source else ("1", ())
        with self._transaction():
            cursor = self._db.execute(
                "UPDATE photos SET state = 'ready', reason = NULL, attempts = 0, engine_deaths = 0,"  # noqa: S608
                " not_before = 0, updated = ?"
                f" WHERE {which} AND (state = 'held' OR (state = 'ready' AND not_before > 0))",
                (self._clock(), *key),
            )
            return cursor.rowcount

    def pause(self, outbox: Outbox, for_s: float = math.inf) -> None:
        """Begin no work on an outbox's photos for so long; what is in work is finished."""
        until = self._clock() + for_s
        self._db.execute(
            "INSERT OR REPLACE INTO pauses VALUES (?, ?, ?, ?)",
            (outbox.user, os.fsencode(outbox.root), until, PauseReason.BY_HAND.value),
        )

    def resume(self, outbox: Outbox) -> bool:
        """Take up work on an outbox again; returns whether it was paused by hand until now."""
        cursor = self._db.execute(
            "DELETE FROM pauses WHERE user = ? AND root = ? AND reason = ? RETURNING until > ?",
            (outbox.user, os.fsencode(outbox.root), PauseReason.BY_HAND.value, self._clock()),
        )
        return any(was_paused for (was_paused,) in cursor)

    def configure(self, outboxes: Iterable[Outbox]) -> None:
        """Let the photos of outboxes that are no longer configured wait, and go on with those that are again."""
        configured = set(outboxes)
        known = {
            Outbox(row["user"], Path(os.fsdecode(row["root"])))
            for row in self._db.execute("SELECT DISTINCT user, root FROM photos")
        }
        with self._transaction():
            self._db.execute("DELETE FROM pauses WHERE reason = ?", (PauseReason.REMOVED.value,))
            self._db.executemany(
                "INSERT OR REPLACE INTO pauses VALUES (?, ?, ?, ?)",
                [
                    (outbox.user, os.fsencode(outbox.root), math.inf, PauseReason.REMOVED.value)
                    for outbox in known - configured
                ],
            )

    def own_outputs(self, source: Source) -> list[Output]:
        """Every file that was, or was about to be, published for any generation of this source."""
        rows = self._db.execute(
            f"SELECT output_path, output_sha256 FROM photos WHERE {_KEY} AND output_path IS NOT NULL",  # noqa: S608
            _key(source),
        )
        return [_output(row) for row in rows]

    def marker(self, sync: Path) -> str | None:
        """The marker this sync folder had when it was first used."""
        row = self._db.execute(
            "SELECT marker FROM sync_roots WHERE path = ?", (os.fsencode(sync),)
        ).fetchone()
        return row["marker"] if row else None

    def remember_marker(self, sync: Path, marker: str) -> None:
        """Keep the marker of a sync folder seen for the first time."""
        self._db.execute("INSERT INTO sync_roots VALUES (?, ?)", (os.fsencode(sync), marker))

    def note(self, key: str, value: str) -> None:
        """Keep a fact about the running service for `status`, such as the engine's device."""
        self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (key, value))

    def forget(self, key: str) -> None:
        """A fact is no longer true."""
        self._db.execute("DELETE FROM facts WHERE key = ?", (key,))

    def forget_facts(self) -> None:
        """The service that noted them has ended."""
        self._db.execute("DELETE FROM facts")

    def _repair(self) -> None:
        # Whoever was working is dead: nothing of theirs is in the sync folder before PUBLISHING. Since the
        # photo may be what killed them, it goes alone. PUBLISHING rows need the sync folder (`dispatch`).
        with self._transaction():
            for state in (State.WORKING, State.STAGED):
                check_transition(state, State.READY)
                self._db.execute(
                    "UPDATE photos SET state = 'ready', alone = 1 WHERE state = ?", (state.value,)
                )

    def _supersede(self, source: Source) -> None:
        movable = [state.value for state, targets in TRANSITIONS.items() if State.SUPERSEDED in targets]
        marks = ",".join("?" * len(movable))
        self._db.execute(
            f"UPDATE photos SET state = 'superseded', updated = ? WHERE {_KEY} AND state IN ({marks})",  # noqa: S608
            (self._clock(), *_key(source), *movable),
        )

    def _insert(self, settled: Settled, *, generation: int) -> None:
        snapshot = settled.snapshot
        now = self._clock()
        self._db.execute(
            "INSERT INTO photos"
            " (user, root, path, generation, state, dev, ino, size, mtime_ns, created, updated)"
            " VALUES (?, ?, ?, ?, 'ready', ?, ?, ?, ?, ?, ?)",
            (
                *_key(settled.source),
                generation,
                *(snapshot.dev, snapshot.ino, snapshot.size, snapshot.mtime_ns),
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


def check_transition(old: State, new: State) -> None:
    """Raise IllegalTransition unless a photo may go from one state to the other."""
    if new not in TRANSITIONS[old]:
        raise IllegalTransition(f"a photo that is {old.value} cannot become {new.value}")


def _is_known(latest: Photo, snapshot: Snapshot) -> bool:
    # Superseded by no newer row: the content changed while it was worked on, and may have changed back.
    ended_without_end = latest.state in {State.GONE, State.SUPERSEDED}
    return not ended_without_end and latest.snapshot.same_content(snapshot)


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
    }
    return {name: value for name, value in columns.items() if value is not None}


def _key(source: Source) -> tuple[str, bytes, bytes]:
    return (source.outbox.user, os.fsencode(source.outbox.root), os.fsencode(source.relative))


def _output(row: sqlite3.Row) -> Output:
    return Output(Path(os.fsdecode(row["output_path"])), row["output_sha256"])


def photo_of(row: sqlite3.Row) -> Photo:
    """The photo in a whole row of the table `photos`."""
    outbox = Outbox(row["user"], Path(os.fsdecode(row["root"])))
    return Photo(
        id=row["id"],
        source=Source(outbox, Path(os.fsdecode(row["path"]))),
        generation=row["generation"],
        state=State(row["state"]),
        snapshot=Snapshot(row["dev"], row["ino"], row["size"], row["mtime_ns"]),
        attempts=row["attempts"],
        alone=bool(row["alone"]),
        engine_deaths=row["engine_deaths"],
        input_sha256=row["input_sha256"],
        output=_output(row) if row["output_path"] is not None else None,
        reason=row["reason"],
    )
