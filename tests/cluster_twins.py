"""A tiny cluster: scheduler and nodes as processes on loopback, with the engine of `twins` that needs no torch."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from twins import TinyEngine, any_target, is_cloaked, make_photo, moved_toward

from daemon.cluster.work import NodeEngine
from daemon.state.targets import FileTargetStore
from daemon.workers.protocol import Cluster
from fawkes_engine import EngineSettings, Protected, Refusal, Request, Step, TargetStore
from fawkes_engine.identity.people import People
from fawkes_engine.identity.targets import Pool
from fawkes_engine.weights.catalog import ALWAYS_THERE as KNOWN_BY

TESTS = Path(__file__).parent
FACTORY = "cluster_twins:make_remote_engine"
PATIENCE_S = 5.0


class TinyNodeEngine(TinyEngine):
    """Moves each photo toward its user's target in the snapshot, and says so."""

    def __init__(self, targets: TargetStore, hold: Path) -> None:
        super().__init__(hold)
        self._targets = targets

    def protect(
        self, requests: Sequence[Request], *, on_step: Callable[[Step], None] | None = None
    ) -> list[Protected | Refusal]:
        results = super().protect(requests, on_step=on_step)
        return [self._moved(one, result) for one, result in zip(requests, results, strict=True)]

    def _moved(self, request: Request, result: Protected | Refusal) -> Protected | Refusal:
        target = self._targets.get(request.user)
        assert target is not None, "the coordinator meets users"
        return moved_toward(target.identity, request.user, result)


def as_it_came(request: Request, result: Protected) -> Protected:
    """The photo itself, with the report of a result."""
    return dataclasses.replace(result, data=request.data, sha256=hashlib.sha256(request.data).hexdigest())


class OtherEngine(TinyNodeEngine):
    """An engine whose cloaks differ."""

    fingerprint = "tiny-2"


class DishonestEngine(TinyNodeEngine):
    """Returns the photo as it came, with a good report."""

    def protect(
        self, requests: Sequence[Request], *, on_step: Callable[[Step], None] | None = None
    ) -> list[Protected | Refusal]:
        results = super().protect(requests, on_step=on_step)
        return [
            as_it_came(one, result) if isinstance(result, Protected) else result
            for one, result in zip(requests, results, strict=True)
        ]


class ForgetfulEngine(TinyNodeEngine):
    """Returns each photo as it came at first, and cloaks it the second time."""

    def __init__(self, targets: TargetStore, hold: Path) -> None:
        super().__init__(targets, hold)
        self._seen: set[bytes] = set()

    def _moved(self, request: Request, result: Protected | Refusal) -> Protected | Refusal:
        moved = super()._moved(request, result)
        if request.data in self._seen or not isinstance(moved, Protected):
            return moved
        self._seen.add(request.data)
        return as_it_came(request, moved)


class MeetingEngine(TinyNodeEngine):
    """Sees the same stranger in each photo, a little different each time, and meets people as the real engine does."""

    def __init__(self, targets: TargetStore, hold: Path) -> None:
        super().__init__(targets, hold)
        self.people = People(targets, Pool.load())

    def _moved(self, _request: Request, result: Protected | Refusal) -> Protected | Refusal:
        if isinstance(result, Refusal):
            return result
        noise = np.random.default_rng(list(result.data[-64:])).normal(0, 0.03, 128)
        face = np.ones(128) / np.sqrt(128) + noise
        seen = {KNOWN_BY: (face / np.linalg.norm(face)).astype(np.float32)}
        with self.people.up_to_date():
            person = self.people.know(seen) or self.people.meet_stranger(seen, result.data)
            target = self.people.target(person)
        assert target is not None
        return moved_toward(target.identity, person, result)


def make_node_engine(settings: EngineSettings, targets: TargetStore) -> NodeEngine:
    return _of(TinyNodeEngine(targets, hold_of(settings)))


def make_other_engine(settings: EngineSettings, targets: TargetStore) -> NodeEngine:
    return _of(OtherEngine(targets, hold_of(settings)))


def make_dishonest_engine(settings: EngineSettings, targets: TargetStore) -> NodeEngine:
    return _of(DishonestEngine(targets, hold_of(settings)))


def make_forgetful_engine(settings: EngineSettings, targets: TargetStore) -> NodeEngine:
    return _of(ForgetfulEngine(targets, hold_of(settings)))


def make_meeting_engine(settings: EngineSettings, targets: TargetStore) -> NodeEngine:
    engine = MeetingEngine(targets, hold_of(settings))
    return NodeEngine(engine, engine.people.reload)


def _of(engine: TinyNodeEngine) -> NodeEngine:
    return NodeEngine(engine, lambda: None)


def hold_of(settings: EngineSettings) -> Path:
    """The file that holds the engines of a node."""
    assert settings.models_dir is not None
    return settings.models_dir / "hold"


class TinyChecker:
    """Knows a cloaked photo of the tiny engine by its colour."""

    def __init__(self, targets: FileTargetStore) -> None:
        self._targets = targets

    def meet(self, requests: Sequence[Request]) -> None:
        for user in {request.user for request in requests}:
            if self._targets.get(user) is None:
                self._targets.add(user, any_target())

    def objection(self, request: Request, returned: Protected) -> str | None:
        return None if is_cloaked(returned.data) else "a face in it is not cloaked"


def make_remote_engine(_settings: EngineSettings, targets_dir: Path, cluster: Cluster) -> Any:
    from daemon.cluster.engine import RemoteEngine

    targets = FileTargetStore(targets_dir)
    return RemoteEngine(
        cluster, targets, targets_dir.parent, TinyChecker(targets), TinyEngine.fingerprint, PATIENCE_S
    )


NODE_PROGRAM = """
import sys, logging
from pathlib import Path
from daemon.cluster import node
from daemon.cluster.work import NodeSpec
from fawkes_engine import EngineSettings
if __name__ == "__main__":
    url, certificates, folder, factory, fingerprint, name = sys.argv[1:]
    logging.basicConfig(level=logging.INFO)
    spec = NodeSpec(name, EngineSettings(device="cpu", models_dir=Path(folder)), fingerprint, factory)
    node.serve(url, Path(certificates), [spec])
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class TinyCluster:
    """A scheduler and nodes. log: what they write."""

    def __init__(self, folder: Path, certificates: Path, scheme: str = "tls") -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.certificates = certificates
        self.url = f"{scheme}://127.0.0.1:{free_port()}"
        self.hold = folder / "hold"
        self.log_path = folder / "log"
        self._program = folder / "node.py"  # a file, since worker processes import it again
        self._program.write_text(NODE_PROGRAM)
        self._started: list[subprocess.Popen[bytes]] = []
        self.scheduler = self.start_scheduler()

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def start_scheduler(self) -> subprocess.Popen[bytes]:
        listen = ["cluster", "scheduler", "--listen", self.url]
        mine = ["--certificates", str(self.certificates / "scheduler")]
        self.scheduler = self._start([sys.executable, "-m", "daemon", *listen, *mine])
        return self.scheduler

    def start_node(
        self,
        name: str = "first",
        factory: str = "cluster_twins:make_node_engine",
        fingerprint: str = TinyEngine.fingerprint,
    ) -> subprocess.Popen[bytes]:
        arguments = [self.url, self.certificates / "node", self.folder, factory, fingerprint, name]
        return self._start([sys.executable, str(self._program), *map(str, arguments)])

    def _start(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        # nodes that are killed leave their folders
        environment = {**os.environ, "PYTHONPATH": f"{TESTS.parent}:{TESTS}", "TMPDIR": str(self.folder)}
        with self.log_path.open("ab") as log:
            started = subprocess.Popen(command, env=environment, stderr=log, stdout=log)
        self._started.append(started)
        return started

    def stop(self) -> None:
        for one in self._started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGCONT)
                one.kill()
            one.wait()


@contextlib.contextmanager
def tiny_cluster(folder: Path, certificates: Path) -> Iterator[TinyCluster]:
    """Context manager: a cluster with no node yet; what is left of it is killed."""
    cluster = TinyCluster(folder, certificates)
    try:
        yield cluster
    finally:
        cluster.stop()


def worker_of(node: subprocess.Popen[bytes]) -> int | None:
    """The process that holds a node's engine, if there is one."""
    for listed in Path(f"/proc/{node.pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for pid in listed.read_text().split():
                if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return int(pid)
    return None


def photos(count: int) -> list[bytes]:
    return [make_photo(seed=seed) for seed in range(count)]


def ended(pid: int) -> bool:
    """Whether a process is gone, or only waits for somebody to ask how it ended."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
