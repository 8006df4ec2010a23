"""The engine process: loads the models once, then answers batches until its pipe closes.

It receives and returns bytes; it knows no outbox and no sync folder. It dies with the supervisor, however
that ends: the pipe closes, and the kernel sends SIGKILL.
"""

from __future__ import annotations

import importlib
import logging
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from daemon.state.targets import FileTargetStore
from daemon.workers.environment import load_torch
from daemon.workers.limits import confine
from daemon.workers.protocol import AnyEngine, EngineSpec, Failed, Heartbeat, Outcome, Ready, Refused, Result
from fawkes_engine import EngineSettings, Phase, Refusal, Request, Step

if TYPE_CHECKING:
    from fawkes_engine.engine import Engine

log = logging.getLogger(__name__)

_HEARTBEAT_EVERY_S = 1.0


def make_engine(settings: EngineSettings, targets_dir: Path) -> Engine:
    """Make the real engine, with everyone's targets; only this imports torch."""
    load_torch()
    from fawkes_engine.engine import Engine as RealEngine

    return RealEngine(settings, FileTargetStore(targets_dir))


def serve(connection: Connection, spec: EngineSpec, supervisor_pid: int) -> None:
    """Body of the engine process."""
    # Ctrl-C reaches the whole terminal group; the supervisor decides what happens to the batch.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    confine(supervisor_pid, spec.nice, spec.engines)
    try:
        engine = _load(spec)
        told: Ready | None = None
        while True:
            ready = Ready(engine.fingerprint, engine.device_name, getattr(engine, "batches", 1))
            if ready != told:
                connection.send(ready)
                told = ready
            _answer(connection, engine, connection.recv())
    except (EOFError, ConnectionError):
        return  # the supervisor is gone, or has closed the pipe
    except Exception as exc:
        log.exception("the engine failed")
        connection.send(Failed(type(exc).__name__, f"{type(exc).__name__}: {exc}"))
        raise SystemExit(1) from exc


def _answer(connection: Connection, engine: AnyEngine, batch: Sequence[Request]) -> None:
    sent_at_s = time.monotonic()
    phase: Phase | None = None

    def on_step(step: Step) -> None:
        nonlocal sent_at_s, phase
        if step.phase != phase or time.monotonic() - sent_at_s >= _HEARTBEAT_EVERY_S:
            sent_at_s, phase = time.monotonic(), step.phase
            connection.send(Heartbeat(step))

    for index, result in enumerate(protected(engine, batch, on_step)):
        outcome = Refused(type(result).__name__, str(result)) if isinstance(result, Refusal) else result
        connection.send(Result(index, outcome))


def protected(
    engine: AnyEngine, batch: Sequence[Request], on_step: Callable[[Step], None]
) -> Iterable[Outcome | Refusal]:
    """The engine's results; a batch that does not fit into memory is halved until it does."""
    try:
        return engine.protect(batch, on_step=on_step)
    except Exception as exc:
        if not _is_out_of_memory(exc):
            raise
        log.warning("%d photos together need more memory than is available", len(batch))
    # Outside the except block: the exception holds the frames, and with them the memory.
    if len(batch) == 1:
        return [Refused("OutOfMemory", "the photo needs more memory than is available; export it smaller")]
    half = len(batch) // 2
    return [*protected(engine, batch[:half], on_step), *protected(engine, batch[half:], on_step)]


def _is_out_of_memory(exc: Exception) -> bool:
    # torch's errors by name, since this module does not import torch; on the CPU it is a plain RuntimeError.
    is_torchs = type(exc).__name__ == "OutOfMemoryError" or "CPUAllocator: can't allocate memory" in str(exc)
    return is_torchs or isinstance(exc, MemoryError)


def _load(spec: EngineSpec) -> AnyEngine:
    module, _, function = spec.factory.partition(":")
    make = getattr(importlib.import_module(module), function)
    for_cluster = () if spec.cluster is None else (spec.cluster,)
    engine: AnyEngine = make(spec.settings, spec.targets_dir, *for_cluster)
    engine.warm_up()
    return engine
