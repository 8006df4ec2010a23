"""Rows of the ledger's tables as values, and values as what a query takes."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from daemon.model import Change, Outbox, Output, Photo, Snapshot, Source, State

THIS_SOURCE = "user = ? AND root = ? AND path = ?"  # takes `key_of`


def photo_of(row: sqlite3.Row) -> Photo:
    """The photo in a whole row of the table `photos`."""
    return Photo(
        id=row["id"],
        source=source_of(row),
        generation=row["generation"],
        state=State(row["state"]),
        snapshot=snapshot_of(row),
        attempts=row["attempts"],
        alone=bool(row["alone"]),
        engine_deaths=row["engine_deaths"],
        input_sha256=row["input_sha256"],
        output=output_of(row) if row["output_path"] is not None else None,
        reason=row["reason"],
    )


def source_of(row: sqlite3.Row) -> Source:
    """The source in a row that has the columns user, root and path."""
    return Source(Outbox(row["user"], Path(os.fsdecode(row["root"]))), Path(os.fsdecode(row["path"])))


def output_of(row: sqlite3.Row) -> Output:
    """The output in a row that has the columns output_path and output_sha256."""
    return Output(Path(os.fsdecode(row["output_path"])), row["output_sha256"])


def snapshot_of(row: sqlite3.Row) -> Snapshot:
    """The snapshot in a row that has its columns."""
    return Snapshot(row["dev"], row["ino"], row["size"], row["mtime_ns"], row["ctime_ns"])


def key_of(source: Source) -> tuple[str, bytes, bytes]:
    """What `THIS_SOURCE` takes."""
    return (source.outbox.user, os.fsencode(source.outbox.root), os.fsencode(source.relative))


def from_any(outboxes: Sequence[Outbox]) -> str:
    """The condition that a row is of one of these outboxes; takes `roots_of` them."""
    return "(user, root) IN (VALUES (NULL, NULL)" + ", (?, ?)" * len(outboxes) + ")"


def roots_of(outboxes: Sequence[Outbox]) -> list[str | bytes]:
    """What `from_any` takes."""
    return [value for outbox in outboxes for value in (outbox.user, os.fsencode(outbox.root))]


def marks(values: Sequence[object]) -> str:
    """A question mark for each value."""
    return ",".join("?" * len(values))


def columns_of(change: Change) -> dict[str, object]:
    """The columns that a change writes, without the reason."""
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
