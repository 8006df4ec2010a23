"""Where the engine's time goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum


class Stage(Enum):
    """What the engine does with photos, in this order.

    RECOGNISE: embed the clean faces, tell whose they are. VERIFY: the second detection, and all that is measured on
    the encoded file.
    """

    DECODE = "decode"
    DETECT = "detect"
    RECOGNISE = "recognise"
    OPTIMISE = "optimise"
    ENCODE = "encode"
    VERIFY = "verify"


class Stopwatch:
    """Adds up wall time, seconds, by stage. Stages do not nest: their sum is at most the time that passed."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(Stage, 0.0)

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        """Count the time of a with block, also of one that ends with an error."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - started
