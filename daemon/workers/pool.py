"""A pool of engine processes, one per device or two on one, working in parallel; all are unloaded together when idle.

No thread and no sleep: `poll` is called when one of `connections` is readable or `due_s` is reached. Times are
seconds of a monotonic clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection

from daemon.config.settings import Settings
from daemon.model import Photo
from daemon.state.in_work import InWork
from daemon.timing import Timing
from daemon.workers.auto import engines_of
from daemon.workers.process import EngineProcess, ProcessEvent
from daemon.workers.protocol import CLUSTER_FACTORY, DEFAULT_FACTORY, Cluster, EngineSpec


@dataclass(frozen=True, slots=True)
class Unloaded:
    """The engine processes were stopped after `idle_unload_s` without work; `start` starts new ones."""


Event = ProcessEvent | Unloaded


class EnginePool:
    """Keeps the engine processes running, from a `start` until all have been idle for `idle_unload_s`."""

    def __init__(
        self,
        specs: Sequence[EngineSpec],
        *,
        photo_timeout_s: float,
        idle_unload_s: float | None = None,
        timing: Timing,
    ) -> None:
        """specs: one per engine. photo_timeout_s: as in `EngineProcess`.

        idle_unload_s: engines that have been idle for this long are stopped; None: never.
        """
        self.engines = [EngineProcess(spec, photo_timeout_s, timing) for spec in specs]
        self._idle_unload_s = idle_unload_s

    @classmethod
    def of(cls, settings: Settings, factory: str, timing: Timing) -> EnginePool:
        """The engines of a configuration. factory: as in `EngineSpec`; of the default one, a cluster has its own."""
        engine = settings.engine
        engines = engines_of(engine, settings.state_dir)
        count = len(engines) + (engine.scheduler is not None)
        specs = [EngineSpec(factory, one, settings.targets_dir, engine.nice, count) for one in engines]
        if engine.scheduler is not None:
            cluster = Cluster(engine.scheduler, settings.certificates, engine.photo_timeout_s)
            remote = CLUSTER_FACTORY if factory == DEFAULT_FACTORY else factory
            own = replace(engine.to_engine(), device="cpu")  # of what is checked here
            specs.append(EngineSpec(remote, own, settings.targets_dir, engine.nice, count, cluster))
        return cls(
            specs,
            photo_timeout_s=engine.photo_timeout_s,
            idle_unload_s=engine.idle_unload_s,
            timing=timing,
        )

    @property
    def connections(self) -> list[Connection]:
        """What to wait on."""
        return [engine.connection for engine in self.engines if engine.connection]

    @property
    def idle(self) -> list[EngineProcess]:
        """The engines that a batch can be submitted to."""
        return [engine for engine in self.engines if engine.is_idle]

    @property
    def devices(self) -> list[str]:
        """The devices of the engines whose models are loaded."""
        return [engine.ready.device_name for engine in self.engines if engine.ready]

    @property
    def is_complete(self) -> bool:
        """Whether all engines have loaded their models."""
        return all(engine.ready for engine in self.engines)

    @property
    def is_away(self) -> bool:
        """Whether no engine runs or is about to: not started yet, or unloaded."""
        return all(engine.is_away for engine in self.engines)

    @property
    def signs_of_life(self) -> int:
        """How many messages the engines have sent; grows while one makes progress with a batch."""
        return sum(engine.signs_of_life for engine in self.engines)

    @property
    def in_work(self) -> tuple[Photo, ...]:
        """The photos submitted and not yet answered."""
        return tuple(photo for engine in self.engines for photo in engine.in_work)

    @property
    def progress(self) -> list[InWork]:
        """How far each engine is that works."""
        return [
            InWork(tuple(photo.id for photo in engine.in_work), engine.step.phase.value, engine.step.share)
            for engine in self.engines
            if engine.in_work
        ]

    @property
    def due_s(self) -> float | None:
        """When `poll` has something to do even if the pipes stay silent."""
        due = [*(engine.due_s for engine in self.engines), self._unload_at_s()]
        return min((due_s for due_s in due if due_s is not None), default=None)

    def start(self, now: float) -> None:
        """Start the engines; no effect on those that run or are about to."""
        for engine in self.engines:
            engine.start(now)

    def poll(self, now: float) -> list[Event]:
        """What happened since the last call. Raises EngineStartError and WeightsError as `EngineProcess.poll`."""
        events: list[Event] = [event for engine in self.engines for event in engine.poll(now)]
        unload_at_s = self._unload_at_s()
        if unload_at_s is not None and now >= unload_at_s:
            self.stop()
            events.append(Unloaded())
        return events

    def stop(self) -> tuple[Photo, ...]:
        """Stop the engine processes; returns their unanswered photos."""
        return tuple(photo for engine in self.engines for photo in engine.stop())

    def _unload_at_s(self) -> float | None:
        if self._idle_unload_s is None or not all(engine.is_idle for engine in self.engines):
            return None
        return max(engine.sign_of_life_s for engine in self.engines) + self._idle_unload_s
