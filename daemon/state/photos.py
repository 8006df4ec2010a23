"""The table `photos`: its rows as values, and the queries for single photos."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from daemon.model import (
    REDO_REASON,
    WAS_PUBLISHED,
    Choice,
    EarlierOutput,
    NoFacePolicy,
    Outbox,
    Output,
    Photo,
    Snapshot,
    Source,
    State,
)
from daemon.state.mounts import IS_MOUNTED
from daemon.state.schema import LedgerConnection

THIS_SOURCE = "user = ? AND root = ? AND path = ?"  # takes `key_of`


class Photos:
    """The ledger's read queries; `Ledger` adds the writes."""

    def __init__(self, database: LedgerConnection) -> None:
        self._db = database

    def get(self, photo_id: int) -> Photo:
        """The row as it is now."""
        return photo_of(self._db.execute("SELECT * FROM photos WHERE id = ?", (photo_id,)).fetchone())

    def latest(self, source: Source) -> Photo | None:
        """The newest generation of a source path."""
        row = self._db.execute(
            f"SELECT * FROM photos WHERE {THIS_SOURCE} ORDER BY generation DESC LIMIT 1",  # noqa: S608 - constant
            key_of(source),
        ).fetchone()
        return photo_of(row) if row else None

    def knows(self, source: Source, snapshot: Snapshot) -> bool:
        """Whether a scan that finds this content can skip it."""
        row = self._db.execute(
            f"SELECT state, dev, ino, size, mtime_ns, ctime_ns FROM photos WHERE {THIS_SOURCE}"  # noqa: S608 - constant
            " ORDER BY generation DESC LIMIT 1",
            key_of(source),
        ).fetchone()
        return row is not None and is_known(State(row["state"]), _snapshot(row), snapshot)

    def in_state(self, *states: State, user: str | None = None) -> list[Photo]:
        """Every row in one of these states, oldest row first."""
        rows = self._db.execute(
            f"SELECT * FROM photos WHERE state IN ({marks(states)}) AND (? IS NULL OR user = ?) ORDER BY id",  # noqa: S608
            (*(state.value for state in states), user, user),
        )
        return [photo_of(row) for row in rows]

    def count(self, *states: State) -> int:
        """How many rows are in one of these states."""
        query = f"SELECT count(*) FROM photos WHERE state IN ({marks(states)})"  # noqa: S608 - marks only
        return int(self._db.execute(query, [state.value for state in states]).fetchone()[0])

    def last_device(self, outbox: Outbox) -> int | None:
        """The device number that the outbox had when its last photo was admitted; None before the first.

        Photos on mounts below it do not count.
        """
        row = self._db.execute(
            f"SELECT dev FROM photos WHERE user = ? AND root = ? AND NOT {IS_MOUNTED} ORDER BY id DESC LIMIT 1",  # noqa: S608
            (outbox.user, os.fsencode(outbox.root)),
        ).fetchone()
        return row["dev"] if row else None

    def own_outputs(self, source: Source) -> list[Output]:
        """Every file that was, or was about to be, published for any generation of this source.

        Without one that a photo has taken along to its new name.
        """
        rows = self._db.execute(
            f"SELECT output_path, output_sha256 FROM photos WHERE {THIS_SOURCE} AND output_path IS NOT NULL"  # noqa: S608
            " AND NOT EXISTS (SELECT 1 FROM photos AS other WHERE other.state = 'published'"
            " AND other.output_sha256 = photos.output_sha256 AND other.output_path = photos.output_path"
            " AND other.user = photos.user AND NOT (other.root = photos.root AND other.path = photos.path))",
            key_of(source),
        )
        return [_output(row) for row in rows]

    def origin(self, sha256: str) -> Source | None:
        """The original, of any user, of an output with these bytes; None if fawkesd published no such file."""
        return origin_of(self._db, sha256)

    def made_before(self, photo: Photo, fingerprint: str) -> list[EarlierOutput]:
        """What the same engine made for the same user from the same bytes with the same options.

        The photo's own outputs come first, then the newest. Nothing if the photo is to be redone by command.
        """
        if self._is_to_be_redone(photo):
            return []
        rows = self._db.execute(
            "SELECT user, root, path, output_path, output_sha256, report FROM photos"
            " WHERE id != ? AND user = ? AND input_sha256 = ? AND options = ? AND output_path IS NOT NULL"
            " AND reason IS NOT ? AND json_extract(report, '$.fingerprint') = ?"
            " ORDER BY (root = ? AND path = ?) DESC, id DESC",
            (
                *(photo.id, photo.source.outbox.user, photo.input_sha256, photo.options),
                *(REDO_REASON, fingerprint),
                *key_of(photo.source)[1:],
            ),
        )
        return [EarlierOutput(_source(row), _output(row), row["report"]) for row in rows]

    def published_before(self, photo: Photo) -> list[EarlierOutput]:
        """The last output of an earlier generation of a photo with the same bytes, if there is one.

        Nothing if the photo is to be redone by command.
        """
        if self._is_to_be_redone(photo):
            return []
        rows = self._db.execute(
            f"SELECT output_path, output_sha256, report FROM photos WHERE {THIS_SOURCE}"  # noqa: S608 - constant
            " AND input_sha256 = ? AND state = 'superseded' AND reason = ? ORDER BY generation DESC LIMIT 1",
            (*key_of(photo.source), photo.input_sha256, WAS_PUBLISHED),
        )
        return [
            EarlierOutput(photo.source, _output(row), row["report"], may_be_outdated=True) for row in rows
        ]

    def choice(self, photo: Photo) -> Choice | None:
        """How the photo is to be cloaked by command: as asked for it last, or for the same bytes under another name."""
        user, root, path = key_of(photo.source)
        rows = self._db.execute(
            "SELECT coalesce(chosen_mode, CASE WHEN json_extract(options, '$.by_folder') IS NULL"  # noqa: S608 - constant
            " THEN json_extract(options, '$.mode') END) AS mode,"
            " coalesce(chosen_strength, json_extract(options, '$.strength')) AS strength FROM photos"
            f" WHERE ({THIS_SOURCE}) OR (user = ? AND input_sha256 = ?)"
            " ORDER BY (root = ? AND path = ?) DESC, id DESC",
            (user, root, path, user, photo.input_sha256, root, path),
        )
        return next((Choice(row["mode"], row["strength"]) for row in rows if row["mode"]), None)

    def published_from(self, user: str, input_sha256: str) -> list[Photo]:
        """Every PUBLISHED row of a user that was made from these bytes (hex), oldest first."""
        rows = self._db.execute(
            "SELECT * FROM photos WHERE user = ? AND input_sha256 = ? AND state = 'published' ORDER BY id",
            (user, input_sha256),
        )
        return [photo_of(row) for row in rows]

    def _is_to_be_redone(self, photo: Photo) -> bool:
        query = f"SELECT 1 FROM photos WHERE {THIS_SOURCE} AND generation = ? AND reason = ?"  # noqa: S608
        values = (*key_of(photo.source), photo.generation - 1, REDO_REASON)
        return self._db.execute(query, values).fetchone() is not None


def is_known(state: State, known: Snapshot, found: Snapshot) -> bool:
    """Whether a file needs no new row, since the newest row of its source already has its content."""
    # SUPERSEDED without a newer row: the content changed during the work, and may have changed back.
    if state in {State.GONE, State.SUPERSEDED} or not known.same_content(found):
        return False
    # It may have been held for its owner or mode, which have changed since: try again.
    return state is not State.HELD or known.ctime_ns == found.ctime_ns


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
        options=row["options"],
        result_sha256=row["result_sha256"],
        approved=bool(row["approved"]),
        no_face=NoFacePolicy(row["no_face"]) if row["no_face"] else None,
    )


def origin_of(database: sqlite3.Connection, sha256: str) -> Source | None:
    """The original, of any user, of an output with these bytes (hex); None if fawkesd published no such file."""
    # Of a renamed photo, the source under its present name.
    query = (
        "SELECT user, root, path FROM photos WHERE output_sha256 = ?"
        " ORDER BY state = 'published' DESC, id LIMIT 1"
    )
    row = database.execute(query, (sha256,)).fetchone()
    return _source(row) if row else None


def _source(row: sqlite3.Row) -> Source:
    """The source in a row that has its three columns."""
    return Source(Outbox(row["user"], Path(os.fsdecode(row["root"]))), Path(os.fsdecode(row["path"])))


def key_of(source: Source) -> tuple[str, bytes, bytes]:
    """What `THIS_SOURCE` takes."""
    return (source.outbox.user, os.fsencode(source.outbox.root), os.fsencode(source.relative))


def marks(values: Sequence[object]) -> str:
    """A question mark for each value."""
    return ",".join("?" * len(values))


def _output(row: sqlite3.Row) -> Output:
    return Output(Path(os.fsdecode(row["output_path"])), row["output_sha256"])


def _snapshot(row: sqlite3.Row) -> Snapshot:
    return Snapshot(row["dev"], row["ino"], row["size"], row["mtime_ns"], row["ctime_ns"])
