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

from daemon.errors import IllegalTransition
from daemon.model import (
    TRANSITIONS,
    WAITING,
    Change,
    EarlierOutput,
    Outbox,
    Output,
    Photo,
    QueueOrder,
    Settled,
    Snapshot,
    Source,
    State,
)
from daemon.state.pauses import Pauses
from daemon.state.schema import open_ledger

LEDGER_NAME = "ledger.sqlite3"

_NO_CHANGE = Change()
_KEY = "user = ? AND root = ? AND path = ?"
_PAUSED = "EXISTS (SELECT 1 FROM pauses WHERE pauses.user = photos.user AND pauses.root = photos.root AND until > ?)"
_FIRST = {
    QueueOrder.NEWEST: "mtime_ns DESC, id",
    QueueOrder.OLDEST: "mtime_ns, id DESC",
}  # an index is read either way


class Ledger:
    """The ledger's only writer; not for use by several threads."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        """Open or create; repair what a crash left. Raises LedgerError; every method LedgerUnavailable."""
        self._clock = clock
        self._db = open_ledger(path)
        self.pauses = Pauses(self._db, clock)
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
                if latest is None or not _is_known(latest.state, latest.snapshot, settled.snapshot):
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
        row = self._db.execute(
            f"SELECT state, dev, ino, size, mtime_ns, ctime_ns FROM photos WHERE {_KEY}"  # noqa: S608 - constant
            " ORDER BY generation DESC LIMIT 1",
            _key(source),
        ).fetchone()
        return row is not None and _is_known(State(row["state"]), _snapshot(row), snapshot)

    def get(self, photo_id: int) -> Photo:
        """The row as it is now."""
        return photo_of(self._db.execute("SELECT * FROM photos WHERE id = ?", (photo_id,)).fetchone())

    def ready(
        self,
        outboxes: Sequence[Outbox],
        *,
        longest_s: float,
        limit: int,
        order: QueueOrder = QueueOrder.NEWEST,
    ) -> list[Photo]:
        """READY rows of these outboxes, unless paused, whose waiting time is over.

        longest_s: the longest wait ever asked for; a later time comes from a clock that was set back.
        """
        now = self._clock()
        rows = self._db.execute(
            f"SELECT * FROM photos WHERE state = 'ready' AND {_from_any(outboxes)}"  # noqa: S608 - marks only
            f" AND NOT (not_before > ? AND not_before <= ?) AND NOT {_PAUSED} ORDER BY {_FIRST[order]} LIMIT ?",
            (*_roots_of(outboxes), now, now + longest_s, now, limit),
        )
        return [photo_of(row) for row in rows]

    def next_ready_at(self, outboxes: Sequence[Outbox]) -> float | None:
        """When the first READY row of these outboxes may be tried; None if none may before a command."""
        query = (
            "SELECT min(max(not_before, coalesce(until, 0))) FROM photos LEFT JOIN pauses USING (user, root)"  # noqa: S608
            f" WHERE state = 'ready' AND {_from_any(outboxes)}"
        )
        (when,) = self._db.execute(query, _roots_of(outboxes)).fetchone()
        return float(when) if when is not None and when < math.inf else None

    def waiting(self, outboxes: Sequence[Outbox]) -> int:
        """How many rows of these outboxes will come to an end without a command."""
        states = ",".join(f"'{state.value}'" for state in WAITING)
        query = (
            f"SELECT count(*) FROM photos WHERE state IN ({states}) AND {_from_any(outboxes)}"  # noqa: S608
            f" AND NOT (state = 'ready' AND {_PAUSED})"
        )
        return int(self._db.execute(query, (*_roots_of(outboxes), self._clock())).fetchone()[0])

    def last_device(self, outbox: Outbox) -> int | None:
        """The device number that the outbox had when its last photo was admitted; None before the first."""
        row = self._db.execute(
            "SELECT dev FROM photos WHERE user = ? AND root = ? ORDER BY id DESC LIMIT 1",
            (outbox.user, os.fsencode(outbox.root)),
        ).fetchone()
        return row["dev"] if row else None

    def in_state(self, *states: State, user: str | None = None) -> list[Photo]:
        """Every row in one of these states, oldest row first."""
        marks = ",".join("?" * len(states))
        rows = self._db.execute(
            f"SELECT * FROM photos WHERE state IN ({marks}) AND (? IS NULL OR user = ?) ORDER BY id",  # noqa: S608
            (*(state.value for state in states), user, user),
        )
        return [photo_of(row) for row in rows]

    def count(self, *states: State) -> int:
        """How many rows are in one of these states."""
        marks = ",".join("?" * len(states))
        query = f"SELECT count(*) FROM photos WHERE state IN ({marks})"  # noqa: S608 - marks only
        return int(self._db.execute(query, [state.value for state in states]).fetchone()[0])

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

    def own_outputs(self, source: Source) -> list[Output]:
        """Every file that was, or was about to be, published for any generation of this source."""
        rows = self._db.execute(
            f"SELECT output_path, output_sha256 FROM photos WHERE {_KEY} AND output_path IS NOT NULL",  # noqa: S608
            _key(source),
        )
        return [_output(row) for row in rows]

    def origin(self, sha256: str) -> Source | None:
        """The original that a file with these bytes was made of, whoever's; None if it is none of our outputs."""
        row = self._db.execute(
            "SELECT user, root, path FROM photos WHERE output_sha256 = ? ORDER BY id LIMIT 1", (sha256,)
        ).fetchone()
        return _source(row) if row else None

    def made_before(self, photo: Photo, input_sha256: str, fingerprint: str) -> EarlierOutput | None:
        """The output of the generation before, if it had the same bytes and came from the same engine.

        Not if somebody asked for the photo to be made again: then that row has a reason.
        """
        row = self._db.execute(
            f"SELECT output_path, output_sha256, report FROM photos WHERE {_KEY} AND generation = ?"  # noqa: S608
            " AND input_sha256 = ? AND output_path IS NOT NULL AND reason IS NULL"
            " AND json_extract(report, '$.fingerprint') = ?",
            (*_key(photo.source), photo.generation - 1, input_sha256, fingerprint),
        ).fetchone()
        return EarlierOutput(_output(row), row["report"]) if row else None

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
        """Keep a fact, such as the engine's device."""
        self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (key, value))

    def forget(self, key: str) -> None:
        """Remove a fact that no longer holds."""
        self._db.execute("DELETE FROM facts WHERE key = ?", (key,))

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
            " (user, root, path, generation, state, dev, ino, size, mtime_ns, ctime_ns, created, updated)"
            " VALUES (?, ?, ?, ?, 'ready', ?, ?, ?, ?, ?, ?, ?)",
            (
                *_key(settled.source),
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


def check_transition(old: State, new: State) -> None:
    """Raise IllegalTransition unless a photo may go from one state to the other."""
    if new not in TRANSITIONS[old]:
        raise IllegalTransition(f"a photo that is {old.value} cannot become {new.value}")


def _is_known(state: State, known: Snapshot, found: Snapshot) -> bool:
    # Superseded by no newer row: the content changed while it was worked on, and may have changed back.
    if state in {State.GONE, State.SUPERSEDED} or not known.same_content(found):
        return False
    # Held for its owner or mode, perhaps, and those are other ones now: try again.
    return state is not State.HELD or known.ctime_ns == found.ctime_ns


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


def _from_any(outboxes: Sequence[Outbox]) -> str:
    return "(user, root) IN (VALUES (NULL, NULL)" + ", (?, ?)" * len(outboxes) + ")"


def _roots_of(outboxes: Sequence[Outbox]) -> list[str | bytes]:
    return [value for outbox in outboxes for value in (outbox.user, os.fsencode(outbox.root))]


def _source(row: sqlite3.Row) -> Source:
    return Source(Outbox(row["user"], Path(os.fsdecode(row["root"]))), Path(os.fsdecode(row["path"])))


def _output(row: sqlite3.Row) -> Output:
    return Output(Path(os.fsdecode(row["output_path"])), row["output_sha256"])


def _snapshot(row: sqlite3.Row) -> Snapshot:
    return Snapshot(row["dev"], row["ino"], row["size"], row["mtime_ns"], row["ctime_ns"])


def photo_of(row: sqlite3.Row) -> Photo:
    """The photo in a whole row of the table `photos`."""
    return Photo(
        id=row["id"],
        source=_source(row),
        generation=row["generation"],
        state=State(row["state"]),
        snapshot=_snapshot(row),
        attempts=row["attempts"],
        alone=bool(row["alone"]),
        engine_deaths=row["engine_deaths"],
        input_sha256=row["input_sha256"],
        output=_output(row) if row["output_path"] is not None else None,
        reason=row["reason"],
    )
