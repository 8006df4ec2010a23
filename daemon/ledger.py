"""The ledger: one sqlite row per content of a photo, the truth about what was done and what is to do.

Every change of state goes through `move`, which holds it against the one table `model.TRANSITIONS`.
WAL with synchronous=FULL: what a method has returned from survives a power cut.
Times are seconds since 1970, since they outlive the process.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from daemon.errors import IllegalTransition, LedgerError
from daemon.model import TRANSITIONS, Change, Outbox, Output, Photo, Settled, Snapshot, Source, State
from daemon.schema import migrate

LEDGER_NAME = "ledger.sqlite3"

_NO_CHANGE = Change()
_KEY = "user = ? AND root = ? AND path = ?"


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
        return _photo(row) if row else None

    def knows(self, source: Source, snapshot: Snapshot) -> bool:
        """Whether a scan that finds this content can pass over it."""
        latest = self.latest(source)
        return latest is not None and _is_known(latest, snapshot)

    def get(self, photo_id: int) -> Photo:
        """The row as it is now."""
        return _photo(self._db.execute("SELECT * FROM photos WHERE id = ?", (photo_id,)).fetchone())

    def ready(self, users: Sequence[str], *, longest_s: float, limit: int) -> list[Photo]:
        """READY rows of these users whose waiting time is over, newest photo first.

        longest_s: the longest wait ever asked for; a later time comes from a clock that was set back.
        """
        now = self._clock()
        marks = ",".join("?" * len(users))
        rows = self._db.execute(
            f"SELECT * FROM photos WHERE state = 'ready' AND user IN ({marks})"  # noqa: S608 - marks only
            " AND NOT (not_before > ? AND not_before <= ?) ORDER BY mtime_ns DESC, id LIMIT ?",
            (*users, now, now + longest_s, limit),
        )
        return [_photo(row) for row in rows]

    def next_ready_at(self, users: Sequence[str]) -> float | None:
        """When the first READY row of these users may be tried; None if there is none."""
        marks = ",".join("?" * len(users))
        query = f"SELECT min(not_before) FROM photos WHERE state = 'ready' AND user IN ({marks})"  # noqa: S608
        (when,) = self._db.execute(query, users).fetchone()
        return float(when) if when is not None else None

    def in_state(self, *states: State, user: str | None = None) -> list[Photo]:
        """Every row in one of these states, oldest row first."""
        marks = ",".join("?" * len(states))
        rows = self._db.execute(
            f"SELECT * FROM photos WHERE state IN ({marks}) AND (? IS NULL OR user = ?) ORDER BY id",  # noqa: S608
            (*(state.value for state in states), user, user),
        )
        return [_photo(row) for row in rows]

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
        """Keep a fact for `status`, such as the engine's device."""
        self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (key, value))

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


def _photo(row: sqlite3.Row) -> Photo:
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
