"""Where the engine's time goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum


class Stage(Enum):
    """The engine's stages, in order.

    RECOGNISE: embed and identify the clean faces. VERIFY: the second detection, and all measurements on the encoded
    file.
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
        """Add the time of a with block, even if it raises."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - started
