"""What a cluster gains and costs, on loopback, with each node pinned to a core.

    python -m tests.benchmarks.cluster --data DIR/faces/users [--photos 48] [--mode standard]

The same photos of four people, who were met before, go through one local engine of one thread, one node of one thread,
and two. The local engine and the first node are pinned to core 0, the second node to core 1; coordinator and scheduler
run where there is room. They take turns, 64 photos each, in batches as the service gives them. Loading is not counted.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # processes import the tests' twins by name

import psutil
from cluster_twins import free_port

from daemon.cluster import certificates
from daemon.config.settings import EngineConfig
from daemon.workers.protocol import AnyEngine, Cluster
from daemon.workers.worker import make_engine
from fawkes_engine import EngineSettings, ModeName, Protected, Request

FAWKESD = [sys.executable, "-m", "daemon"]
PEOPLE = 4  # a family, each of them a user
TOGETHER = 64  # photos, before it is the next one's turn
BATCH = EngineConfig().batch_photos  # of one local engine


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--photos", type=int, default=64)
    parser.add_argument("--mode", default="standard")
    given = parser.parse_args()
    speed(given.data, given.photos, given.mode)


def speed(data: Path, count: int, mode: ModeName) -> None:
    """Photos a minute of a local engine, of one node and of two, in turns, since a machine's speed changes."""
    requests = photos_of_a_family(data)[: count + PEOPLE]
    settings = EngineConfig(mode=mode, device="cpu", threads=1).to_engine()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        certificates.make(folder / "keys")
        with on_core(0):
            local = make_engine(settings, folder / "0" / "targets")
            list(local.protect(requests[:PEOPLE]))
        contestants = [Contestant("one local engine", local, [])]
        for cores in ((0,), (0, 1)):
            mine = folder / f"{len(cores)}"
            shutil.copytree(folder / "0", mine)  # all begin with the same people, and so with the same work
            remote, others = stack.enter_context(
                remote_engine(cores, folder, mine / "targets", settings, mode)
            )
            list(remote.protect(requests[:PEOPLE]))
            contestants.append(Contestant(f"{len(cores)} node(s)", remote, others))
        for start in range(PEOPLE, len(requests), TOGETHER):
            for one in contestants:
                with on_core(0) if one.engine is local else contextlib.nullcontext():
                    one.cloak(requests[start : start + TOGETHER])
        for one in contestants:
            print(f"{one}; {contestants[0].seconds / one.seconds:.2f} times the local engine")


@contextlib.contextmanager
def on_core(core: int) -> Iterator[None]:
    """Context manager: this thread stays on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    yield
    os.sched_setaffinity(0, before)


@contextlib.contextmanager
def remote_engine(
    cores: Sequence[int], folder: Path, targets: Path, settings: EngineSettings, mode: ModeName
) -> Iterator[tuple[AnyEngine, list[subprocess.Popen[bytes]]]]:
    """Context manager: the engine of a cluster with a node on each of these cores, and its processes."""
    from daemon.cluster.engine import make_engine as make_remote

    url = f"tls://127.0.0.1:{free_port()}"
    cluster = Cluster(url, folder / "keys" / "coordinator", 900.0)
    with scheduler_at(url, folder) as scheduler, nodes_on(cores, url, folder, mode) as nodes:
        remote = make_remote(settings, targets, cluster)
        remote.warm_up()
        while remote.batches < 4 * len(cores):
            time.sleep(0.5)
        yield remote, [scheduler, *nodes]
        remote.close()


@dataclass(slots=True)
class Contestant:
    """An engine and what it has done. others: processes that work for it. cpu: seconds here, and in those."""

    name: str
    engine: AnyEngine
    others: Sequence[subprocess.Popen[bytes]]
    photos: int = 0
    protected: int = 0
    seconds: float = 0.0
    cpu: tuple[float, float] = (0.0, 0.0)

    def cloak(self, requests: Sequence[Request]) -> None:
        """Cloak some photos, and print which are not protected."""
        started, busy, theirs = time.perf_counter(), _cpu_seconds(), _in_children(self.others)
        size = BATCH * getattr(self.engine, "batches", 1)
        batches = (requests[start : start + size] for start in range(0, len(requests), size))
        results = [result for batch in batches for result in self.engine.protect(batch)]
        self.seconds += time.perf_counter() - started
        here, there = self.cpu
        self.cpu = here + _cpu_seconds() - busy, there + _in_children(self.others) - theirs
        self.photos += len(results)
        for result in results:
            self.protected += isinstance(result, Protected)
            if not isinstance(result, Protected):
                print(f"  {self.name}: {getattr(result, 'reason', result)}", flush=True)

    def __str__(self) -> str:
        here, there = (seconds / self.photos for seconds in self.cpu)
        return (
            f"{self.name}: {60 * self.photos / self.seconds:.1f} photos/min, {self.protected} of {self.photos} "
            f"protected; CPU seconds a photo: {here:.2f} here, {there:.2f} in scheduler and nodes"
        )


def photos_of_a_family(data: Path) -> list[Request]:
    """Photos of the first people of a folder, in turns; each of them is a user."""
    family = [person for person in sorted(data.iterdir()) if person.is_dir()][:PEOPLE]
    by_person = [
        [Request(photo.read_bytes(), person.name.lower()) for photo in sorted(person.glob("*.jpg"))]
        for person in family
    ]
    return [request for several in zip(*by_person, strict=False) for request in several]


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _in_children(processes: Sequence[subprocess.Popen[bytes]]) -> float:
    """CPU seconds of processes and of what they have started."""
    family = [one for process in processes for one in _family(psutil.Process(process.pid))]
    return float(sum(one.cpu_times().user + one.cpu_times().system for one in family))


def _family(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


@contextlib.contextmanager
def scheduler_at(url: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Context manager: a scheduler."""
    command = [
        *FAWKESD,
        "cluster",
        "scheduler",
        "--listen",
        url,
        "--certificates",
        str(folder / "keys/scheduler"),
    ]
    with (folder / "scheduler.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    yield process
    process.terminate()
    process.wait()


@contextlib.contextmanager
def nodes_on(
    cores: Sequence[int], url: str, folder: Path, mode: str
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Context manager: a node of one thread on each of these cores."""
    options = [
        "--certificates",
        str(folder / "keys/node"),
        "--mode",
        mode,
        "--device",
        "cpu",
        "--threads",
        "1",
    ]
    started = []
    for core in cores:
        command = ["taskset", "-c", str(core), *FAWKESD, "node", "--scheduler", url, *options]
        with (folder / "node.log").open("ab") as log:
            started.append(subprocess.Popen(command, stdout=log, stderr=log))
    yield started
    for process in started:
        process.terminate()
    for process in started:
        process.wait()


if __name__ == "__main__":
    main()
