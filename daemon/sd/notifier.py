"""What systemd hears of the service: starting, ready, its status line, alive, reloading, stopping.

    EXTEND_TIMEOUT_USEC (models load) -> READY=1 -> STATUS=, WATCHDOG=1 ... -> STOPPING=1
                                           ^   RELOADING=1   |
                                           +-----------------+

The watchdog is fed from the service's own loop, and only while every part gets on: a timer in a thread of its
own would still call a service alive that does nothing.
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
_EXTEND_BY_S = 60  # the engine pool gives up by itself on an engine that never becomes ready
_FEEDS_PER_WATCH = 3  # one that comes late does no harm
_LOOK_AGAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Health:
    """How the parts are. engine_ready: the models are loaded. watching: the observer's threads live.

    working: the engine has photos. progress: grows with every sign of life that the engine gives.
    """

    engine_ready: bool
    watching: bool
    working: bool
    progress: int


class Notifier:
    """Tells systemd what changes; does nothing where no systemd listens. `now` is monotonic seconds."""

    def __init__(self, status_line: Callable[[], str]) -> None:
        """status_line: the first line of `fawkesd status`, now."""
        self._status_line = status_line
        self._listens = sockets.listens()
        watchdog_s = sockets.watchdog_s()
        self._feed_every_s = None if watchdog_s is None else watchdog_s / _FEEDS_PER_WATCH
        self._is_ready = False
        self._told_status = ""
        self._status_due_s = self._extend_due_s = self._feed_due_s = -math.inf
        self._progress: int | None = None

    def step(self, health: Health, now: float) -> float:
        """Tell what is new; returns when this must be called again, at the latest."""
        if not self._listens:
            return math.inf
        due_s = self._tell_status(now) if self._is_ready else self._tell_start(health, now)
        return min(due_s, self._feed(health, now))

    def reloading(self) -> None:
        """A new configuration is about to be used; READY=1 follows once the service works with it."""
        self._is_ready = False
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        sockets.notify("RELOADING=1", f"MONOTONIC_USEC={microseconds}")

    def waits(self, reason: str) -> None:
        """The service does nothing until something outside is put right, which is no reason to restart it."""
        self._told_status = ""
        sockets.notify("WATCHDOG=1", f"STATUS=everything waits: {printable(reason)}")

    def stopping(self) -> None:
        """No new work is begun from now on."""
        sockets.notify("STOPPING=1", "STATUS=finishing the photos in work")

    def _tell_start(self, health: Health, now: float) -> float:
        if health.engine_ready:
            self._is_ready = True
            sockets.notify("READY=1")
            return self._tell_status(now)
        if now >= self._extend_due_s:
            self._extend_due_s = now + _EXTEND_EVERY_S
            sockets.notify(f"EXTEND_TIMEOUT_USEC={_EXTEND_BY_S * 1_000_000}", "STATUS=loading the models")
        return self._extend_due_s

    def _tell_status(self, now: float) -> float:
        """Tell the status if it may have changed: this is called once after each thing that happened."""
        if now < self._status_due_s:
            return self._status_due_s
        self._status_due_s = now + _STATUS_EVERY_S
        line = self._status_line()
        if line == self._told_status:
            return math.inf
        self._told_status = line
        sockets.notify(f"STATUS={line}")
        return self._status_due_s

    def _feed(self, health: Health, now: float) -> float:
        if self._feed_every_s is None:
            return math.inf
        if now < self._feed_due_s:
            return self._feed_due_s
        gets_on = not health.working or health.progress != self._progress
        if not (health.watching and gets_on):
            return now + _LOOK_AGAIN_S
        self._progress = health.progress
        self._feed_due_s = now + self._feed_every_s
        sockets.notify("WATCHDOG=1")
        return self._feed_due_s
