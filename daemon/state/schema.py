"""The ledger's file: how it is opened, and its schema as migrations from an empty file."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from daemon.errors import LedgerError, LedgerUnavailable

LEDGER_NAME = "ledger.sqlite3"

# One entry per version, each a list of statements. Never edit a released entry: append one.
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
        # The next photos of a long backlog are found without sorting all of it.
        "CREATE INDEX photos_by_age ON photos (state, mtime_ns DESC, id)",
        "ALTER TABLE photos ADD COLUMN ctime_ns INTEGER NOT NULL DEFAULT 0",
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
    # A published file that comes back as an original is recognised by its bytes.
    ("CREATE INDEX photos_by_output ON photos (output_sha256) WHERE output_sha256 IS NOT NULL",),
    (
        # A renamed or copied photo is recognised by its bytes. Of earlier rows the options are not known.
        "ALTER TABLE photos ADD COLUMN options TEXT",
        "CREATE INDEX photos_by_input ON photos (input_sha256) WHERE input_sha256 IS NOT NULL",
    ),
    (
        """
        CREATE TABLE mounts (
            user TEXT NOT NULL,
            root BLOB NOT NULL,
            prefix BLOB NOT NULL,
            away INTEGER NOT NULL,
            PRIMARY KEY (user, root, prefix)
        ) STRICT
        """,
    ),
    (
        # The target that a person's published photos carry: of earlier rows, the one published last.
        "CREATE TABLE fixed_targets (person TEXT PRIMARY KEY, identity TEXT NOT NULL) STRICT",
        """
        INSERT INTO fixed_targets SELECT person, target FROM (
            SELECT json_extract(face.value, '$.person') AS person, json_extract(face.value, '$.target') AS target,
                max(photos.id)
            FROM photos, json_each(photos.report, '$.faces') AS face
            WHERE photos.output_path IS NOT NULL AND person NOT LIKE '~%' AND target IS NOT NULL
            GROUP BY person
        )
        """,
    ),
    (
        # What `redo` asked for: in the row that it superseded, for all that follow.
        "ALTER TABLE photos ADD COLUMN chosen_mode TEXT",
        "ALTER TABLE photos ADD COLUMN chosen_strength INTEGER",
    ),
    (
        # A finished photo may wait for somebody to approve it.
        "ALTER TABLE photos ADD COLUMN result_sha256 TEXT",
        "ALTER TABLE photos ADD COLUMN approved INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE photos ADD COLUMN no_face TEXT",
        # Approved photos are found in a long backlog without reading all of it.
        "CREATE INDEX photos_approved ON photos (state, mtime_ns DESC, id) WHERE approved = 1",
        """
        UPDATE photos SET no_face = 'hold' WHERE state = 'held'
            AND (reason LIKE 'no face was found%' OR reason LIKE 'none of the faces was recognised as %')
        """,
    ),
    # The web page shows photos by their last change; with the path in it, a search reads nothing but the index.
    ("CREATE INDEX photos_by_change ON photos (state, updated DESC, id DESC, user, path)",),
)


class LedgerConnection(sqlite3.Connection):
    """A connection that distinguishes disk trouble, which passes, and damage from every other error."""

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:  # noqa: ANN401 - whatever sqlite takes
        """Run one statement. Raises LedgerUnavailable: disk full, read-only, failing, or gone; LedgerError: damaged."""
        with _errors():
            return super().execute(sql, parameters)

    def rows(self, sql: str, parameters: Any = (), /) -> list[sqlite3.Row]:  # noqa: ANN401
        """Run one statement and return all its rows; raises as `execute` does.

        A change with RETURNING is committed when the last row is fetched, not before.
        """
        with _errors():
            return self.execute(sql, parameters).fetchall()


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as exc:
        raise LedgerUnavailable(f"the ledger cannot be used: {exc}") from exc
    except sqlite3.DatabaseError as exc:
        if type(exc) is not sqlite3.DatabaseError:  # its subclasses are faults of the program
            raise
        raise LedgerError(f"the ledger is damaged ({exc}); restore the state folder from a backup") from exc


def open_ledger(path: Path) -> LedgerConnection:
    """Open or create the file and migrate it to the current version. Raises LedgerError."""
    try:
        _make_private(path)
        database = sqlite3.connect(path, isolation_level=None, factory=LedgerConnection)
        database.row_factory = sqlite3.Row
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        migrate(database)
    except sqlite3.DatabaseError as exc:
        raise LedgerError(f"the ledger {path} cannot be opened: {exc}") from exc
    return database


def _make_private(path: Path) -> None:
    """Make a file that only its owner can open; sqlite would make one for everybody. Its -wal and -shm follow it."""
    with contextlib.suppress(OSError):  # sqlite will say what is wrong
        path.touch(mode=0o600)


def migrate(database: sqlite3.Connection) -> None:
    """Migrate the tables to the current version; raises LedgerError for a newer one."""
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise LedgerError(
            f"the ledger has version {version}, this fawkesd knows up to {len(MIGRATIONS)}; install a newer one"
        )
    if version == len(MIGRATIONS):
        return
    database.execute("BEGIN IMMEDIATE")  # for all steps: `status` may look in between
    for statements in MIGRATIONS[version:]:
        for statement in statements:
            database.execute(statement)
    database.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    database.execute("COMMIT")
