"""The messages between the supervisor and an engine process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fawkes_engine import EngineSettings, Protected, Refusal, Request, Step

CLUSTER_FACTORY = "daemon.cluster.engine:make_engine"  # of the engine whose work other machines do
DEFAULT_FACTORY = "daemon.workers.worker:make_engine"  # of the real engine, see EngineSpec
PHOTO_MAX_BYTES = 512 << 20  # the engine could not hold a larger photo in memory
TOO_LARGE = f"larger than {PHOTO_MAX_BYTES >> 20} MiB, too large for the engine; export it smaller"


class AnyEngine(Protocol):
    """The engine interface that the worker needs."""

    @property
    def fingerprint(self) -> str:
        """Differs between engines whose cloaks differ."""

    @property
    def device_name(self) -> str:
        """For display."""

    def warm_up(self) -> None:
        """Load and try out everything that the first photo would otherwise wait for."""

    def protect(
        self, requests: Sequence[Request], *, on_step: Callable[[Step], None] | None = None
    ) -> Iterable[Outcome | Refusal]:
        """One outcome per request, in order; calls on_step as it makes progress, with how far it is."""


class EngineLike(AnyEngine, Protocol):
    """The interface of an engine on this machine; `fawkes_engine.engine.Engine` is the real one."""

    def protect(
        self, requests: Sequence[Request], *, on_step: Callable[[Step], None] | None = None
    ) -> Sequence[Protected | Refusal]:
        """One result per request, in order; calls on_step as it makes progress, with how far it is."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Other machines that do the work.

    scheduler: its address, tls://HOST:PORT. certificates: folder with ca.pem, cert.pem and key.pem of this machine.
    photo_timeout_s: without progress for so long, the engine process is killed.
    """

    scheduler: str
    certificates: Path
    photo_timeout_s: float


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """How to make the engine. factory: "module:function", called with settings, targets_dir and, if set, cluster.

    nice: the least niceness of its process, 0 to 19. engines: how many share the machine's memory.
    """

    factory: str
    settings: EngineSettings
    targets_dir: Path
    nice: int = 0
    engines: int = 1
    cluster: Cluster | None = None


@dataclass(frozen=True, slots=True)
class Ready:
    """The models are loaded. device_name: for `status`, such as "cpu".

    batches: how many usual batches keep it busy; more than one where several machines share the work. It is sent again
    when one of these changes.
    """

    fingerprint: str
    device_name: str
    batches: int = 1


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The engine is making progress with the batch. step: how far it is."""

    step: Step


@dataclass(frozen=True, slots=True)
class Refused:
    """A refusal as sent through the pipe. kind: the class of the Refusal. reason: shown to the photo's owner."""

    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class Deferred:
    """The photo was not worked on, through no fault of its own, such as when no machine of a cluster answers."""

    reason: str


Outcome = Protected | Refused | Deferred


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome for one photo of the batch. index: its place in the batch."""

    index: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Failed:
    """The engine failed; the process exits after this. kind: the class of the error."""

    kind: str
    reason: str


Message = Ready | Heartbeat | Result | Failed  # from the engine process
