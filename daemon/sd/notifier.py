"""Notifies systemd of the service's state: starting, ready, status line, watchdog, reloading, stopping.

    EXTEND_TIMEOUT_USEC (models load) -> READY=1 -> STATUS=, WATCHDOG=1 ... -> STOPPING=1
                                           ^   RELOADING=1   |
                                           +-----------------+

The watchdog is fed from the service's main loop, and only while every part makes progress: a timer in its own
thread would report a stuck service as alive.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from daemon.sd import sockets
from daemon.text import printable

_STATUS_EVERY_S = 2.0
_EXTEND_EVERY_S = 10.0
_EXTEND_BY_S = 60  # the engine pool itself gives up on an engine that never becomes ready
_FEEDS_PER_WATCH = 3  # so that a late one does no harm
_RECHECK_S = 1.0


@dataclass(frozen=True, slots=True)
class Health:
    """The health of the parts. engine_ready: the models are loaded. working: the engine has photos.

    progress: grows with every message of the engine.
    """

    engine_ready: bool
    working: bool
    progress: int


class Notifier:
    """Notifies systemd of changes; does nothing without systemd. `now` is monotonic seconds."""

    def __init__(self, status_line: Callable[[], str]) -> None:
        """status_line: the first line of `fawkesd status`, now."""
        self._status_line = status_line
        self._listens = sockets.listens()
        watchdog_s = sockets.watchdog_s()
        self._feed_every_s = None if watchdog_s is None else watchdog_s / _FEEDS_PER_WATCH
        self._is_ready = False
        self._sent_status = ""
        self._status_due_s = self._extend_due_s = self._feed_due_s = -math.inf
        self._progress: int | None = None

    def step(self, health: Health, now: float) -> float:
        """Notify of changes; return when this must be called again, at the latest."""
        if not self._listens:
            return math.inf
        due_s = self._notify_status(now) if self._is_ready else self._notify_start(health, now)
        return min(due_s, self._feed(health, now))

    def reloading(self) -> None:
        """Announce a reload; READY=1 follows once the new configuration is in use."""
        self._is_ready = False
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        sockets.notify("RELOADING=1", f"MONOTONIC_USEC={microseconds}")

    def waits(self, reason: str) -> None:
        """Report that all work waits for an external problem to be fixed; a restart would not help."""
        self._sent_status = ""
        sockets.notify("WATCHDOG=1", f"STATUS=all work is suspended: {printable(reason)}")

    def stopping(self) -> None:
        """Announce the stop: no new work starts from now on."""
        sockets.notify("STOPPING=1", "STATUS=finishing the photos in progress")

    def _notify_start(self, health: Health, now: float) -> float:
        if health.engine_ready:
            self._is_ready = True
            sockets.notify("READY=1")
            return self._notify_status(now)
        if now >= self._extend_due_s:
            self._extend_due_s = now + _EXTEND_EVERY_S
            sockets.notify(f"EXTEND_TIMEOUT_USEC={_EXTEND_BY_S * 1_000_000}", "STATUS=loading the models")
        return self._extend_due_s

    def _notify_status(self, now: float) -> float:
        """Send the status line if it has changed; this is called once after each event."""
        if now < self._status_due_s:
            return self._status_due_s
        self._status_due_s = now + _STATUS_EVERY_S
        line = self._status_line()
        if line == self._sent_status:
            return math.inf
        self._sent_status = line
        sockets.notify(f"STATUS={line}")
        return self._status_due_s

    def _feed(self, health: Health, now: float) -> float:
        if self._feed_every_s is None:
            return math.inf
        if now < self._feed_due_s:
            return self._feed_due_s
        makes_progress = not health.working or health.progress != self._progress
        if not makes_progress:
            return now + _RECHECK_S
        self._progress = health.progress
        self._feed_due_s = now + self._feed_every_s
        sockets.notify("WATCHDOG=1")
        return self._feed_due_s
