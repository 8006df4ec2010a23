"""The engine process of `fawkesd bench`: cloaks one photo alone, then 2, 4, ... together, and times it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from daemon.errors import InputError
from daemon.workers.limits import confine
from daemon.workers.worker import make_engine
from fawkes_engine import EngineSettings, Protected, Request

if TYPE_CHECKING:
    from fawkes_engine.engine import Engine


@dataclass(frozen=True, slots=True)
class Measured:
    """The measurements of one mode, of all devices together.

    device: for display. threads: for arithmetic. start_s: from spawn until the models are warmed up.
    first_s: for the first photo, which was alone. photos, held, faces, seconds_per_photo: of all later photos, or of it
    alone if the time allowed no more; held: those refused; faces: those cloaked. by_size: seconds per photo in batches
    of so many photos per engine. stages: shares of that time.
    rest_mib, peak_mib: resident memory before the first photo, and at most; peak_gpu_mib: reserved on a graphics card,
    which has gpu_mib.
    """

    device: str
    threads: int
    start_s: float
    first_s: float
    photos: int
    held: int
    faces: int
    seconds_per_photo: float
    by_size: Mapping[int, float]
    stages: Mapping[str, float]
    rest_mib: int
    peak_mib: int
    peak_gpu_mib: int
    gpu_mib: int

    @property
    def faces_per_s(self) -> float:
        """Cloaked faces per second of wall time."""
        return self.faces / (self.seconds_per_photo * self.photos)


@dataclass(frozen=True, slots=True)
class Task:
    """What to measure, as sent to an engine process.

    engines: how many work in parallel. begun_s, until_s: monotonic, which is one clock for all processes.
    """

    parent_pid: int
    settings: EngineSettings
    nice: int
    engines: int
    targets_dir: Path
    photos: Sequence[Request]
    begun_s: float
    until_s: float


@dataclass(frozen=True, slots=True)
class _Batch:
    """The outcome of photos that were cloaked together. reasons: of those held."""

    photos: int
    faces: int
    reasons: Sequence[str]
    seconds: float
    stages: Mapping[str, float]


def cloak(task: Task) -> Measured:
    """Body of the engine process. Raises EngineError, and InputError if no face in any photo could be cloaked."""
    confine(task.parent_pid, task.nice, task.engines)
    import torch

    engine = make_engine(task.settings, task.targets_dir)
    engine.warm_up()
    start_s, rest_mib = time.monotonic() - task.begun_s, _memory_mib("VmRSS")
    batches = _batches(engine, task.photos, task.until_s)
    counted = batches[1:] or batches
    photos, faces = sum(one.photos for one in counted), sum(one.faces for one in counted)
    reasons = [reason for one in counted for reason in one.reasons]
    if not faces:
        raise InputError(
            f"no face could be cloaked in {photos} photo(s) ({reasons[0]}); name a folder of other photos with --data"
        )
    seconds = sum(one.seconds for one in counted)
    stages = {name: sum(one.stages[name] for one in counted) / seconds for name in counted[0].stages}
    peak_gpu_mib = torch.cuda.max_memory_reserved() >> 20  # 0 without a card
    return Measured(
        device=engine.device_name,
        threads=torch.get_num_threads(),
        start_s=start_s,
        first_s=batches[0].seconds,
        photos=photos,
        held=len(reasons),
        faces=faces,
        seconds_per_photo=seconds / photos,
        by_size={
            size: mean(one.seconds for one in batches if one.photos == size) / size
            for size in sorted({one.photos for one in batches})
        },
        stages={**stages, "other": 1 - sum(stages.values())},
        rest_mib=rest_mib,
        peak_mib=_memory_mib("VmHWM"),
        peak_gpu_mib=peak_gpu_mib,
        gpu_mib=torch.cuda.mem_get_info()[1] >> 20 if peak_gpu_mib else 0,
    )


def _batches(engine: Engine, sample: Sequence[Request], until_s: float) -> list[_Batch]:
    """Cloak photos in batches of doubling size, as long as the next one is expected to finish in time."""
    photos = itertools.cycle(sample)
    size, done = 1, [_batch(engine, [next(photos)])]
    while True:
        size = min(2 * size, len(sample))
        last = done[-1]
        if time.monotonic() + last.seconds / last.photos * size > until_s:
            return done
        done.append(_batch(engine, list(itertools.islice(photos, size))))


def _batch(engine: Engine, requests: Sequence[Request]) -> _Batch:
    before, started_s = dict(engine.stopwatch.seconds), time.perf_counter()
    results = engine.protect(requests)
    seconds = time.perf_counter() - started_s
    return _Batch(
        photos=len(requests),
        faces=sum(len(one.report.faces) for one in results if isinstance(one, Protected)),
        reasons=[str(one) for one in results if not isinstance(one, Protected)],
        seconds=seconds,
        stages={stage.value: now - before[stage] for stage, now in engine.stopwatch.seconds.items()},
    )


def _memory_mib(name: str) -> int:
    """A line of this process's status, which the kernel counts in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) >> 10 for line in lines if line.startswith(f"{name}:"))
