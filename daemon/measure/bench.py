"""`fawkesd bench`: measures what a cloak costs on this machine, and how long the waiting photos will take.

Each mode has one engine process per device, started as the service starts it. It cloaks as many photos together as
the service would and as the time allows (`bench_worker`). Its results are discarded. With `device: auto` one mode is
measured with two engines as well, and how many `auto` runs from then on is kept for the service (`workers.auto`).
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import harmonic_mean

from daemon.config.settings import EngineConfig
from daemon.errors import EngineStartError, InputError, OutputError
from daemon.fs.kernel import has_nvidia_driver
from daemon.measure.bench_photos import Sample
from daemon.measure.bench_worker import Measured, Task, cloak
from daemon.workers.auto import engines_of, keep, pair
from daemon.workers.environment import engine_environment
from daemon.workers.limits import memory_mib
from fawkes_engine import EngineError, EngineSettings, ModeName

# Two engines must take so much less time per photo: a smaller gain is not worth twice the memory, and may be other
# programs' doing.
_LEAST_GAIN = 0.1
# In smaller batches a photo costs up to twice what it costs in the service's, so that they say little about a backlog.
_LEAST_TOGETHER = 4
# At most so much of the memory may two engines take at their peak. Either is then limited to twice its part of it
# (`workers.limits`: three quarters of the machine's for all), so that photos larger than the sample's fit, too.
_MEMORY_SHARE = 3 / 8


@dataclass(frozen=True, slots=True)
class BenchJob:
    """What to measure. modes: one after the other. seconds: for all of them together, roughly.

    state_dir: the service's, if there is a configuration; only how many engines `auto` runs is written there.
    """

    engine: EngineConfig
    modes: Sequence[ModeName]
    sample: Sample
    seconds: float
    state_dir: Path | None = None


@dataclass(frozen=True, slots=True)
class Auto:
    """What `device: auto` is from now on. engines: 1 or 2. why: in words. two: of two engines; None if not measured.

    kept: the file that tells the service; None if it was not written. obstacle: why not, where something was found.
    """

    engines: int
    why: str
    two: Measured | None
    kept: str | None = None
    obstacle: str | None = None


@dataclass(frozen=True, slots=True)
class Bench:
    """All that was measured.

    extractors: the recognisers the cloaks were computed against. sample: different photos. waiting: how many photos
    wait, or are in the named folder; waiting_s: what they take in waiting_mode, the configured one if it was measured.
    auto: for that mode, with `device: auto`.
    """

    extractors: tuple[str, ...]
    sample: int
    modes: Mapping[ModeName, Measured]
    waiting: int
    waiting_mode: ModeName
    waiting_s: float
    auto: Auto | None = None


def run(job: BenchJob, on_mode: Callable[[], None]) -> Bench:
    """Measure. on_mode: called after each mode.

    Raises EngineError if the engine cannot be made, EngineStartError if its process dies, InputError if no face in any
    photo could be cloaked.
    """
    wanted = job.engine.mode if job.engine.mode in job.modes else job.modes[0]
    is_auto = job.engine.device == "auto"
    ends_s = _ends_s(job.seconds, len(job.modes) + is_auto)
    modes: dict[ModeName, Measured] = {}
    auto = None
    for mode in job.modes:
        engine = job.engine.model_copy(update={"mode": mode})
        # this machine, also where it leaves the work to a cluster
        modes[mode] = _measure(job, engine.to_engines() or [engine.to_engine()], next(ends_s))
        on_mode()
        if is_auto and mode == wanted:  # at once, so that both find the machine equally busy
            auto = _auto(job, engine, modes[mode], next(ends_s))
            on_mode()
    waiting = job.sample.waiting
    used = auto.two if auto and auto.two and auto.engines == 2 else modes[wanted]
    return Bench(
        extractors=job.engine.ensemble,
        sample=len(job.sample.photos),
        modes=modes,
        waiting=waiting,
        waiting_mode=wanted,
        waiting_s=waiting * used.seconds_per_photo,
        auto=auto,
    )


def _ends_s(seconds: float, measurements: int) -> Iterator[float]:
    """Yield when each measurement is to end: they share what is left of the time."""
    end_s = time.monotonic() + seconds
    for left in range(measurements, 0, -1):
        now = time.monotonic()
        yield now + max(end_s - now, 0.0) / left


def _auto(job: BenchJob, engine: EngineConfig, one: Measured, until_s: float) -> Auto:
    """Measure two engines if the device may be enough for them, and keep what `auto` is to be."""
    why, engines, two = _hindrance(engine, one), 1, None
    if why is None:
        try:
            two = _measure(job, pair(engine), until_s)
            engines, why = _compared(one, two)
        except (EngineError, EngineStartError, InputError) as exc:
            why = f"of two, one failed: {exc}"
    before = len(engines_of(job.engine, job.state_dir)) if job.state_dir else 1
    if not engines:
        return Auto(before, why, two)
    try:
        return Auto(engines, why, two, kept=str(_keep(job, engine, engines)))
    except OutputError as exc:
        return Auto(before, why, two, obstacle=str(exc))


def _keep(job: BenchJob, engine: EngineConfig, engines: int) -> Path:
    """Tell the service how many engines to run. Returns the file; raises OutputError if there is nothing to write."""
    if engine.mode != job.engine.mode:
        raise OutputError(f"this is {engine.mode}, and the configuration has {job.engine.mode}")
    if job.state_dir is None or not job.state_dir.is_dir():
        raise OutputError("there is no state folder yet; measure again after the service has run once")
    if job.state_dir.stat().st_uid != os.geteuid():
        raise OutputError(f"{job.state_dir} is another account's; run this as that one")
    return keep(job.state_dir, engine, engines)


def _hindrance(engine: EngineConfig, one: Measured) -> str | None:
    """Return why two engines need not be tried."""
    is_card = one.peak_gpu_mib > 0
    if is_card != has_nvidia_driver():  # the service chooses before it knows whether CUDA works
        return "two engines are for the processor of a machine without a graphics card, or for NVIDIA's with CUDA"
    if is_card and engine.max_gpu_memory_gib is not None:
        return "max_gpu_memory_gib limits what fawkesd may take, and two would take twice as much"
    if not is_card and len(os.sched_getaffinity(0)) == 1:
        return "there is one core"
    return _lack(2 * one.peak_mib, 2 * one.peak_gpu_mib, one.gpu_mib)


def _compared(one: Measured, two: Measured) -> tuple[int, str]:
    """Return how many engines are better, and why; 0 if that cannot be told."""
    size = max(one.by_size.keys() & two.by_size.keys())
    if size < _LEAST_TOGETHER:
        return 0, (
            f"each must cloak {_LEAST_TOGETHER} photos together to be compared; "
            "give more time with --seconds and --mode, or more photos"
        )
    gain = 1 - two.by_size[size] / one.by_size[size]
    figures = (
        f"two took {two.by_size[size]:.2f} s a photo, one {one.by_size[size]:.2f} (batches of {size}), "
        f"{abs(gain):.0%} {'less' if gain > 0 else 'more'}"
    )
    if gain < _LEAST_GAIN:
        return 1, f"{figures}; two need twice the memory, and must take {_LEAST_GAIN:.0%} less"
    lack = _lack(two.peak_mib, two.peak_gpu_mib, two.gpu_mib)
    return (1, f"{figures}, but {lack}") if lack else (2, figures)


def _lack(peak_mib: int, peak_gpu_mib: int, gpu_mib: int) -> str | None:
    """Return which memory is not enough for two engines with these peaks; None if all is."""
    for name, needed, present in (
        ("memory", peak_mib, memory_mib()),
        ("the card's memory", peak_gpu_mib, gpu_mib),
    ):
        if needed > _MEMORY_SHARE * present:
            return f"two need {needed} MiB of {name}, and may have {_MEMORY_SHARE * present:.0f} of {present}"
    return None


def _measure(job: BenchJob, engines: Sequence[EngineSettings], until_s: float) -> Measured:
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
        by_size={
            size: harmonic_mean([one.by_size[size] for one in each]) / len(each)
            for size in each[0].by_size
            if all(size in one.by_size for one in each)
        },
        stages={name: sum(one.stages[name] for one in each) / len(each) for name in each[0].stages},
        rest_mib=sum(one.rest_mib for one in each),
        peak_mib=sum(one.peak_mib for one in each),
        peak_gpu_mib=sum(one.peak_gpu_mib for one in each),
        gpu_mib=max(one.gpu_mib for one in each),
    )
