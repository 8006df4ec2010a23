"""What the ledger has to tell, read without changing it: beside a running service, or without one."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daemon.errors import LedgerError
from daemon.model import Outbox, Photo, Source, State
from daemon.state.ledger import LEDGER_NAME, photo_of
from daemon.state.schema import MIGRATIONS, migrate


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


class History:
    """Questions to the ledger; every answer has the newest row first."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self.database = database

    def outboxes(self) -> list[Outbox]:
        """Every outbox a photo ever came from, also those that are no longer configured."""
        rows = self.database.execute("SELECT DISTINCT user, root FROM photos ORDER BY user, root")
        return [Outbox(row["user"], Path(os.fsdecode(row["root"]))) for row in rows]

    def of_source(self, source: Source) -> list[Record]:
        """Every generation of one photo."""
        key = (source.outbox.user, os.fsencode(source.outbox.root), os.fsencode(source.relative))
        return self._records("user = ? AND root = ? AND path = ? ORDER BY generation DESC", key)

    def of_output(self, user: str, relative: Path) -> list[Record]:
        """Every row that was published, or was about to be, under a path below the user's sync folder."""
        key = (user, os.fsencode(relative))
        return self._records("user = ? AND output_path = ? ORDER BY updated DESC, id DESC", key)

    def in_state(self, state: State) -> list[Record]:
        """Every photo in a state."""
        return self._records("state = ? ORDER BY updated DESC, id DESC", (state.value,))

    def newest(self) -> Iterator[Record]:
        """Every row, one at a time, the one that changed last first."""
        return map(_record, self.database.execute("SELECT * FROM photos ORDER BY updated DESC, id DESC"))

    def marker(self, sync: Path) -> str | None:
        """The marker this sync folder had when it was first used."""
        query = "SELECT marker FROM sync_roots WHERE path = ?"
        row = self.database.execute(query, (os.fsencode(sync),)).fetchone()
        return row["marker"] if row else None

    def facts(self) -> dict[str, str]:
        """What the service noted, by the keys in `facts`; of a stopped one it may be out of date."""
        return {row["key"]: row["value"] for row in self.database.execute("SELECT key, value FROM facts")}

    def _records(self, condition: str, values: Sequence[object]) -> list[Record]:
        rows = self.database.execute(f"SELECT * FROM photos WHERE {condition}", values)  # noqa: S608 - constant
        return [_record(row) for row in rows]


@contextlib.contextmanager
def reading(state_dir: Path) -> Iterator[History]:
    """The history, for the time of a with block; an empty one before the first start. Raises LedgerError."""
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
    raise LedgerError(
        f"the ledger {path} has version {version}, this fawkesd reads {len(MIGRATIONS)}; "
        "start the service again, so that both are of one version"
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
