"""From a READY row to its end: feeds the engine, publishes its answers, and decides what follows a failure.

The one place of policy:

    source gone           -> GONE           source changed        -> SUPERSEDED, settles again
    source not readable   -> later          the engine refuses    -> HELD
    engine dies           -> its photos alone; twice on one photo alone -> HELD
    sync folder unusable  -> the photo waits, its user pauses until the folder is proven again
    photo not writable    -> later          name never writable   -> HELD

"Later" is READY after a growing wait; after `retry.attempts` failures the photo is HELD.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from daemon.errors import (
    NameRefused,
    PublishFault,
    SourceChanged,
    SourceFault,
    SourceGone,
    SyncUnavailable,
)
from daemon.files import look, read_source
from daemon.lanes import Lanes
from daemon.ledger import Ledger
from daemon.model import Change, Order, Photo, Settled, Source, State
from daemon.names import objection, printable
from daemon.pool import Answer, Died, EnginePool, Event
from daemon.settings import RetrySettings
from daemon.worker import Ready, Refused
from fawkes_engine import Protected, Request

log = logging.getLogger(__name__)

ENGINE_FACT = "engine"

_BATCH_BYTES = 64 << 20
_PHOTO_BYTES = 512 << 20  # larger files are no photos that the engine could hold in memory
_DEATHS_BEFORE_HELD = 2


class Dispatcher:
    """Owns every row from READY on. `now` is monotonic seconds."""

    def __init__(
        self,
        lanes: Lanes,
        ledger: Ledger,
        pool: EnginePool,
        retry: RetrySettings,
        *,
        batch_photos: int,
        order: Order,
        settle_again: Callable[[Source, float], None],
        on_end: Callable[[Photo, State], None],
    ) -> None:
        """settle_again: told of sources that changed. on_end: told of each photo that is done with."""
        self._lanes = lanes
        self._ledger = ledger
        self._pool = pool
        self._retry = retry
        self._batch_photos = batch_photos
        self._order = order
        self._settle_again = settle_again
        self._on_end = on_end

    @property
    def waiting(self) -> int:
        """Photos that will come to an end without anyone's help: no user's or outbox's that is paused."""
        return self._ledger.waiting(self._lanes.open_users)

    def step(self, now: float, *, feed: bool = True) -> float | None:
        """Do what can be done; return when something is due again. feed: whether new work may begin.

        Raises EngineStartError.
        """
        self._lanes.reopen(now)
        for event in self._pool.poll(now):
            self._handle(event, now)
        due = [self._lanes.due_s]
        if feed and self._pool.is_idle:
            self._feed(now)
            due.append(self._next_ready_s(now))
        due.append(self._pool.due_s)
        return min((due_s for due_s in due if due_s is not None), default=None)

    def put_back(self, photos: Sequence[Photo]) -> None:
        """Photos that were given to the engine and got no answer wait again, as if nothing had been."""
        working = [photo for photo in photos if self._is_working(photo)]
        self._ledger.move(working, State.READY)

    def _next_ready_s(self, now: float) -> float | None:
        if not self._pool.is_idle:
            return None
        ready_at = self._ledger.next_ready_at(self._lanes.open_users)
        return None if ready_at is None else now + max(ready_at - time.time(), 0.0)

    def _feed(self, now: float) -> None:
        photos = self._next_batch(now)
        if not photos:
            return
        self._ledger.move(photos, State.WORKING)
        taken, requests = [], []
        for photo in photos:
            data = self._take(photo, now)
            if data is not None:
                taken.append(replace(photo, input_sha256=hashlib.sha256(data).hexdigest()))
                requests.append(Request(data, photo.source.outbox.user))
        if taken:
            self._pool.submit(taken, requests, now)

    def _next_batch(self, now: float) -> list[Photo]:
        photos = self._ledger.ready(
            self._lanes.open_users,
            longest_s=self._retry.longest_s,
            limit=self._batch_photos,
            order=self._order,
        )
        if photos and photos[0].alone:
            photos = photos[:1]
        batch: list[Photo] = []
        size = 0
        for photo in photos:
            size += photo.snapshot.size
            if batch and (photo.alone or size > _BATCH_BYTES):
                break
            batch.append(photo)
        # Before any engine work: results are about as large as sources, and staging needs them too.
        return [photo for photo in batch if self._lanes.has_room(photo.source.outbox.user, 3 * size, now)]

    def _take(self, photo: Photo, now: float) -> bytes | None:
        complaint = objection(photo.source.relative)
        if photo.snapshot.size > _PHOTO_BYTES:
            complaint = f"the file is larger than {_PHOTO_BYTES >> 20} MiB"
        if complaint:
            self._end(photo, State.HELD, complaint)
            return None
        try:
            return read_source(Settled(photo.source, photo.snapshot))
        except SourceGone:
            self._end(photo, State.GONE, "the source was removed")
        except SourceChanged:
            self._end(photo, State.SUPERSEDED, "the source changed")
            self._settle_again(photo.source, now)
        except SourceFault as exc:
            self._later(photo, str(exc))
        return None

    def _handle(self, event: Event, now: float) -> None:
        match event:
            case Ready():
                self._ledger.note(ENGINE_FACT, event.device_name)
                log.info("engine ready on %s", event.device_name)
            case Answer():
                self._answered(event.photo, event.outcome, now)
            case Died():
                self._died(event)

    def _answered(self, photo: Photo, outcome: Protected | Refused, now: float) -> None:
        if not self._is_working(photo):
            return  # a newer content was admitted meanwhile
        found = look(photo.source.path)
        if found is None:
            self._end(photo, State.GONE, "the source was removed while the photo was worked on")
        elif found != photo.snapshot:
            self._end(photo, State.SUPERSEDED, "the source changed while the photo was worked on")
            self._settle_again(photo.source, now)
        elif isinstance(outcome, Refused):
            self._end(photo, State.HELD, outcome.reason)
        else:
            self._publish(photo, outcome, now)

    def _publish(self, photo: Photo, protected: Protected, now: float) -> None:
        user = photo.source.outbox.user
        if user not in self._lanes.open_users:
            self._ledger.move(photo, State.READY)
            return
        try:
            output = self._lanes.publisher(user).publish(photo, protected)
        except SyncUnavailable as exc:
            self._ledger.move(photo, State.READY)
            self._lanes.pause(user, str(exc), now)
        except NameRefused as exc:
            self._end(photo, State.HELD, str(exc))
        except PublishFault as exc:
            self._later(photo, str(exc))
        else:
            log.info("published: %s as %s", printable(photo.source.path), printable(output.relative))
            self._on_end(photo, State.PUBLISHED)

    def _died(self, event: Died) -> None:
        for photo in event.photos:
            if not self._is_working(photo):
                continue
            deaths = photo.engine_deaths + event.alone
            if deaths >= _DEATHS_BEFORE_HELD:
                self._end(photo, State.HELD, f"the engine stopped twice on this photo: {event.reason}")
            else:
                change = Change(reason=event.reason, alone=True, engine_deaths=deaths)
                self._ledger.move(photo, State.READY, change)

    def _is_working(self, photo: Photo) -> bool:
        return self._ledger.get(photo.id).state is State.WORKING

    def _later(self, photo: Photo, reason: str) -> None:
        attempts = photo.attempts + 1
        if attempts >= self._retry.attempts:
            self._end(photo, State.HELD, reason)
            return
        delay_s = min(self._retry.first_s * 2**photo.attempts, self._retry.longest_s)
        log.warning("again in %.0f s: %s: %s", delay_s, printable(photo.source.path), printable(reason))
        change = Change(reason=reason, attempts=attempts, not_before=time.time() + delay_s)
        self._ledger.move(photo, State.READY, change)

    def _end(self, photo: Photo, state: State, reason: str) -> None:
        self._ledger.move(photo, state, Change(reason=reason))
        log.info("%s: %s: %s", state.value, printable(photo.source.path), printable(reason))
        self._on_end(photo, state)
