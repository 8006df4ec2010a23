"""Rates: how often something may happen, as a bucket of tokens that fills up again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Bucket:
    """size: how many may come at once. per_s: how many more each second after that."""

    def __init__(self, size: float, per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._size, self._per_s, self._clock = size, per_s, clock
        self._left, self._then = size, clock()
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Whether one more may come; thread-safe."""
        with self._lock:
            now = self._clock()
            self._left = min(self._size, self._left + (now - self._then) * self._per_s)
            self._then = now
            if self._left < 1:
                return False
            self._left -= 1
            return True
