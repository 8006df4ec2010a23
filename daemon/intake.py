"""From a path somebody heard of to a READY row of the ledger."""

from __future__ import annotations

import logging
import random
from collections import deque
from collections.abc import Callable, Sequence

from daemon.files import look
from daemon.ledger import Ledger
from daemon.model import Change, Outbox, Source, State
from daemon.names import printable
from daemon.readiness import Readiness
from daemon.watcher import Arrival, source_at, walk

log = logging.getLogger(__name__)

# Files looked at in one step, so that a backlog of 50,000 does not keep results waiting.
_LOOKS_PER_STEP = 500


class Intake:
    """Collects arrivals, rescans the outboxes, and admits what has settled. Times are monotonic seconds."""

    def __init__(
        self, outboxes: Sequence[Outbox], ledger: Ledger, readiness: Readiness, *, rescan_s: float
    ) -> None:
        self._outboxes = outboxes
        self._ledger = ledger
        self._readiness = readiness
        self._rescan_s = rescan_s
        self._next_rescan_s = 0.0
        self._arrivals: deque[Arrival] = deque()
        self.before_rescan: Callable[[], None] = _nothing

    def arrive(self, arrival: Arrival) -> None:
        """Note an arrival; may be called from another thread."""
        self._arrivals.append(arrival)

    def settle_again(self, source: Source, now: float) -> None:
        """Treat a source as just changed."""
        self._readiness.event(source, now)

    @property
    def unsettled(self) -> int:
        """How many files are not at rest yet."""
        return len(self._readiness)

    @property
    def due_s(self) -> float:
        """When `step` has something to do, unless something arrives before."""
        due_s = self._readiness.next_due_s()
        return self._next_rescan_s if due_s is None else min(due_s, self._next_rescan_s)

    def step(self, now: float) -> None:
        """Do what is due."""
        self._drain(now)
        if now >= self._next_rescan_s:
            self.before_rescan()
            self.rescan(now)
        settled = self._readiness.ready(now, _LOOKS_PER_STEP)
        if settled:
            self._ledger.admit(settled)

    def rescan(self, now: float) -> None:
        """Look at every file of every outbox that is there, and find what no event told of."""
        # Jitter, so that several outboxes on one network drive, or several daemons, drift apart.
        self._next_rescan_s = now + self._rescan_s * random.uniform(0.75, 1.25)
        for outbox in self._outboxes:
            if not outbox.root.is_dir():
                log.warning("the outbox %s is not there", printable(outbox.root))
                continue
            for source in walk(outbox, outbox.root):
                self._notice(source, now)
            self._forget_removed(outbox)

    def _drain(self, now: float) -> None:
        while self._arrivals:
            arrival = self._arrivals.popleft()
            if arrival.is_directory:
                for source in walk(arrival.outbox, arrival.path):
                    self._notice(source, now)
            elif (source_or_none := source_at(arrival.outbox, arrival.path)) is not None:
                self._readiness.event(source_or_none, now)

    def _notice(self, source: Source, now: float) -> None:
        if source in self._readiness:
            return
        snapshot = look(source.path)
        if snapshot is not None and not self._ledger.knows(source, snapshot):
            self._readiness.event(source, now)

    def _forget_removed(self, outbox: Outbox) -> None:
        # Only HELD rows: a READY one is found missing when it is read, and a published one stays published.
        for photo in self._ledger.in_state(State.HELD, user=outbox.user):
            if photo.source.outbox == outbox and look(photo.source.path) is None:
                self._ledger.move(photo, State.GONE, Change(reason="the source was removed"))


def _nothing() -> None:
    """No watcher has watches to renew."""
