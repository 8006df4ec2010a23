"""What `fawkesd once` would do now, from names, times and the ledger: nothing is read as a photo, changed or locked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from daemon.config.folder import choice_for
from daemon.config.settings import Settings
from daemon.errors import ConfigError, SourceFault
from daemon.fs.absence import absence
from daemon.fs.filenames import Kind, kind_of
from daemon.fs.files import snapshot_of
from daemon.fs.walk import walk
from daemon.model import WAITING, Outbox, Snapshot, Source, State
from daemon.service.admission import why_held_unread
from daemon.state.history import History, reading
from daemon.state.photos import is_known
from daemon.state.targets import FileTargetStore
from daemon.status.lookup import outboxes
from daemon.watch.completeness import why_unfinished


class Act(Enum):
    """What would happen to a photo, in words."""

    CLOAK = "would cloak"
    HOLD = "would hold"
    WAIT = "would wait"
    REMOVE = "would remove the published copy"  # it was recalled


@dataclass(frozen=True, slots=True)
class Step:
    """One photo. reason: empty for one that would be cloaked."""

    act: Act
    path: Path
    reason: str = ""


@dataclass(slots=True)
class Plan:
    """steps: by outbox and path. unavailable: outboxes, sync folders and targets that are missing, and why."""

    steps: list[Step] = field(default_factory=list)
    unavailable: list[str] = field(default_factory=list)

    def count(self, act: Act) -> int:
        """How many photos this would happen to."""
        return sum(step.act is act for step in self.steps)


def plan(settings: Settings) -> Plan:
    """Return what `once` would do. Raises LedgerError.

    A photo that would be published without the engine, since its bytes are known under another name, counts as one to
    cloak; so does one in which no face would be found.
    """
    found = Plan()
    with reading(settings.state_dir) as history:
        users = dict(_unusable(settings, history))
        found.unavailable += [
            f"nothing can be published for {user}: {reason}" for user, reason in users.items()
        ]
        for outbox in outboxes(settings):
            missing = absence(outbox.root)
            if missing is not None:
                found.unavailable.append(f"the outbox {outbox.root} {missing}")
                continue
            found.steps += sorted(
                _steps(outbox, history, _pause(settings, history, outbox, users)), key=_place
            )
        usable = {user.name for user in settings.users} - users.keys()
        found.steps += [
            Step(Act.REMOVE, record.photo.source.path, "it was recalled")
            for record in history.in_state(State.RECALLING)
            if record.photo.source.outbox.user in usable
        ]
    return found


def _unusable(settings: Settings, history: History) -> Iterator[tuple[str, str]]:
    store = FileTargetStore(settings.targets_dir)
    for user in settings.users:
        missing = absence(user.sync)
        reason = f"{user.sync} {missing}" if missing else store.objection(user.name, history.targets)
        if reason is not None:
            yield user.name, reason


def _pause(settings: Settings, history: History, outbox: Outbox, users: dict[str, str]) -> str | None:
    """Return why no photo of an outbox would be begun."""
    if outbox.user in users:
        return users[outbox.user]
    if quiet := settings.engine.quiet_now:
        return f"quiet hours until {quiet.ends}"
    return next((one.reason for one in history.paused(outbox.user) if one.path == outbox.root), None)


def _steps(outbox: Outbox, history: History, pause: str | None) -> Iterator[Step]:
    for path in walk(outbox.root, outbox.ignore):
        source = Source(outbox, path.relative_to(outbox.root))
        snapshot = snapshot_of(path)
        is_photo = kind_of(source.relative, outbox.ignore) is Kind.PHOTO
        if is_photo and snapshot is not None and _is_due(history, source, snapshot):
            yield _step(source, snapshot, pause)


def _is_due(history: History, source: Source, snapshot: Snapshot) -> bool:
    newest = next(iter(history.of_source(source)), None)
    if newest is None or newest.photo.state in WAITING:
        return True
    return not is_known(newest.photo.state, newest.photo.snapshot, snapshot)


def _step(source: Source, snapshot: Snapshot, pause: str | None) -> Step:
    reason = why_held_unread(source, snapshot)
    unfinished = why_unfinished(source.path)
    wait = pause or (unfinished.value if unfinished else None)
    try:
        choice_for(source)
    except ConfigError as exc:
        reason = reason or str(exc)
    except SourceFault as exc:
        wait = wait or str(exc)
    if reason is not None:
        return Step(Act.HOLD, source.path, reason)
    return Step(Act.CLOAK, source.path) if wait is None else Step(Act.WAIT, source.path, wait)


def _place(step: Step) -> Path:
    return step.path
