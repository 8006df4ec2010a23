"""What the daemon has done and has to do, read from the ledger; works whether or not the daemon runs."""

from __future__ import annotations

import datetime
import math
import os
import sqlite3
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from daemon.config.settings import Settings, UserSettings
from daemon.fs.locks import holder
from daemon.model import WAITING, HeldPhoto, State
from daemon.state import facts
from daemon.state.history import History, reading
from daemon.state.targets import FileTargetStore

_RECENT_PHOTOS = 50
_NOT_RUNNING = "not running"


@dataclass(frozen=True, slots=True)
class PausedFolder:
    """A folder that nothing is done for now.

    until: seconds since 1970; None if it ends by `fawkesd resume`, or by itself once the reason is gone.
    waiting: photos that wait for it.
    """

    path: Path
    reason: str
    until: float | None
    waiting: int


@dataclass(frozen=True, slots=True)
class UserStatus:
    """One user's photos. target: identity id of the user's fixed target, None before the first photo.

    waiting: all of them, those in paused folders too. seconds_per_photo: median engine time of recent
    photos, None before the first. eta_s: for those that wait in no paused folder.
    """

    name: str
    published: int
    published_today: int
    waiting: int
    held: tuple[HeldPhoto, ...]
    paused: tuple[PausedFolder, ...]
    seconds_per_photo: float | None
    eta_s: float | None
    target: str | None


@dataclass(frozen=True, slots=True)
class Status:
    """The whole daemon. engine: such as "dlib on cpu", or "not running". watching: "natively", or what is polled.

    quiet_until: the local time, such as "07:00", at which the present quiet hours end; None if it is not within any.
    """

    running: bool
    pid: int | None
    engine: str
    watching: str
    quiet_until: str | None
    users: tuple[UserStatus, ...]


def read(settings: Settings) -> Status:
    """The present status; before the first start, that nothing was done yet. Raises LedgerError."""
    pid = holder(settings.state_dir)
    running = pid is not None
    quiet = settings.engine.quiet_now
    with reading(settings.state_dir) as history:
        noted = history.facts() if running else {}
        return Status(
            running=running,
            pid=pid,
            engine=_engine(noted, settings) if running else _NOT_RUNNING,
            watching=noted.get(facts.WATCHING, "starting") if running else _NOT_RUNNING,
            quiet_until=quiet.ends if quiet else None,
            users=tuple(_user(history, settings, user, noted) for user in settings.users),
        )


def _user(history: History, settings: Settings, user: UserSettings, noted: dict[str, str]) -> UserStatus:
    database, name = history.database, user.name
    midnight = datetime.datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    waiting = _count(database, name, WAITING)
    seconds = _seconds_per_photo(database, name)
    target = FileTargetStore(settings.targets_dir).get(name)
    paused = _paused(database, name)
    if facts.PAUSED + name in noted:
        reason = noted[facts.PAUSED + name]
        paused = (PausedFolder(user.sync, reason, None, waiting),)
    return UserStatus(
        name=name,
        published=_count(database, name, [State.PUBLISHED]),
        published_today=_count(database, name, [State.PUBLISHED], since=midnight.timestamp()),
        waiting=waiting,
        held=tuple(
            HeldPhoto(name, record.photo.source.path, record.photo.reason or "")
            for record in reversed(history.in_state(State.HELD))
            if record.photo.source.outbox.user == name
        ),
        paused=paused,
        seconds_per_photo=seconds,
        eta_s=None if seconds is None else (waiting - sum(folder.waiting for folder in paused)) * seconds,
        target=target.identity if target else None,
    )


def _count(database: sqlite3.Connection, user: str, states: Sequence[State], since: float = 0.0) -> int:
    marks = ",".join("?" * len(states))
    query = f"SELECT count(*) FROM photos WHERE state IN ({marks}) AND user = ? AND updated >= ?"  # noqa: S608
    return int(database.execute(query, (*(state.value for state in states), user, since)).fetchone()[0])


def _paused(database: sqlite3.Connection, user: str) -> tuple[PausedFolder, ...]:
    rows = database.execute(
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


def _seconds_per_photo(database: sqlite3.Connection, user: str) -> float | None:
    rows = database.execute(
        "SELECT json_extract(report, '$.seconds') FROM photos"
        " WHERE state = 'published' AND user = ? AND report IS NOT NULL ORDER BY updated DESC LIMIT ?",
        (user, _RECENT_PHOTOS),
    ).fetchall()
    return statistics.median(seconds for (seconds,) in rows) if rows else None


def _engine(noted: dict[str, str], settings: Settings) -> str:
    extractors = "+".join(settings.engine.ensemble)
    device = noted.get(facts.ENGINE)
    if device == facts.UNLOADED:
        return device
    return f"{extractors} on {device}" if device else f"{extractors}, starting"
