"""The ledger's tables, as the list of steps that lead from an empty file to the present one."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from daemon.errors import LedgerError

# One entry per version, each a list of statements. Never edit an entry that was released: append one.
# Paths are BLOBs: a file name is bytes, and sqlite text refuses what is not UTF-8.
MIGRATIONS: Sequence[Sequence[str]] = (
    (
        """
        CREATE TABLE photos (
            id INTEGER PRIMARY KEY,
            user TEXT NOT NULL,
            root BLOB NOT NULL,
            path BLOB NOT NULL,
            generation INTEGER NOT NULL,
            state TEXT NOT NULL,
            dev INTEGER NOT NULL,
            ino INTEGER NOT NULL,
            size INTEGER NOT NULL,
            mtime_ns INTEGER NOT NULL,
            input_sha256 TEXT,
            output_path BLOB,
            output_sha256 TEXT,
            reason TEXT,
            attempts INTEGER NOT NULL DEFAULT 0,
            alone INTEGER NOT NULL DEFAULT 0,
            engine_deaths INTEGER NOT NULL DEFAULT 0,
            not_before REAL NOT NULL DEFAULT 0,
            report TEXT,
            created REAL NOT NULL,
            updated REAL NOT NULL,
            UNIQUE (user, root, path, generation)
        ) STRICT
        """,
        "CREATE INDEX photos_by_state ON photos (state, user, mtime_ns)",
        "CREATE TABLE sync_roots (path BLOB PRIMARY KEY, marker TEXT NOT NULL) STRICT",
        "CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
    ),
    (
        """
        CREATE TABLE pauses (
            user TEXT NOT NULL,
            root BLOB NOT NULL,
            until REAL NOT NULL,
            reason TEXT NOT NULL,
            PRIMARY KEY (user, root)
        ) STRICT
        """,
    ),
)


def migrate(database: sqlite3.Connection) -> None:
    """Bring the tables to the present version; raises LedgerError for one from the future."""
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise LedgerError(f"the ledger has version {version}; this fawkesd knows up to {len(MIGRATIONS)}")
    for number, statements in enumerate(MIGRATIONS[version:], start=version + 1):
        database.execute("BEGIN IMMEDIATE")
        for statement in statements:
            database.execute(statement)
        database.execute(f"PRAGMA user_version = {number}")
        database.execute("COMMIT")
