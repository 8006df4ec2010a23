"""What a cloak costs once the engine is resident, also as a ratio from which the machine's speed cancels.

    python -m tests.benchmarks.cost --data DIR/faces --out DIR

A batch is 16 photos of 16 users. After a warm-up batch, three batches run, and the median is reported; then
photos run one at a time. The reference, run right after each batch, is the bare network: exactly the forward
and backward passes that the optimiser made, on the same number of faces at once, and nothing else.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from fawkes_engine import extractors
from fawkes_engine.engine import Engine
from fawkes_engine.targets import Pool
from fawkes_engine.types import EngineSettings, Protected
from tests.benchmarks.common import BATCH_PHOTOS, MemoryTargets, photos_of, request, save, shuffled, table

BATCHES, SINGLES = 3, 5


@dataclass(frozen=True, slots=True)
class Cost:
    """One call of the engine.

    photos: published. seconds: wall time. reading: share of it before the first optimiser step was done (decode,
    detect, embed), less that step. finishing: share after the last step (fit, encode, detect again, verify).
    face_steps: forward and backward passes, one face each. reference_s: wall time of the bare network for them.
    """

    photos: int
    seconds: float
    reading: float
    finishing: float
    face_steps: int
    reference_s: float

    @property
    def seconds_per_photo(self) -> float:
        """Wall time for each published photo."""
        return self.seconds / self.photos

    @property
    def ratio(self) -> float:
        """Wall time as a multiple of the reference."""
        return self.seconds / self.reference_s


@dataclass(frozen=True, slots=True)
class Result:
    """All that was measured, as saved. settings: the engine's. load: 1-minute load average when it began."""

    fingerprint: str
    device: str
    threads: int
    batches: list[Cost]
    singles: list[Cost]


class Meter:
    """Runs the engine on photos and accounts for the time."""

    def __init__(self) -> None:
        settings = EngineSettings()
        self.engine = Engine(settings, MemoryTargets())
        self.engine.warm_up()
        device = self.engine.device
        means = Pool.load().means
        self._extractors = [extractors.load(name, means[name], device) for name in settings.extractors]

    def measure(self, photos: Sequence[Path]) -> Cost:
        """Protect photos in one call, then run the reference."""
        requests = [request(photo) for photo in photos]
        ticks: list[float] = []
        passes: list[int] = []  # faces in each pass through a network that gradients went through

        def note(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            if type(module) in self._networks and inputs[0].requires_grad:
                passes.append(len(inputs[0]))

        hook = register_module_forward_pre_hook(note)
