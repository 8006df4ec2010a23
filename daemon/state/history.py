"""Read-only access to the ledger, with or without a running service."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daemon.errors import LedgerError
from daemon.model import Outbox, Photo, Source, State
from daemon.state.facts import Facts
from daemon.state.fixed_targets import FixedTargets
from daemon.state.gallery import Gallery
from daemon.state.markers import Markers
from daemon.state.mounts import Mounts
from daemon.state.photos import THIS_SOURCE, key_of, marks, origin_of, photo_of
from daemon.state.schema import LEDGER_NAME, MIGRATIONS, migrate


@dataclass(frozen=True, slots=True)
class Record:
    """One row of the ledger with its times, seconds since 1970.

    not_before: a READY photo is not tried before. report: the engine's, as `fawkes_engine.Report` in JSON.
    """

    photo: Photo
    created: float
    updated: float
    not_before: float
    report: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class PausedFolder:
    """A paused outbox.

    until: seconds since 1970; None if it ends by `fawkesd resume`, or by itself once the reason is gone.
    waiting: how many of its photos wait.
    """

    path: Path
    reason: str
    until: float | None
    waiting: int


class History:
    """Queries for the commands; every result has the newest row first.

    facts, markers, mounts, targets: the same file's other tables. gallery: its photos page by page.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        self._db = database
        self.facts = Facts(database)
        self.markers = Markers(database)
        self.mounts = Mounts(database)
        self.targets = FixedTargets(database)
        self.gallery = Gallery(database)

    def outboxes(self) -> list[Outbox]:
        """Every outbox a photo ever came from, including those that are no longer configured."""
        rows = self._db.execute("SELECT DISTINCT user, root FROM photos ORDER BY user, root")
        return [Outbox(row["user"], Path(os.fsdecode(row["root"]))) for row in rows]

    def of_id(self, photo_id: int) -> Record | None:
        """One row; None if there is none."""
        return next(iter(self._records("id = ?", (photo_id,))), None)

    def of_source(self, source: Source) -> list[Record]:
        """Every generation of one photo."""
        return self._records(f"{THIS_SOURCE} ORDER BY generation DESC", key_of(source))

    def of_output(self, user: str, relative: Path) -> list[Record]:
        """Every row that was published, or was about to be, under a path below the user's sync folder."""
        key = (user, os.fsencode(relative))
        return self._records("user = ? AND output_path = ? ORDER BY updated DESC, id DESC", key)

    def origin(self, sha256: str) -> Source | None:
        """The original that a file with these bytes (hex digest) was published for; None if it is no output."""
        return origin_of(self._db, sha256)

    def in_state(self, state: State) -> list[Record]:
        """Every photo in a state."""
        return self._records("state = ? ORDER BY updated DESC, id DESC", (state.value,))

    def newest(self) -> Iterator[Record]:
        """Every row, one at a time, the one that changed last first."""
        return map(_record, self._db.execute("SELECT * FROM photos ORDER BY updated DESC, id DESC"))

    def count(self, user: str, states: Sequence[State], since: float = 0.0) -> int:
        """How many of a user's photos are in one of these states, and entered it since then."""
        query = f"SELECT count(*) FROM photos WHERE state IN ({marks(states)}) AND user = ? AND updated >= ?"  # noqa: S608
        values = (*(state.value for state in states), user, since)
        return int(self._db.execute(query, values).fetchone()[0])

    def to_come(self, user: str) -> list[Record]:
        """A user's photos that are to be taken up again, as after `fawkesd redo`, and have no new row yet."""
        return self._records(
            "user = ? AND state = 'superseded' AND NOT EXISTS (SELECT 1 FROM photos AS newer"
            " WHERE newer.user = photos.user AND newer.root = photos.root AND newer.path = photos.path"
            " AND newer.generation > photos.generation)",
            (user,),
        )

    def paused(self, user: str) -> tuple[PausedFolder, ...]:
        """A user's paused outboxes, with how many photos wait in each."""
        rows = self._db.execute(
            "SELECT root, reason, until, (SELECT count(*) FROM photos WHERE photos.user = pauses.user"
            " AND photos.root = pauses.root AND state = 'ready') AS waiting"
            " FROM pauses WHERE user = ? AND until > ? ORDER BY root",
            (user, time.time()),
        )
        return tuple(
            PausedFolder(
                path=Path(os.fsdecode(row["root"])),
                reason=row["reason"],
                until=None if row["until"] == math.inf else row["until"],
                waiting=row["waiting"],
            )
            for row in rows
        )

    def away(self, user: str, states: Sequence[State] = (State.READY,)) -> tuple[PausedFolder, ...]:
        """Mounts below a user's outboxes that are away while photos of them are in one of these states."""
        rows = self._db.execute(
            "SELECT mounts.root, prefix, count(*) AS waiting FROM mounts JOIN photos USING (user, root)"  # noqa: S608
            f" WHERE user = ? AND away AND state IN ({marks(states)}) AND substr(path, 1, length(prefix)) = prefix"
            " GROUP BY mounts.root, prefix",
            (user, *(state.value for state in states)),
        )
        return tuple(
            PausedFolder(
                Path(os.fsdecode(row["root"] + b"/" + row["prefix"])), "not mounted", None, row["waiting"]
            )
            for row in rows
        )

    def engine_seconds(self, user: str, limit: int) -> list[float]:
        """How long the engine took for each of the user's photos that were published last, seconds."""
        rows = self._db.execute(
            "SELECT json_extract(report, '$.seconds') FROM photos"
            " WHERE state = 'published' AND user = ? AND report IS NOT NULL ORDER BY updated DESC LIMIT ?",
            (user, limit),
        )
        return [seconds for (seconds,) in rows]

    def damage(self) -> str | None:
        """What sqlite finds wrong with the file; None if nothing."""
        (answer,) = self._db.execute("PRAGMA integrity_check(1)").fetchone()
        return None if answer == "ok" else str(answer)

    def _records(self, condition: str, values: Sequence[object]) -> list[Record]:
        rows = self._db.execute(f"SELECT * FROM photos WHERE {condition}", values)  # noqa: S608 - constant
        return [_record(row) for row in rows]


@contextlib.contextmanager
def reading(state_dir: Path) -> Iterator[History]:
    """Context manager: the history; an empty one before the first start. Raises LedgerError."""
    path = state_dir / LEDGER_NAME
    try:
        database = _open(path) if path.exists() else _empty()
        with contextlib.closing(database):
            database.row_factory = sqlite3.Row
            yield History(database)
    except sqlite3.DatabaseError as exc:
        raise LedgerError(f"the ledger {path} cannot be read: {exc}") from exc


def _open(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version in {0, len(MIGRATIONS)}:
        return database if version else _empty()  # 0: its first start has just begun
    database.close()
    is_newer = version > len(MIGRATIONS)
    advice = "install a newer one" if is_newer else "restart the service, so that both run the same version"
    raise LedgerError(
        f"the ledger {path} has version {version}, this fawkesd reads {len(MIGRATIONS)}; {advice}"
    )


def _empty() -> sqlite3.Connection:
    database = sqlite3.connect(":memory:", isolation_level=None)
    migrate(database)
    return database


def _record(row: sqlite3.Row) -> Record:
    return Record(
        photo=photo_of(row),
        created=row["created"],
        updated=row["updated"],
        not_before=row["not_before"],
        report=json.loads(row["report"]) if row["report"] else None,
    )
