"""Who may see the page: sessions and one-time login links, in a file of the state folder; only hashes are kept."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from daemon.fs.private import make_private

FOLDER = "web"  # below the state folder
SESSION_S = 30 * 86400.0
LINK_S = 600.0
_FILE = "sessions.sqlite3"
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS keys (hash TEXT PRIMARY KEY, kind TEXT NOT NULL, until REAL NOT NULL) STRICT"
)


class Sessions:
    """Makes and checks keys, which are random text of 256 bits. Thread-safe, and shared with other processes."""

    def __init__(self, state_dir: Path, clock: Callable[[], float] = time.time) -> None:
        """Create the file and its folder, which only their owner can open. Raises OSError."""
        folder = state_dir / FOLDER
        make_private(folder)
        self._path = folder / _FILE
        self._clock = clock
        self._path.touch(mode=0o600)
        with self._database() as database:
            database.execute(_SCHEMA)

    def new_link(self) -> str:
        """A key that opens one session, within LINK_S seconds."""
        return self._new("link", LINK_S)

    def redeem(self, link: str) -> str | None:
        """The key of a new session for that of a link, which is then used up; None for any other text."""
        return self.new_session() if self._remove("link", link) else None

    def new_session(self) -> str:
        """The key of a new session, which lasts SESSION_S seconds."""
        return self._new("session", SESSION_S)

    def knows(self, session: str) -> bool:
        """Whether this is the key of an open session."""
        query = "SELECT 1 FROM keys WHERE hash = ? AND kind = 'session' AND until > ?"
        with self._database() as database:
            return database.execute(query, (_hash(session), self._clock())).fetchone() is not None

    def close(self, session: str) -> None:
        """End a session."""
        self._remove("session", session)

    def _new(self, kind: str, for_s: float) -> str:
        key = secrets.token_urlsafe(32)
        with self._database() as database:
            database.execute("DELETE FROM keys WHERE until <= ?", (self._clock(),))
            database.execute("INSERT INTO keys VALUES (?, ?, ?)", (_hash(key), kind, self._clock() + for_s))
        return key

    def _remove(self, kind: str, key: str) -> bool:
        query = "DELETE FROM keys WHERE hash = ? AND kind = ? AND until > ? RETURNING 1"
        with self._database() as database:
            return database.execute(query, (_hash(key), kind, self._clock())).fetchone() is not None

    @contextlib.contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(sqlite3.connect(self._path, timeout=10.0)) as database, database:
            yield database


def csrf_token(session: str) -> str:
    """The token that every form of a session carries; whoever lacks the session's key cannot make it."""
    return hmac.new(session.encode(), b"csrf", hashlib.sha256).hexdigest()


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode(errors="replace")).hexdigest()
