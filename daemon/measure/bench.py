"""`fawkesd bench`: measures what a cloak costs on this machine, and how long the waiting photos will take.

Each mode has one engine process per device, started as the service starts it. It cloaks as many photos together as
the service would and as the time allows (`bench_worker`). Its results are discarded.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import harmonic_mean

from daemon.config.settings import EngineConfig
from daemon.errors import EngineStartError
from daemon.measure.bench_photos import Sample
from daemon.measure.bench_worker import Measured, Task, cloak
from daemon.workers.environment import engine_environment
from fawkes_engine import ModeName


@dataclass(frozen=True, slots=True)
class BenchJob:
    """What to measure. modes: one after the other. seconds: for all of them together, roughly."""

    engine: EngineConfig
    modes: Sequence[ModeName]
    sample: Sample
    seconds: float


@dataclass(frozen=True, slots=True)
class Bench:
    """All that was measured.

    extractors: the recognisers the cloaks were computed against. sample: different photos. waiting: how many photos
    wait, or are in the named folder; waiting_s: what they take in waiting_mode, the configured one if it was measured.
    """

    extractors: tuple[str, ...]
    sample: int
    modes: Mapping[ModeName, Measured]
    waiting: int
    waiting_mode: ModeName
    waiting_s: float


def run(job: BenchJob, on_mode: Callable[[], None]) -> Bench:
    """Measure. on_mode: called after each mode.

    Raises EngineError if the engine cannot be made, EngineStartError if its process dies, InputError if no face in any
    photo could be cloaked.
    """
    end_s = time.monotonic() + job.seconds
    modes: dict[ModeName, Measured] = {}
    for done, mode in enumerate(job.modes):
        now = time.monotonic()
        modes[mode] = _measure(job, mode, now + max(end_s - now, 0.0) / (len(job.modes) - done))
        on_mode()
    wanted = job.engine.mode if job.engine.mode in modes else job.modes[0]
    waiting = job.sample.waiting
    return Bench(
        extractors=job.engine.ensemble,
        sample=len(job.sample.photos),
        modes=modes,
        waiting=waiting,
        waiting_mode=wanted,
        waiting_s=waiting * modes[wanted].seconds_per_photo,
    )


def _measure(job: BenchJob, mode: ModeName, until_s: float) -> Measured:
    engine = job.engine.model_copy(update={"mode": mode})
    engines = engine.to_engines() or [
        engine.to_engine()
    ]  # this machine, also where it leaves the work to a cluster
    with (
        tempfile.TemporaryDirectory(prefix="fawkesd-bench-") as folder,
        engine_environment(),
        ProcessPoolExecutor(len(engines), mp_context=get_context("spawn")) as processes,
    ):
        tasks = [
            Task(
                parent_pid=os.getpid(),
                settings=settings,
                nice=job.engine.nice,
                engines=len(engines),
                targets_dir=Path(folder),
                photos=job.sample.photos,
                begun_s=time.monotonic(),
                until_s=until_s,
            )
            for settings in engines
        ]
        try:
            return _at_once(list(processes.map(cloak, tasks)))
        except BrokenProcessPool as exc:
            raise EngineStartError("the engine process was killed; it may have run out of memory") from exc


def _at_once(each: Sequence[Measured]) -> Measured:
    """Combine engines that work in parallel: the sum of what each does, and of what each needs."""
    return Measured(
        device=", ".join(one.device for one in each),
        threads=sum(one.threads for one in each),
        start_s=max(one.start_s for one in each),
        first_s=max(one.first_s for one in each),
        photos=sum(one.photos for one in each),
        held=sum(one.held for one in each),
        faces=sum(one.faces for one in each),
        seconds_per_photo=harmonic_mean([one.seconds_per_photo for one in each]) / len(each),
        stages={name: sum(one.stages[name] for one in each) / len(each) for name in each[0].stages},
        rest_mib=sum(one.rest_mib for one in each),
        peak_mib=sum(one.peak_mib for one in each),
        peak_gpu_mib=sum(one.peak_gpu_mib for one in each),
    )
