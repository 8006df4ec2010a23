"""Outcome policy: a photo is published, held, gone, or retried later. Its work begins in `admission`.

The policy of both modules:

    source gone           -> GONE           source changed        -> SUPERSEDED, debounced again
    outbox gone           -> waits for it   the engine refuses    -> HELD
    source not readable   -> later          same bytes as before  -> PUBLISHED, from a copy that is intact
    engine dies           -> its photos are retried alone; a second death on a photo alone -> HELD
    own published copy    -> HELD           faulty .fawkesd.yaml  -> HELD
    sync folder unusable  -> the photo waits, never held; its user pauses until the folder is proven usable
    target lost           -> the same, until it is restored or a new one is chosen on purpose
    another target        -> later: what the engine, or an earlier run, made toward it is not published
    copy not writable     -> later          name not writable     -> HELD
    to be reviewed        -> REVIEW         rejected or recalled  -> REJECTED or RECALLED

"Later" is READY after a backoff; after `retry.attempts` failures the photo is HELD. A result that could not be
published, or waits for review, is kept, so that the engine need not repeat it. Approved is a READY photo whose result
of this hash may be published. What no node of a cluster has taken is done later, and never HELD for that.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from daemon.config.settings import RetrySettings
from daemon.errors import NameRefused, PublishError, SyncUnavailable
from daemon.fs.files import snapshot_of
from daemon.model import Change, EarlierOutput, NoFacePolicy, Photo, Source, State
from daemon.publish.destinations import Destinations
from daemon.sd.journal import Outcome, about
from daemon.service.review import NO_ROOM, Review
from daemon.state.ledger import Ledger
from daemon.state.result_cache import ResultCache
from daemon.text import printable
from daemon.watch.outboxes import Outboxes
from daemon.workers.protocol import Deferred, Refused
from fawkes_engine import NoFace, Protected

log = logging.getLogger(__name__)

_DEATHS_BEFORE_HELD = 2


class Outcomes:
    """Moves WORKING rows to their next state. `now` is monotonic seconds."""

    def __init__(
        self,
        outboxes: Outboxes,
        destinations: Destinations,
        ledger: Ledger,
        results: ResultCache,
        retry: RetrySettings,
        *,
        debounce: Callable[[Source, float], None],
        on_end: Callable[[Photo], None],
        reviewed: Collection[str] = (),
    ) -> None:
        """debounce: called with a source that changed. on_end: called once per finished photo, in its final state.

        reviewed: the users whose photos are published only once they are approved.
        """
        self._outboxes = outboxes
        self._destinations = destinations
        self._ledger = ledger
        self._results = results
        self._retry = retry
        self._debounce = debounce
        self._on_end = on_end
        self.review = Review(ledger, results, reviewed)

    def answered(self, photo: Photo, outcome: Protected | Refused | Deferred, now: float) -> None:
        """Apply the engine's outcome, new or cached."""
        if not self._is_working(photo):
            return  # newer content was admitted meanwhile
        found = snapshot_of(photo.source.path)
        if found is None:
            if isinstance(outcome, Protected):
                self._results.keep(photo, outcome)  # it may have been renamed
            self.source_gone(photo)
        elif found != photo.snapshot:
            self.source_changed(photo, now)
        elif isinstance(outcome, Refused):
            self.end(photo, State.HELD, outcome.reason, no_face=outcome.kind == NoFace.__name__)
        elif isinstance(outcome, Deferred):
            self.later(photo, outcome.reason, may_hold=False)
        else:
            self._publish(photo, outcome, now)

    def died(self, photos: Sequence[Photo], reason: str, *, alone: bool) -> None:
        """Requeue or hold the photos of an engine that died. alone: its batch was a single photo."""
        for photo in filter(self._is_working, photos):
            deaths = photo.engine_deaths + alone
            if deaths >= _DEATHS_BEFORE_HELD:
                self.hold(photo, f"the engine stopped twice while working on this photo: {reason}")
            else:
                change = Change(reason=reason, alone=True, engine_deaths=deaths)
                self._ledger.move(photo, State.READY, change)

    def put_back(self, photos: Sequence[Photo]) -> None:
        """Requeue photos that the engine did not answer, without counting a failure."""
        self._ledger.move_all([photo for photo in photos if self._is_working(photo)], State.READY)

    def _publish(self, photo: Photo, protected: Protected, now: float) -> None:
        user = photo.source.outbox.user
        person = self._destinations.with_another_target(user, protected.report)
        if person is not None:
            self._results.drop(photo)
            self.later(photo, f"it was cloaked toward another target than {person} has")
            return
        away = self.review.away(photo)
        if away is not None:
            self.end(photo, away.state, away.reason)
            return
        if self.review.is_needed(photo, protected):
            waiting = self.review.wait(photo, protected)
            if waiting is None:
                self.later(photo, NO_ROOM, may_hold=False)
            else:
                self._on_end(waiting)
            return
        publisher = self._destinations.publisher(user)
        if publisher is None:
            self._results.keep(photo, protected)
            self._ledger.move(photo, State.READY, Change(input_sha256=photo.input_sha256))
            return
        try:
            published = publisher.publish(photo, protected)
        except PublishError as exc:
            self._results.keep(photo, protected)
            self._not_published(photo, exc, now)
        else:
            self._published(published, seconds=protected.report.seconds)

    def reused(self, photo: Photo, earlier: EarlierOutput, now: float) -> bool:
        """Publish a photo as an earlier output of the same content; False if that is not intact, or has to wait."""
        publisher = self._destinations.publisher(photo.source.outbox.user)
        if publisher is None:
            return False
        try:
            published = publisher.reuse(photo, earlier)
        except PublishError as exc:
            self._not_published(photo, exc, now)
            return True
        if published is not None:
            self._published(published, seconds=0.0)
        return published is not None

    def _not_published(self, photo: Photo, exc: PublishError, now: float) -> None:
        match exc:
            case SyncUnavailable():
                self.later(photo, str(exc), may_hold=False)
                self._destinations.pause(photo.source.outbox.user, str(exc), now)
            case NameRefused():
                self.hold(photo, str(exc))
            case _:
                self.later(photo, str(exc))

    def _published(self, photo: Photo, *, seconds: float) -> None:
        assert photo.output is not None, "a published photo has an output"
        if not photo.has_new_copy:
            log.info("%s: %s", printable(photo.source.path), photo.reason)
            self.finished(photo)
            return
        log.info(
            "published: %s as %s%s",
            printable(photo.source.path),
            printable(photo.output.relative),
            f" ({photo.reason})" if photo.reason else "",
            extra=about(Outcome.PUBLISHED, photo, stage=State.PUBLISHING, seconds=seconds),
        )
        self.finished(photo)

    def finished(self, photo: Photo) -> None:
        """Drop the cached result of a finished photo, and pass it to on_end.

        That of one whose original is gone is kept until the next start, since the photo may have been renamed.
        """
        is_over = photo.state is not State.GONE and not self._ledger.reviews.need_result(photo)
        if photo.input_sha256 is not None and is_over:
            self._results.drop(photo)
        self._on_end(photo)

    def hold(self, photo: Photo, reason: str) -> None:
        """Do not publish a photo. reason: shown to its owner."""
        self.end(photo, State.HELD, reason)

    def source_gone(self, photo: Photo) -> None:
        """Handle a source that is missing, alone or with its whole outbox or a mount below that."""
        if self._outboxes.has(photo.source):
            self.end(photo, State.GONE, "the original was removed")
        else:
            self._ledger.move(
                photo, State.READY, Change(reason="its outbox is missing; is its drive mounted?")
            )

    def source_changed(self, photo: Photo, now: float) -> None:
        """Handle a source whose content has changed."""
        self.end(photo, State.SUPERSEDED, "the original changed")
        self._debounce(photo.source, now)

    def _is_working(self, photo: Photo) -> bool:
        return self._ledger.get(photo.id).state is State.WORKING

    def later(self, photo: Photo, reason: str, *, may_hold: bool = True) -> None:
        """Retry after a backoff that doubles with each failure. may_hold: whether too many failures hold it."""
        attempts = photo.attempts + 1
        if attempts >= self._retry.attempts:
            if may_hold:
                self.hold(photo, reason)
                return
            attempts = photo.attempts
        delay_s = min(self._retry.first_s * 2**photo.attempts, self._retry.longest_s)
        log.warning(
            "retrying in %.0f s: %s: %s",
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

    def end(self, photo: Photo, state: State, reason: str, *, no_face: bool = False) -> None:
        """End the work on a photo. reason: shown to its owner. no_face: it is held because no face was found."""
        stage = self._ledger.get(photo.id).state  # publishing may have advanced it before it failed
        change = Change(
            reason=reason,
            no_face=NoFacePolicy.HOLD if no_face else None,
            # these bytes stay away under every name
            input_sha256=photo.input_sha256 if state in {State.REJECTED, State.RECALLED} else None,
        )
        ended = self._ledger.move(photo, state, change)
        log.info(
            "%s: %s: %s",
            state.value,
            printable(photo.source.path),
            printable(reason),
            extra=about(Outcome[state.name], photo, stage=stage),
        )
        # The hash of a photo that was just read is not in its row yet.
        self.finished(replace(ended, input_sha256=photo.input_sha256))
