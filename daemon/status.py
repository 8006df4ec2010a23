"""What the daemon has done and has to do, read from the ledger; works whether or not the daemon runs."""

from __future__ import annotations

import datetime
import os
import sqlite3
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from daemon.dispatch import ENGINE_FACT
from daemon.errors import LedgerError
from daemon.ledger import LEDGER_NAME
from daemon.locks import holder
from daemon.model import WAITING, HeldPhoto
from daemon.settings import Settings
from daemon.targets import FileTargetStore

_RECENT_PHOTOS = 50


@dataclass(frozen=True, slots=True)
class UserStatus:
    """One user's photos. target: identity id of the user's fixed target, None before the first photo.

    seconds_per_photo: median engine time of recent photos, None before the first. eta_s: for those waiting.
    """

    name: str
    published: int
    published_today: int
    waiting: int
    held: tuple[HeldPhoto, ...]
    seconds_per_photo: float | None
    eta_s: float | None
    target: str | None


@dataclass(frozen=True, slots=True)
class Status:
    """The whole daemon. engine: such as "dlib on cpu", or "not running"."""

    running: bool
    pid: int | None
    engine: str
    users: tuple[UserStatus, ...]


def read(settings: Settings) -> Status:
    """The present status; a missing ledger means that nothing was done yet. Raises LedgerError."""
    pid = holder(settings.state_dir)
    path = settings.state_dir / LEDGER_NAME
    if not path.exists():
        return Status(
            pid is not None, pid, "not running", tuple(_nothing(user.name) for user in settings.users)
        )
    try:
        database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            users = tuple(_user(database, settings, user.name) for user in settings.users)
            engine = _engine(database, settings) if pid is not None else "not running"
        finally:
            database.close()
    except sqlite3.DatabaseError as exc:
        raise LedgerError(f"the ledger {path} cannot be read: {exc}") from exc
    return Status(pid is not None, pid, engine, users)


def _nothing(name: str) -> UserStatus:
    return UserStatus(name, 0, 0, 0, (), None, None, None)


def _user(database: sqlite3.Connection, settings: Settings, name: str) -> UserStatus:
    midnight = datetime.datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    waiting = _count(database, name, [state.value for state in WAITING])
    seconds = _seconds_per_photo(database, name)
    target = FileTargetStore(settings.targets_dir).get(name)
    return UserStatus(
        name=name,
        published=_count(database, name, ["published"]),
        published_today=_count(database, name, ["published"], since=midnight.timestamp()),
        waiting=waiting,
        held=_held(database, name),
        seconds_per_photo=seconds,
        eta_s=None if seconds is None else waiting * seconds,
        target=target.identity if target else None,
    )


def _count(database: sqlite3.Connection, user: str, states: Sequence[str], since: float = 0.0) -> int:
    marks = ",".join("?" * len(states))
    query = f"SELECT count(*) FROM photos WHERE state IN ({marks}) AND user = ? AND updated >= ?"  # noqa: S608
    return int(database.execute(query, (*states, user, since)).fetchone()[0])


def _held(database: sqlite3.Connection, user: str) -> tuple[HeldPhoto, ...]:
    rows = database.execute(
        "SELECT root, path, reason FROM photos WHERE state = 'held' AND user = ? ORDER BY updated", (user,)
    )
    return tuple(
        HeldPhoto(user, Path(os.fsdecode(root)) / os.fsdecode(path), reason or "")
        for root, path, reason in rows
    )


def _seconds_per_photo(database: sqlite3.Connection, user: str) -> float | None:
    rows = database.execute(
        "SELECT json_extract(report, '$.seconds') FROM photos"
        " WHERE state = 'published' AND user = ? AND report IS NOT NULL ORDER BY updated DESC LIMIT ?",
        (user, _RECENT_PHOTOS),
    ).fetchall()
    return statistics.median(seconds for (seconds,) in rows) if rows else None


def _engine(database: sqlite3.Connection, settings: Settings) -> str:
    row = database.execute("SELECT value FROM facts WHERE key = ?", (ENGINE_FACT,)).fetchone()
    extractors = "+".join(settings.engine.extractors)
    return f"{extractors} on {row[0]}" if row else f"{extractors}, starting"
