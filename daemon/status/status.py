"""The status of the service, read from the ledger, whether or not the service is running."""

from __future__ import annotations

import datetime
import os
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from daemon.config.settings import Settings, UserSettings
from daemon.fs.locks import holder
from daemon.fs.tally import IgnoredPhotos
from daemon.model import WAITING, HeldPhoto, Outbox, Source, State
from daemon.state import facts, in_work, nodes
from daemon.state.history import History, PausedFolder, reading
from daemon.state.nodes import SeenNode
from daemon.state.targets import FileTargetStore
from daemon.state.unfinished import UnfinishedFile, from_text
from daemon.status.lookup import origin_of, outboxes

_RECENT_PHOTOS = 50
_NOT_RUNNING = "not running"


@dataclass(frozen=True, slots=True)
class Unpublished:
    """Photos that one pattern ignored at the last scan of an outbox. origin: as of `lookup.origin_of`.

    photos: how many; at least so many unless is_all. places: the first of the files, and of the ignored folders with
    a / at the end, below the outbox. are_videos: as in `IgnoredPhotos`.
    """

    outbox: Path
    pattern: str
    origin: str
    photos: int
    is_all: bool
    places: tuple[str, ...]
    are_videos: bool = False


@dataclass(frozen=True, slots=True)
class AwayFolder:
    """A folder or a target that is missing or cannot be used, until it can again. reason: a message for users."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Batch:
    """The photos that one engine works on together. doing, share: as of `state.in_work.InWork`."""

    photos: tuple[Path, ...]
    doing: str
    share: float | None


@dataclass(frozen=True, slots=True)
class UserStatus:
    """One user's photos. target: id of the user's target identity, None before the first photo.

    waiting: includes paused folders, and what is to be cloaked again. unfinished: what waits for its writer; none if
    fawkesd is not running.
    seconds_per_photo: median engine time of recent photos, None before the first. eta_s: excludes paused folders.
    ignored: in no other number. review: finished, and wait for somebody to approve them. rejected: stay away by that.
    recalling: copies that are still to be removed.
    """

    name: str
    published: int
    published_today: int
    waiting: int
    held: tuple[HeldPhoto, ...]
    paused: tuple[PausedFolder, ...]
    unfinished: tuple[UnfinishedFile, ...]
    seconds_per_photo: float | None
    eta_s: float | None
    target: str | None
    ignored: tuple[Unpublished, ...] = ()
    review: int = 0
    rejected: int = 0
    recalling: int = 0


@dataclass(frozen=True, slots=True)
class Status:
    """The whole service. engine: such as "dlib on cpu", or "not running". watching: "natively", or what is polled.

    quiet_until: the local time, such as "07:00", at which the present quiet hours end; None outside quiet hours.
    waits_for: outboxes that are away, sync folders and targets that cannot be used; empty while nothing runs.
    in_work: what the engines do now. nodes: the engines of a cluster.
    """

    running: bool
    pid: int | None
    engine: str
    watching: str
    quiet_until: str | None
    waits_for: tuple[AwayFolder, ...]
    users: tuple[UserStatus, ...]
    in_work: tuple[Batch, ...] = ()
    nodes: tuple[SeenNode, ...] = ()

    @property
    def is_working(self) -> bool:
        """Whether it is running and can use every outbox, sync folder and target."""
        return self.running and not self.waits_for


def read(settings: Settings) -> Status:
    """Read the current status, which is empty before the first start. Raises LedgerError."""
    pid = holder(settings.state_dir)
    running = pid is not None
    quiet = settings.engine.quiet_now
    store = FileTargetStore(settings.targets_dir)
    with reading(settings.state_dir) as history:
        lost = {user.name: store.objection(user.name, history.targets) for user in settings.users}
        reported = history.facts.all() if running else {}
        return Status(
            running=running,
            pid=pid,
            engine=_engine(reported, settings) if running else _NOT_RUNNING,
            watching=reported.get(facts.WATCHING, "starting") if running else _NOT_RUNNING,
            quiet_until=quiet.ends if quiet else None,
            waits_for=tuple(_away(settings, store, reported, lost)),
            users=tuple(
                _user(history, settings, store, user, reported, lost[user.name]) for user in settings.users
            ),
            in_work=tuple(_in_work(history, settings)) if running else (),
            nodes=tuple(nodes.read(settings.state_dir)) if running and settings.engine.scheduler else (),
        )


def _in_work(history: History, settings: Settings) -> Iterator[Batch]:
    for work in in_work.read(settings.state_dir):
        found = (history.of_id(row) for row in work.ids)
        paths = tuple(record.photo.source.path for record in found if record)
        yield Batch(paths, work.doing, work.share)


def _away(
    settings: Settings, store: FileTargetStore, reported: dict[str, str], lost: dict[str, str | None]
) -> Iterator[AwayFolder]:
    for key, reason in reported.items():
        if key.startswith(facts.AWAY):
            yield AwayFolder(key.removeprefix(facts.AWAY), reason)
    for user in settings.users:
        told = reported.get(facts.PAUSED + user.name)
        if told is not None:
            yield AwayFolder(str(store.path(user.name) if told == lost[user.name] else user.sync), told)


def _may_come(source: Source) -> bool:
    """Whether a photo is there, or its outbox cannot tell, such as on a drive that is away."""
    try:
        source.path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return not os.path.lexists(source.outbox.root)
    except OSError:
        return True
    return True


def _user(
    history: History,
    settings: Settings,
    store: FileTargetStore,
    user: UserSettings,
    reported: dict[str, str],
    lost: str | None,
) -> UserStatus:
    """lost: why the user's target cannot be used; None if it can."""
    name = user.name
    midnight = datetime.datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    waiting = history.count(name, WAITING) + sum(_may_come(one.photo.source) for one in history.to_come(name))
    engine_seconds = history.engine_seconds(name, _RECENT_PHOTOS)
    seconds = statistics.median(engine_seconds) if engine_seconds else None
    fixed = history.targets.of(name)
    found = None if lost else store.get(name)
    paused = history.paused(name)
    if lost is not None:
        paused = (PausedFolder(store.path(name), lost, None, waiting),)
    elif facts.PAUSED + name in reported:
        reason = reported[facts.PAUSED + name]
        paused = (PausedFolder(user.sync, reason, None, waiting),)
    elif reported:  # otherwise nobody looks
        paused += history.away(name)
    return UserStatus(
        name=name,
        published=history.count(name, [State.PUBLISHED]),
        published_today=history.count(name, [State.PUBLISHED], since=midnight.timestamp()),
        waiting=waiting,
        held=tuple(
            HeldPhoto(name, record.photo.source.path, record.photo.reason or "")
            for record in history.in_state(State.HELD)
            if record.photo.source.outbox.user == name
        ),
        paused=paused,
        unfinished=tuple(
            file for file in from_text(reported.get(facts.UNFINISHED, "[]")) if file.user == name
        ),
        seconds_per_photo=seconds,
        eta_s=None
        if seconds is None
        else max(waiting - sum(folder.waiting for folder in paused), 0) * seconds,
        target=fixed or (found.identity if found else None),
        ignored=tuple(
            unpublished(settings, outbox, one)
            for outbox in outboxes(settings)
            if outbox.user == name
            for one in history.facts.ignored(outbox.root)
        ),
        review=history.count(name, [State.REVIEW]),
        rejected=history.count(name, [State.REJECTED]),
        recalling=history.count(name, [State.RECALLING]),
    )


def unpublished(settings: Settings, outbox: Outbox, found: IgnoredPhotos) -> Unpublished:
    """What a scan of an outbox found, with where the pattern comes from."""
    origin = origin_of(settings, outbox.user, found.position)
    return Unpublished(
        outbox.root, found.pattern, origin, found.photos, found.is_all, found.places, found.are_videos
    )


def _engine(reported: dict[str, str], settings: Settings) -> str:
    extractors = "+".join(settings.engine.ensemble)
    device = reported.get(facts.ENGINE)
    if device == facts.UNLOADED:
        return device
    return f"{extractors} on {device}" if device else f"{extractors}, starting"
