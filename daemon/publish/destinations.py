"""Each user's publishing destination: open, or paused until its sync folder and the user's target can be used again.

A full disk, a missing drive or a lost target pauses one user; publishing continues for the others.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from daemon.errors import AlreadyRunning, PublishError, SyncUnavailable, TargetError
from daemon.model import Photo, State
from daemon.publish.publisher import Publisher
from daemon.publish.removal import recall
from daemon.publish.sync_folder import SyncFolder
from daemon.sd.journal import Outcome, about
from daemon.state import facts
from daemon.state.fixed_targets import targets_in
from daemon.state.ledger import Ledger
from daemon.state.targets import FileTargetStore
from daemon.text import printable
from daemon.timing import Timing
from fawkes_engine import Report

log = logging.getLogger(__name__)

_NOT_OPENED = "not opened yet"


@dataclass(slots=True)
class Destination:
    """Where one user's photos are published.

    paused: why nothing can be published now, None if it can. look_at_s: when to look again whether it can, monotonic.
    need_bytes: what did not fit.
    """

    user: str
    folder: SyncFolder
    publisher: Publisher
    paused: str | None = _NOT_OPENED
    look_at_s: float = 0.0
    need_bytes: int = 0


class Destinations:
    """The destinations of all users. `now` is monotonic seconds."""

    def __init__(
        self,
        destinations: Sequence[Destination],
        ledger: Ledger,
        targets: FileTargetStore,
        on_end: Callable[[Photo], None],
        timing: Timing,
    ) -> None:
        """on_end: called with a photo that turns out to have been published before a crash."""
        self._destinations = {destination.user: destination for destination in destinations}
        self._ledger = ledger
        self._targets = targets
        self._on_end = on_end
        self._timing = timing

    @property
    def open_users(self) -> list[str]:
        """The users whose photos can be published now."""
        return [destination.user for destination in self._destinations.values() if not destination.paused]

    @property
    def paused_users(self) -> dict[str, str]:
        """Each paused user and the reason."""
        return {
            destination.user: destination.paused
            for destination in self._destinations.values()
            if destination.paused
        }

    @property
    def due_s(self) -> float | None:
        """When `look` has something to retry."""
        return min(
            (destination.look_at_s for destination in self._destinations.values() if destination.paused),
            default=None,
        )

    def publisher(self, user: str) -> Publisher | None:
        """The user's publisher; None while the user is paused."""
        destination = self._destinations[user]
        return None if destination.paused else destination.publisher

    def open(self, now: float) -> None:
        """Activate every sync folder at the start of a run; raises AlreadyRunning."""
        for destination in self._destinations.values():
            self._ledger.facts.forget(facts.PAUSED + destination.user)  # of an earlier run
            self._try(destination, now)

    def look(self, now: float) -> None:
        """Retry the paused destinations that are due, and pause those whose folder has gone meanwhile."""
        for destination in self._destinations.values():
            if now < destination.look_at_s:
                continue
            destination.look_at_s = now + self._timing.reprobe_s
            try:
                if destination.paused:
                    self._try(destination, now)
                else:
                    destination.folder.look()
            except (AlreadyRunning, SyncUnavailable) as exc:
                self.pause(destination.user, str(exc), now)

    def pause(self, user: str, reason: str, now: float) -> None:
        """Publish nothing for this user until folder and target are proven usable again."""
        destination = self._destinations[user]
        if reason != destination.paused:
            log.error("user %s: paused: %s", user, printable(reason), extra=about(Outcome.PAUSED, user=user))
            self._ledger.facts.note(facts.PAUSED + user, reason)
        destination.paused = reason
        destination.look_at_s = now + self._timing.reprobe_s
        destination.folder.release()

    def can_take(self, user: str, need_bytes: int, now: float) -> bool:
        """Whether the user's target is in place and the folder has `need_bytes` of room; if not, the user is paused."""
        destination = self._destinations[user]
        if destination.paused:
            return False
        try:
            self._check_target(user)
            with destination.folder.writable(need_bytes):
                return True
        except TargetError as exc:
            self.pause(user, str(exc), now)
        except PublishError as exc:
            destination.need_bytes = need_bytes
            self.pause(user, str(exc), now)
        return False

    def with_another_target(self, user: str, report: Report) -> str | None:
        """Whom a result for this user shows with another target than the person has; None if nobody.

        Targets may be lost, restored or replaced while the engine works, and a result may be of an earlier run.
        """
        for person, identity in targets_in(report).items():
            fixed = self._ledger.targets.of(person)
            is_other = (
                fixed != identity if fixed else person == user and not self._targets.has(user, identity)
            )
            if is_other:
                return person
        return None

    def recall(self, photo: Photo, now: float) -> Photo:
        """Remove the copy of a RECALLING photo; returns it as it is then, RECALLING if it has to wait."""
        destination = self._destinations.get(photo.source.outbox.user)
        if destination is None or destination.paused:
            return photo
        try:
            return self._recall(destination, photo)
        except SyncUnavailable as exc:
            self.pause(destination.user, str(exc), now)
        except PublishError:
            pass
        return photo

    def close(self) -> None:
        """Release every folder."""
        for destination in self._destinations.values():
            destination.folder.release()

    def _recall(self, destination: Destination, photo: Photo) -> Photo:
        try:
            recalled = recall(photo, destination.folder, self._ledger)
        except PublishError as exc:
            log.warning("%s is not recalled yet: %s", printable(photo.source.path), printable(str(exc)))
            raise
        if recalled.state is State.RECALLED:
            outcome = about(Outcome.RECALLED, photo, stage=State.PUBLISHED)
            log.info("recalled: %s: %s", printable(photo.source.path), recalled.reason, extra=outcome)
        else:
            log.warning("%s: its copy was changed, so it was not recalled", printable(photo.source.path))
        return recalled

    def _check_target(self, user: str) -> None:
        objection = self._targets.objection(user, self._ledger.targets)
        if objection is not None:
            raise TargetError(objection)

    def _try(self, destination: Destination, now: float) -> None:
        try:
            destination.folder.activate(destination.need_bytes)
            for photo in self._ledger.in_state(State.PUBLISHING, user=destination.user):
                settled = destination.publisher.settle(photo)
                if settled.state is State.PUBLISHED:
                    self._on_end(settled)
            for photo in self._ledger.in_state(State.RECALLING, user=destination.user):
                with contextlib.suppress(
                    PublishError
                ):  # logged; it must not keep others from being published
                    self._recall(destination, photo)
            self._check_target(destination.user)
        except (PublishError, TargetError) as exc:
            self.pause(destination.user, str(exc), now)
        else:
            if destination.paused != _NOT_OPENED:
                log.info(
                    "user %s: publishing again",
                    destination.user,
                    extra=about(Outcome.RESUMED, user=destination.user),
                )
                self._ledger.facts.forget(facts.PAUSED + destination.user)
            destination.paused = None
            destination.need_bytes = 0
