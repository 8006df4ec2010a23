"""The photos of the ledger page by page, the one that changed last first; quick with 100,000 rows of history."""

from __future__ import annotations

import heapq
import os
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from daemon.model import State


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which photos to show. states: at least one. folder: below an outbox, with what is in its subfolders.

    name: a part of the path; A to Z in either case.
    """

    states: Sequence[State]
    user: str | None = None
    folder: PurePath | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """The last row of a page, after which the next one begins."""

    updated: float
    id: int


@dataclass(frozen=True, slots=True)
class Tile:
    """A photo in the grid. updated: seconds since 1970."""

    id: int
    user: str
    path: Path
    state: State
    updated: float

    @property
    def place(self) -> Place:
        """Where the next page begins if this is the last one."""
        return Place(self.updated, self.id)


class Gallery:
    """Queries that the index `photos_by_change` answers alone, without the reports beside the rows."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._db = database

    def page(self, wanted: Wanted, after: Place | None, limit: int) -> list[Tile]:
        """The next tiles, newest change first."""
        found = (self._of_state(state, wanted, after, limit) for state in wanted.states)
        merged = heapq.merge(*found, key=lambda tile: (-tile.updated, -tile.id))
        return list(merged)[:limit]

    def counts(self) -> dict[tuple[str, State], int]:
        """How many rows there are of each user and state."""
        rows = self._db.execute("SELECT user, state, count(*) AS n FROM photos GROUP BY state, user")
        return {(row["user"], State(row["state"])): row["n"] for row in rows}

    def folders(self, user: str | None, of_newest: int) -> list[PurePath]:
        """The folders of the photos that were published last, below their outboxes, sorted."""
        tiles = self.page(Wanted([State.PUBLISHED], user), None, of_newest)
        return sorted({tile.path.parent for tile in tiles} - {Path()})

    def _of_state(self, state: State, wanted: Wanted, after: Place | None, limit: int) -> list[Tile]:
        conditions: list[str] = ["state = ?"]
        values: list[object] = [state.value]
        for condition, value in _conditions(wanted, after):
            conditions.append(condition)
            values += value
        query = (
            "SELECT id, user, path, state, updated FROM photos INDEXED BY photos_by_change"  # noqa: S608 - constants
            f" WHERE {' AND '.join(conditions)} ORDER BY updated DESC, id DESC LIMIT ?"
        )
        return [
            Tile(row["id"], row["user"], Path(os.fsdecode(row["path"])), State(row["state"]), row["updated"])
            for row in self._db.execute(query, (*values, limit))
        ]


def _conditions(wanted: Wanted, after: Place | None) -> list[tuple[str, list[object]]]:
    found: list[tuple[str, list[object]]] = []
    if after is not None:
        found.append(("(updated, id) < (?, ?)", [after.updated, after.id]))
    if wanted.user is not None:
        found.append(("user = ?", [wanted.user]))
    if wanted.folder is not None:
        prefix = os.fsencode(wanted.folder) + b"/"
        found.append(("substr(path, 1, ?) = ?", [len(prefix), prefix]))
    if wanted.name:
        found.append(("instr(lower(CAST(path AS TEXT)), lower(?)) > 0", [wanted.name]))
    return found
