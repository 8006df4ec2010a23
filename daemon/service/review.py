"""Review before publishing: which results wait for somebody to look at them, and which photos stay away."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection
from dataclasses import asdict

from daemon.model import Change, Photo, State
from daemon.sd.journal import Outcome, about
from daemon.state.ledger import Ledger
from daemon.state.result_cache import ResultCache
from daemon.state.reviews import StaysAway
from daemon.text import printable
from fawkes_engine import Protected

log = logging.getLogger(__name__)

NO_ROOM = "the state folder has no room for what waits for review"

_RESULT_SIZE = 3  # a result is at most so many times as large as its source, as for the sync folder


class Review:
    """Decides about WORKING photos."""

    def __init__(self, ledger: Ledger, results: ResultCache, reviewed: Collection[str]) -> None:
        """reviewed: the users whose photos are published only once they are approved."""
        self._ledger = ledger
        self._results = results
        self._reviewed = reviewed

    def away(self, photo: Photo) -> StaysAway | None:
        """Why a photo that has been read stays away; None if it may be published."""
        away = self._ledger.reviews.stays_away(photo)
        if away is not None and away.is_rewritten and away.state is State.REJECTED and self._is_of(photo):
            return None  # somebody will see the new content
        return away

    def is_needed(self, photo: Photo, protected: Protected) -> bool:
        """Whether a result must wait for somebody: what was approved is this result, and no other."""
        is_approved = photo.approved and photo.result_sha256 == protected.sha256
        return self._is_of(photo) and not is_approved

    def has_room(self, photo: Photo) -> bool:
        """Whether the result of a photo can be kept, if it has to be."""
        return not self._is_of(photo) or self._results.has_room(_RESULT_SIZE * photo.snapshot.size)

    def wait(self, photo: Photo, protected: Protected) -> Photo | None:
        """Let a result wait; it is on disk before the ledger says so. None if there is no room for it."""
        if not self._results.keep(photo, protected):
            return None
        change = Change(
            report=json.dumps(asdict(protected.report)),
            input_sha256=photo.input_sha256,
            options=photo.options,
            result_sha256=protected.sha256,
            approved=False,
        )
        waiting = self._ledger.move(photo, State.REVIEW, change)
        extra = about(Outcome.REVIEW, photo, stage=State.WORKING, seconds=protected.report.seconds)
        log.info("waits for review: %s", printable(photo.source.path), extra=extra)
        return waiting

    def _is_of(self, photo: Photo) -> bool:
        return photo.source.outbox.user in self._reviewed
