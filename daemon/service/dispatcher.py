"""Dispatcher: feeds READY photos to the engines, newest first, and passes their answers to `outcomes`."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence

from daemon.config.settings import Settings
from daemon.model import Change, Outbox, Photo, State
from daemon.publish.destinations import Destinations
from daemon.sd.journal import Outcome, about
from daemon.service.admission import Admission, Begin
from daemon.service.outcomes import Outcomes
from daemon.state import facts
from daemon.state.ledger import Ledger
from daemon.text import printable
from daemon.timing import Timing
from daemon.watch.outboxes import Outboxes
from daemon.workers.pool import EnginePool, Event, Unloaded
from daemon.workers.process import Answer, Died, EngineProcess
from daemon.workers.protocol import Ready

log = logging.getLogger(__name__)

_BATCH_BYTES = 64 << 20
_LOOK_FOR_TWIN_S = 1.0


class Dispatcher:
    """Decides what the engines work on next. `now` is monotonic seconds."""

    def __init__(
        self,
        outboxes: Outboxes,
        destinations: Destinations,
        ledger: Ledger,
        pool: EnginePool,
        admission: Admission,
        outcomes: Outcomes,
        settings: Settings,
        timing: Timing,
    ) -> None:
        self._outboxes = outboxes
        self._destinations = destinations
        self._ledger = ledger
        self._pool = pool
        self._admission = admission
        self._outcomes = outcomes
        self._timing = timing
        self._retry = settings.retry
        self._engine = settings.engine
        self._order = settings.watch.order
        self._fingerprint: str | None = None  # of the engines, once one of them was ready

    @property
    def waiting(self) -> int:
        """Photos that can finish without user action: their outboxes are present, their users not paused."""
        return self._ledger.queue.waiting(self._open_outboxes)

    @property
    def _open_outboxes(self) -> list[Outbox]:
        users = self._destinations.open_users
        return [outbox for outbox in self._outboxes.online if outbox.user in users]

    def step(self, now: float, *, feed: bool = True) -> float | None:
        """Do everything that is due; return when something is due again. feed: whether new work may start.

        Raises EngineStartError and WeightsError.
        """
        self._destinations.look(now)
        for event in self._pool.poll(now):
            self._handle(event, now)
        due = [self._publish_approved(now), self._begin(now)] if feed and self._open_outboxes else []
        due += [
            self._destinations.due_s,
            self._pool.due_s,
        ]  # last: `_begin` may have paused a user, or started an engine
        return min((due_s for due_s in due if due_s is not None), default=None)

    def _begin(self, now: float) -> float | None:
        """Start everything that can start, the engines included; return when there may be more."""
        if self._engine.quiet_now:
            return now + self._timing.quiet_look_s
        idle = self._pool.idle
        loading = sum(not (engine.ready or engine.is_away) for engine in self._pool.engines)
        for sharers, engine in zip(range(len(idle) + loading, loading, -1), idle, strict=True):
            at_most = -(-self.waiting // sharers) if sharers > 1 else sys.maxsize
            self._feed(engine, at_most, now)
        if not (self._pool.idle or self._pool.is_away):
            return None  # an engine's answer comes first
        ready_at = self._ledger.queue.next_ready_at(self._open_outboxes)
        if ready_at is None:
            return None
        ready_s = now + max(ready_at - time.time(), 0.0)
        if self._pool.is_away and ready_s <= now:
            self._ledger.facts.forget(facts.ENGINE)
            self._pool.start(now)
            return None
        return ready_s

    def _publish_approved(self, now: float) -> float | None:
        """Publish some of what was approved; return when to go on, None if there is no more.

        It needs no engine, so that it waits neither for one that is busy nor for the end of quiet hours.
        """
        if self._fingerprint is None:
            return None
        photos = self._next_batch(self._engine.batch_photos, now, approved=True)
        for photo in self._ledger.move_all(photos, State.WORKING):
            begun = self._admission.begin(photo, self._fingerprint, now)
            if begun is not None:  # its result is lost or damaged, or of other settings
                log.warning("%s is made again, and waits for review again", printable(photo.source.path))
                self._ledger.move(begun.photo, State.READY, Change(approved=False))
        return now if photos else None

    def _feed(self, engine: EngineProcess, at_most: int, now: float) -> None:
        assert engine.ready is not None, "only an engine that is ready is fed"
        photos = self._next_batch(at_most, now, batches=engine.ready.batches)
        if not photos:
            return
        fingerprint = engine.ready.fingerprint
        working = self._ledger.move_all(photos, State.WORKING)
        begun = [self._admission.begin(photo, fingerprint, now) for photo in working]
        work = self._without_twins([one for one in begun if one])
        if work:
            engine.submit([one.photo for one in work], [one.request for one in work], now)

    def _without_twins(self, begun: Sequence[Begin]) -> list[Begin]:
        """Put back every photo whose bytes an engine works on already: that result will serve both."""
        known = {_content(photo) for photo in self._pool.in_work}
        work = []
        for one in begun:
            if _content(one.photo) in known:
                reason = "the same photo is being cloaked under another name; its copy will be used"
                change = Change(reason=reason, not_before=time.time() + _LOOK_FOR_TWIN_S)
                self._ledger.move(one.photo, State.READY, change)
            else:
                known.add(_content(one.photo))
                work.append(one)
        return work

    def _next_batch(
        self, at_most: int, now: float, *, batches: int = 1, approved: bool = False
    ) -> list[Photo]:
        """Return the next batch of an engine. at_most: leaves the other engines that are idle or load their share.

        batches: how many usual ones in one. approved: only photos that were approved.
        """
        photos = self._ledger.queue.ready(
            self._open_outboxes,
            longest_s=self._retry.longest_s,
            limit=max(1, min(at_most, batches * self._engine.batch_photos)),
            order=self._order,
            approved=approved,
        )
        if photos and photos[0].alone:
            photos = photos[:1]
        batch: list[Photo] = []
        size = 0
        for photo in photos:
            size += photo.snapshot.size
            if batch and (photo.alone or size > batches * _BATCH_BYTES):
                break
            batch.append(photo)
        # Before any engine work: results are about as large as sources, and staging needs them too.
        users = {photo.source.outbox.user for photo in batch}
        open_users = {user for user in users if self._destinations.can_take(user, 3 * size, now)}
        return [photo for photo in batch if photo.source.outbox.user in open_users]

    def _handle(self, event: Event, now: float) -> None:
        match event:
            case Ready():
                self._note_devices()
                self._note_fingerprint(event.fingerprint)
                log.info("engine ready on %s", event.device_name, extra=about(Outcome.ENGINE_READY))
            case Answer():
                self._outcomes.answered(event.photo, event.outcome, now)
            case Died():
                self._note_devices()
                self._outcomes.died(event.photos, event.reason, alone=event.alone)
            case Unloaded():
                self._ledger.facts.note(facts.ENGINE, facts.UNLOADED)
                log.info("engine unloaded: no photos to work on", extra=about(Outcome.ENGINE_UNLOADED))

    def _note_fingerprint(self, fingerprint: str) -> None:
        """Note the engines' fingerprint. What another engine has made waits for review no longer: it is made again."""
        if fingerprint != self._fingerprint:
            self._fingerprint = fingerprint
            count = self._ledger.reviews.make_again(fingerprint)
            if count:
                log.info("%d photo(s) in review were made by another engine, and are made again", count)

    def _note_devices(self) -> None:
        if devices := self._pool.devices:
            self._ledger.facts.note(facts.ENGINE, ", ".join(devices))
        else:
            self._ledger.facts.forget(facts.ENGINE)


def _content(photo: Photo) -> tuple[str, str | None]:
    """What two photos have in common that get the same result."""
    return photo.source.outbox.user, photo.input_sha256
