"""What runs in a node's worker process: the engine, loaded once, and the task that asks it."""

from __future__ import annotations

import asyncio
import importlib
import logging
import time
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from distributed import Worker, WorkerPlugin, get_worker

from daemon.cluster import wire
from daemon.cluster.snapshots import Snapshot, SnapshotStore
from daemon.workers.environment import load_torch
from daemon.workers.protocol import EngineLike
from daemon.workers.worker import protected
from fawkes_engine import EngineSettings, Phase, Request, Step, TargetStore

log = logging.getLogger(__name__)

FACTORY = "daemon.cluster.work:make_engine"
_RECENT_TASKS = 20


@dataclass(frozen=True, slots=True)
class NodeEngine:
    """An engine whose targets are replaced from time to time. reload: takes everyone as the store has them now."""

    engine: EngineLike
    reload: Callable[[], None]


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """The engine of one device of a node. factory: "module:function", called with settings and a target store.

    name: of the node, for people. fingerprint: of the engine.
    """

    name: str
    settings: EngineSettings
    fingerprint: str
    factory: str = FACTORY


def make_engine(settings: EngineSettings, targets: TargetStore) -> NodeEngine:
    """Make the real engine."""
    load_torch()
    from fawkes_engine.engine import Engine

    engine = Engine(settings, targets)
    return NodeEngine(engine, engine.pipeline.identifier.people.reload)


class EnginePlugin(WorkerPlugin):
    """Loads the engine before its worker registers, and works on one task at a time."""

    name = "engine"

    def __init__(self, spec: NodeSpec) -> None:
        self._spec = spec
        self._recent: deque[tuple[int, float]] = deque(maxlen=_RECENT_TASKS)  # photos, seconds
        self._steps = self._photos = self._working = 0
        self._share = 0.0  # of the task, as far as its cloaks are

    async def setup(self, worker: Worker) -> None:
        """Load the engine in the thread that will work with it."""
        self._address = worker.address
        self._store = SnapshotStore()
        worker.metrics["engine"] = lambda _worker: self.told()
        loop = asyncio.get_running_loop()
        self._loaded: NodeEngine = await loop.run_in_executor(worker.executors["default"], self._load)

    def _load(self) -> NodeEngine:
        module, _, function = self._spec.factory.partition(":")
        make = getattr(importlib.import_module(module), function)
        loaded: NodeEngine = make(self._spec.settings, self._store)
        if loaded.engine.fingerprint != self._spec.fingerprint:
            raise RuntimeError(f"the engine is {loaded.engine.fingerprint}, not {self._spec.fingerprint}")
        loaded.engine.warm_up()
        return loaded

    def told(self) -> dict[str, str | int | float]:
        """What the scheduler is told every half second. steps: grows while the engine makes progress.

        share: of the photos in work that is done, 0 to 1.
        """
        seconds = sum(seconds for _, seconds in self._recent)
        return {
            "name": self._spec.name,
            "device": self._loaded.engine.device_name,
            "fingerprint": self._loaded.engine.fingerprint,
            "steps": self._steps,
            "working": self._working,
            "share": self._share,
            "photos": self._photos,
            "photos_per_minute": 60 * sum(photos for photos, _ in self._recent) / seconds if seconds else 0.0,
        }

    def protect(self, requests: Sequence[Request], snapshot: bytes) -> wire.Reply:
        """Return what the engine makes of some photos, with these targets."""
        started = time.monotonic()
        self._working = len(requests)
        self._steps += 1
        try:
            self._store.load(Snapshot.from_bytes(zlib.decompress(snapshot)))
            self._loaded.reload()
            results = list(protected(self._loaded.engine, requests, self._on_step))
            answer = wire.reply(self._address, self._spec.name, results, self._store.proposals())
        except Exception as exc:
            log.exception("the engine failed")
            return wire.failure(self._address, f"{type(exc).__name__}: {exc}"[:1000])
        else:
            self._photos += len(requests)
            self._recent.append((len(requests), time.monotonic() - started))
            return answer
        finally:
            self._working, self._share = 0, 0.0
            self._steps += 1

    def _on_step(self, step: Step) -> None:
        self._steps += 1
        if step.phase is Phase.CLOAK and step.share is not None:
            self._share = step.share


def protect(requests: Sequence[Request], snapshot: bytes) -> wire.Reply:
    """The task: cloak some photos on whichever node it reaches. snapshot: compressed."""
    plugin = get_worker().plugins[EnginePlugin.name]
    assert isinstance(plugin, EnginePlugin)
    return plugin.protect(requests, snapshot)
