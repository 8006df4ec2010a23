"""Each user's way to the sync folder: open, or paused until the folder is proven again.

A full disk or a missing drive concerns one user; the others go on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from daemon.errors import AlreadyRunning, PublishError
from daemon.model import Photo, State
from daemon.publish.publisher import Publisher
from daemon.publish.sync_folder import SyncFolder
from daemon.sd.journal import Outcome, about
from daemon.state import facts
from daemon.state.ledger import Ledger
from daemon.text import printable

log = logging.getLogger(__name__)

_REPROBE_S = 5.0


@dataclass(slots=True)
class Lane:
    """One user's lane. paused: why nothing can be published now, None if it can. retry_at_s: monotonic."""

    user: str
    folder: SyncFolder
    publisher: Publisher
    paused: str | None = "not opened yet"
    retry_at_s: float = 0.0


class Lanes:
    """Every user's lane. `now` is monotonic seconds."""

    def __init__(self, lanes: Sequence[Lane], ledger: Ledger, on_end: Callable[[Photo, State], None]) -> None:
        """on_end: told of a photo that turns out to have been published before a crash."""
        self._lanes = {lane.user: lane for lane in lanes}
        self._ledger = ledger
        self._on_end = on_end

    @property
    def open_users(self) -> list[str]:
        """The users whose photos can be published now."""
        return [lane.user for lane in self._lanes.values() if not lane.paused]

    @property
    def paused(self) -> str | None:
        """Why some user's photos cannot be published now."""
        return next((lane.paused for lane in self._lanes.values() if lane.paused), None)

    @property
    def paused_users(self) -> dict[str, str]:
        """Each paused user and the reason."""
        return {lane.user: lane.paused for lane in self._lanes.values() if lane.paused}

    @property
    def due_s(self) -> float | None:
        """When `reopen` has something to try."""
        return min((lane.retry_at_s for lane in self._lanes.values() if lane.paused), default=None)

    def publisher(self, user: str) -> Publisher:
        """The user's publisher."""
        return self._lanes[user].publisher

    def open(self, now: float) -> None:
        """Use every sync folder for the first time; raises AlreadyRunning."""
        for lane in self._lanes.values():
            self._ledger.forget(facts.PAUSED + lane.user)  # of an earlier run
            self._try(lane, now)

    def reopen(self, now: float) -> None:
        """Try the paused lanes whose time has come."""
        for lane in self._lanes.values():
            if lane.paused and now >= lane.retry_at_s:
                try:
                    self._try(lane, now)
                except AlreadyRunning as exc:
                    self.pause(lane.user, str(exc), now)

    def pause(self, user: str, reason: str, now: float) -> None:
        """Publish nothing for this user until the folder is proven again."""
        lane = self._lanes[user]
        if reason != lane.paused:
            log.error("user %s: paused: %s", user, printable(reason), extra=about(Outcome.PAUSED, user=user))
            self._ledger.note(facts.PAUSED + user, reason)
        lane.paused = reason
        lane.retry_at_s = now + _REPROBE_S
        lane.folder.release()

    def has_room(self, user: str, need_bytes: int, now: float) -> bool:
        """Whether the user's folder takes so much more; the lane pauses if not."""
        lane = self._lanes[user]
        if lane.paused:
            return False
        try:
            with lane.folder.writable(need_bytes):
                return True
        except PublishError as exc:
            self.pause(user, str(exc), now)
            return False

    def close(self) -> None:
        """Release every folder."""
        for lane in self._lanes.values():
            lane.folder.release()

    def _try(self, lane: Lane, now: float) -> None:
        try:
            lane.folder.activate()
            for photo in self._ledger.in_state(State.PUBLISHING, user=lane.user):
                if lane.publisher.settle(photo):
                    self._on_end(photo, State.PUBLISHED)
        except PublishError as exc:
            self.pause(lane.user, str(exc), now)
        else:
            if lane.retry_at_s:
                log.info("user %s: publishing again", lane.user, extra=about(Outcome.RESUMED, user=lane.user))
                self._ledger.forget(facts.PAUSED + lane.user)
            lane.paused = None
