"""How the work on a photo ends: published, held, gone, or tried again later.

The one place of policy:

    source gone           -> GONE           source changed        -> SUPERSEDED, settles again
    outbox gone           -> waits for it   the engine refuses    -> HELD
    source not readable   -> later          same bytes as before  -> PUBLISHED, if that output is intact
    engine dies           -> its photos alone; twice on one photo alone -> HELD
    own published copy    -> HELD: it is cloaked already
    sync folder unusable  -> the photo waits, never held; its user pauses until the folder is proven again
    photo not writable    -> later          name never writable   -> HELD

"Later" is READY after a growing wait; after `retry.attempts` failures the photo is HELD. A result that could not
be published is kept, and the engine is not asked again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from daemon.config.settings import RetrySettings
from daemon.errors import (
    NameRefused,
    PublishError,
    PublishFault,
    SourceChanged,
    SourceFault,
    SourceGone,
    SyncUnavailable,
)
from daemon.fs.filenames import objection
from daemon.fs.files import read_source, snapshot_of
from daemon.model import Change, EarlierOutput, Photo, Settled, Source, State
from daemon.publish.destinations import Destinations
from daemon.sd.journal import Outcome, about
from daemon.state.ledger import Ledger
from daemon.state.result_cache import ResultCache
from daemon.text import printable
from daemon.watch.outboxes import Outboxes
from daemon.workers.protocol import Refused
from fawkes_engine import Protected

log = logging.getLogger(__name__)

_PHOTO_BYTES = 512 << 20  # larger files are no photos that the engine could hold in memory
_DEATHS_BEFORE_HELD = 2


class Outcomes:
    """Takes WORKING rows to where they go from there. `now` is monotonic seconds."""

    def __init__(
        self,
        outboxes: Outboxes,
        destinations: Destinations,
        ledger: Ledger,
        results: ResultCache,
        retry: RetrySettings,
        *,
        settle_again: Callable[[Source, float], None],
        on_end: Callable[[Photo, State], None],
    ) -> None:
        """settle_again: told of sources that changed. on_end: told of each photo that is done with."""
        self._outboxes = outboxes
        self._destinations = destinations
        self._ledger = ledger
        self._results = results
        self._retry = retry
        self._settle_again = settle_again
        self._on_end = on_end

    def read(self, photo: Photo, now: float) -> bytes | None:
        """The bytes of a photo; None if there is nothing to work on, and then its row has moved."""
        complaint = objection(photo.source.relative)
        if photo.snapshot.size > _PHOTO_BYTES:
            complaint = f"the file is larger than {_PHOTO_BYTES >> 20} MiB"
        if complaint:
            self._end(photo, State.HELD, complaint)
            return None
        try:
            return read_source(Settled(photo.source, photo.snapshot))
        except SourceGone:
            self._source_gone(photo)
        except SourceChanged:
            self._source_changed(photo, now)
        except SourceFault as exc:
            self._later(photo, str(exc))
        return None

    def from_before(self, photo: Photo, fingerprint: str, now: float) -> bool:
        """Whether the engine need not work: the photo is cloaked, or what it would become was made before.

        photo: with its input_sha256.
        """
        assert photo.input_sha256 is not None, "the photo has been read"
        origin = self._ledger.origin(photo.input_sha256)
        if origin is not None:
            told = f"cloaked already: it is the published copy of {printable(origin.path)}"
            self._end(photo, State.HELD, told)
            return True
        made = self._ledger.made_before(photo, photo.input_sha256, fingerprint)
        if made is not None and self._adopted(photo, made):
            return True
        kept = self._results.find(photo.source.outbox.user, photo.input_sha256, fingerprint)
        if kept is not None:
            self.answered(photo, kept, now)
        return kept is not None

    def answered(self, photo: Photo, outcome: Protected | Refused, now: float) -> None:
        """The engine's outcome, now or earlier."""
        if not self._is_working(photo):
            return  # a newer content was admitted meanwhile
        found = snapshot_of(photo.source.path)
        if found is None:
            self._source_gone(photo)
        elif found != photo.snapshot:
            self._source_changed(photo, now)
        elif isinstance(outcome, Refused):
            self._end(photo, State.HELD, outcome.reason)
        else:
            self._publish(photo, outcome, now)

    def died(self, photos: Sequence[Photo], reason: str, *, alone: bool) -> None:
        """The engine ended before it answered. alone: the batch had been one photo."""
        for photo in filter(self._is_working, photos):
            deaths = photo.engine_deaths + alone
            if deaths >= _DEATHS_BEFORE_HELD:
                self._end(photo, State.HELD, f"the engine stopped twice on this photo: {reason}")
            else:
                change = Change(reason=reason, alone=True, engine_deaths=deaths)
                self._ledger.move(photo, State.READY, change)

    def put_back(self, photos: Sequence[Photo]) -> None:
        """Photos that were given to the engine and got no answer wait again, as if nothing had been."""
        self._ledger.move([photo for photo in photos if self._is_working(photo)], State.READY)

    def _adopted(self, photo: Photo, made: EarlierOutput) -> bool:
        try:
            adopted = self._destinations.publisher(photo.source.outbox.user).adopt(photo, made)
        except PublishError:
            return False  # the engine's work will tell what is wrong
        if adopted:
            log.info("unchanged: %s", printable(photo.source.path))
            self._on_end(photo, State.PUBLISHED)
        return adopted

    def _publish(self, photo: Photo, protected: Protected, now: float) -> None:
        user = photo.source.outbox.user
        if user not in self._destinations.open_users:
            self._keep(photo, protected)
            self._ledger.move(photo, State.READY, Change(input_sha256=photo.input_sha256))
            return
        try:
            output = self._destinations.publisher(user).publish(photo, protected)
        except SyncUnavailable as exc:
            self._keep(photo, protected)
            self._later(photo, str(exc), may_hold=False)
            self._destinations.pause(user, str(exc), now)
        except NameRefused as exc:
            self._end(photo, State.HELD, str(exc))
        except PublishFault as exc:
            self._keep(photo, protected)
            self._later(photo, str(exc))
        else:
            log.info(
                "published: %s as %s",
                printable(photo.source.path),
                printable(output.relative),
                extra=about(
                    Outcome.PUBLISHED, photo, stage=State.PUBLISHING, seconds=protected.report.seconds
                ),
            )
            self._done(photo, State.PUBLISHED)

    def _source_gone(self, photo: Photo) -> None:
        if self._outboxes.is_there(photo.source.outbox):
            self._end(photo, State.GONE, "the source was removed")
        else:
            self._ledger.move(photo, State.READY, Change(reason="its outbox is not there"))

    def _source_changed(self, photo: Photo, now: float) -> None:
        self._end(photo, State.SUPERSEDED, "the source changed")
        self._settle_again(photo.source, now)

    def _is_working(self, photo: Photo) -> bool:
        return self._ledger.get(photo.id).state is State.WORKING

    def _later(self, photo: Photo, reason: str, *, may_hold: bool = True) -> None:
        attempts = photo.attempts + 1
        if attempts >= self._retry.attempts:
            if may_hold:
                self._end(photo, State.HELD, reason)
                return
            attempts = photo.attempts
        delay_s = min(self._retry.first_s * 2**photo.attempts, self._retry.longest_s)
        log.warning(
            "again in %.0f s: %s: %s",
            delay_s,
            printable(photo.source.path),
            printable(reason),
            extra=about(Outcome.LATER, photo, stage=self._ledger.get(photo.id).state),
        )
        change = Change(
            reason=reason,
            attempts=attempts,
            not_before=time.time() + delay_s,
            input_sha256=photo.input_sha256,
        )
        self._ledger.move(photo, State.READY, change)

    def _keep(self, photo: Photo, protected: Protected) -> None:
        if photo.input_sha256 is not None:
            self._results.keep(photo.source.outbox.user, photo.input_sha256, protected)

    def _end(self, photo: Photo, state: State, reason: str) -> None:
        stage = self._ledger.get(photo.id).state
        self._ledger.move(photo, state, Change(reason=reason))
        log.info(
            "%s: %s: %s",
            state.value,
            printable(photo.source.path),
            printable(reason),
            extra=about(Outcome[state.name], photo, stage=stage),
        )
        self._done(photo, state)

    def _done(self, photo: Photo, state: State) -> None:
        if photo.input_sha256 is not None:
            self._results.drop(photo.source.outbox.user, photo.input_sha256)
        self._on_end(photo, state)
