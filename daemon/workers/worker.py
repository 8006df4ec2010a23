"""The engine process: loads the models once, then answers batches until its pipe closes.

It gets bytes and gives bytes back; it knows no outbox and no sync folder. It ends when the supervisor does,
however that ends: the pipe closes, and the kernel sends SIGKILL.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import logging
import os
import resource
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from daemon.state.targets import FileTargetStore
from fawkes_engine import EngineSettings, Protected, Refusal, Request

if TYPE_CHECKING:
    from fawkes_engine.engine import Engine

log = logging.getLogger(__name__)

_BEAT_EVERY_S = 1.0
_MEMORY_SHARE = 0.75  # of the machine's memory
_PR_SET_PDEATHSIG = 1


class EngineLike(Protocol):
    """What the worker needs of an engine; `fawkes_engine.engine.Engine` is the real one."""

    fingerprint: str
    device_name: str

    def warm_up(self) -> None:
        """Load and try everything the first photo would otherwise wait for."""

    def protect(
        self, requests: Sequence[Request], *, on_step: Callable[[], None] | None = None
    ) -> Sequence[Protected | Refusal]:
        """One result per request, in order; calls on_step as it gets on."""


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """How to make the engine. factory: "module:function", called with settings and targets_dir.

    nice: the least niceness of its process, 0 to 19. engines: how many share the machine's memory.
    """

    factory: str
    settings: EngineSettings
    targets_dir: Path
    nice: int = 0
    engines: int = 1


@dataclass(frozen=True, slots=True)
class Ready:
    """The models are loaded. device_name: for `status`, such as "cpu"."""

    fingerprint: str
    device_name: str


@dataclass(frozen=True, slots=True)
class Beat:
    """The engine got on with the batch."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A refusal as it crosses the pipe. kind: the class of the Refusal. reason: for the photo's owner."""

    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome for one photo of the batch. index: its place in the batch."""

    index: int
    outcome: Protected | Refused


@dataclass(frozen=True, slots=True)
class Failed:
    """The engine cannot go on; the process ends after this. kind: the class of the error."""

    kind: str
    reason: str


Message = Ready | Beat | Result | Failed


def make_engine(settings: EngineSettings, targets_dir: Path) -> Engine:
    """The real engine with everyone's targets; only now torch is imported."""
    from fawkes_engine.engine import Engine as RealEngine

    return RealEngine(settings, FileTargetStore(targets_dir))


def serve(connection: Connection, spec: EngineSpec, supervisor_pid: int) -> None:
    """Body of the engine process."""
    # Ctrl-C reaches the whole terminal group; the supervisor decides what happens to the batch.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    settle_in(supervisor_pid, spec.nice, spec.engines)
    try:
        engine = _load(spec)
        connection.send(Ready(engine.fingerprint, engine.device_name))
        while True:
            _answer(connection, engine, connection.recv())
    except (EOFError, ConnectionError):
        return  # the supervisor is gone, or wants this process gone
    except Exception as exc:
        log.exception("the engine failed")
        connection.send(Failed(type(exc).__name__, f"{type(exc).__name__}: {exc}"))
        raise SystemExit(1) from exc


def _answer(connection: Connection, engine: EngineLike, batch: Sequence[Request]) -> None:
    beat_at_s = time.monotonic()

    def on_step() -> None:
        nonlocal beat_at_s
        if time.monotonic() - beat_at_s >= _BEAT_EVERY_S:
            beat_at_s = time.monotonic()
            connection.send(Beat())

    for index, result in enumerate(_protect(engine, batch, on_step)):
        outcome = Refused(type(result).__name__, str(result)) if isinstance(result, Refusal) else result
        connection.send(Result(index, outcome))


def _protect(
    engine: EngineLike, batch: Sequence[Request], on_step: Callable[[], None]
) -> Sequence[Protected | Refusal | Refused]:
    """The engine's results; where its memory does not suffice for the batch, those of ever smaller ones."""
    try:
        return engine.protect(batch, on_step=on_step)
    except Exception as exc:
        if not _is_out_of_memory(exc):
            raise
        log.warning("%d photos at once need more memory than there is", len(batch))
    # Out of the except block: the error holds the frames, and with them the memory.
    if len(batch) == 1:
        return [Refused("OutOfMemory", "the photo needs more memory than there is; export it smaller")]
    half = len(batch) // 2
    return [*_protect(engine, batch[:half], on_step), *_protect(engine, batch[half:], on_step)]


def _is_out_of_memory(exc: Exception) -> bool:
    # torch's errors by their names, since this module does not import torch; on the CPU it is a plain RuntimeError.
    is_torchs = type(exc).__name__ == "OutOfMemoryError" or "CPUAllocator: can't allocate memory" in str(exc)
    return is_torchs or isinstance(exc, MemoryError)


def _load(spec: EngineSpec) -> EngineLike:
    module, _, function = spec.factory.partition(":")
    engine: EngineLike = getattr(importlib.import_module(module), function)(spec.settings, spec.targets_dir)
    engine.warm_up()
    return engine


def settle_in(parent_pid: int, nice: int, engines: int = 1) -> None:
    """Take an engine process's place on the machine: it ends with its parent, is limited, and gives way.

    To be called before there are threads. nice: at least, 0 to 19. engines: that share the machine's memory.
    """
    _end_with(parent_pid)
    _limit_memory(_MEMORY_SHARE / engines)
    if nice > os.getpriority(os.PRIO_PROCESS, 0):  # less than what the service was given would need rights
        os.setpriority(os.PRIO_PROCESS, 0, nice)


def _limit_memory(share: float) -> None:
    """A photo that unpacks to gigabytes ends in a refusal or in this process, not in a machine that swaps.

    RLIMIT_DATA counts memory that can be written and is private. RLIMIT_AS would count the address space that
    CUDA only reserves, hundreds of gigabytes; RLIMIT_RSS does nothing.
    """
    physical_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit_bytes = int(physical_bytes * share)
    if hard == resource.RLIM_INFINITY or limit_bytes < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, hard))
    # Should the kernel have to end a process after all, this one can be replaced.
    with contextlib.suppress(OSError):  # some containers mount /proc read-only
        Path("/proc/self/oom_score_adj").write_text("500")


def _end_with(parent_pid: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold uncloaked photos
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # it died before prctl took effect
        raise SystemExit(1)
