"""What a cluster survives: nodes are killed while small photos go through the service and the tests' tiny engine.

    python -m tests.benchmarks.cluster_storm [--photos 5000] [--nodes 4] [--kill-every 5]

The scheduler is killed and started anew twice. Counts what was lost, published twice, or published uncloaked.
"""

from __future__ import annotations

import argparse
import collections
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # processes import the tests' twins by name

import twins
from cluster_twins import FACTORY, TinyCluster, worker_of
from conftest import DaemonProcess, Home
from faulty import reasons

from daemon.cluster import certificates
from daemon.config.settings import EngineConfig, Settings, UserSettings, WatchSettings


def main() -> None:
    """Run the storm, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=int, default=5000)
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--kill-every", type=float, default=5.0)
    given = parser.parse_args()
    storm(given.photos, given.nodes, given.kill_every)


def storm(count: int, nodes: int, kill_every_s: float) -> None:
    """Kill nodes while photos are cloaked, and count what became of them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        certificates.make(folder / "keys")
        cluster = TinyCluster(folder / "cluster", folder / "keys")
        home = _home(folder, cluster)
        for seed in range(count):
            (home.outbox / f"{seed:05}.jpg").write_bytes(twins.make_photo(seed=seed))
        working = [cluster.start_node(f"node {number}") for number in range(nodes)]
        started = time.monotonic()
        daemon = DaemonProcess(home.settings, folder / "log", factory=FACTORY)
        kills = restarts = 0
        chosen = random.Random(0)
        while _unfinished(home, count):
            time.sleep(kill_every_s)
            kills += _kill_one(working, cluster, chosen)
            if restarts < 2 and len(home.published()) > (restarts + 1) * count / 3:
                cluster.scheduler.kill()
                cluster.scheduler.wait()
                cluster.start_scheduler()
                restarts += 1
        seconds = time.monotonic() - started
        published = home.published()
        uncloaked = [one for one in published if not twins.is_cloaked((home.sync / one).read_bytes())]
        log = collections.Counter(
            line.split("published: ")[1].split(" as ")[0]
            for line in daemon.log.splitlines()
            if " published: " in line
        )
        print(
            f"{len(published)} of {count} published in {seconds:.0f} s, {kills} kills, {restarts} restarts of the "
            f"scheduler; held {len(reasons(home))}, published twice {sum(n > 1 for n in log.values())}, "
            f"uncloaked {len(uncloaked)}"
        )
        print(*reasons(home), sep="\n")
        daemon.process.terminate()
        daemon.process.wait()
        cluster.stop()


def _kill_one(working: list[subprocess.Popen[bytes]], cluster: TinyCluster, chosen: random.Random) -> bool:
    """Kill a node's engine, or the whole node, which is then started again."""
    number = chosen.randrange(len(working))
    node = working[number]
    engine = worker_of(node)
    if engine is not None and chosen.random() < 0.5:
        os.kill(engine, signal.SIGKILL)
    else:
        node.kill()
        node.wait()
        working[number] = cluster.start_node(f"node {number}")
    return True


def _home(folder: Path, cluster: TinyCluster) -> Home:
    outbox, sync = folder / "outbox", folder / "sync"
    outbox.mkdir()
    sync.mkdir()
    settings = Settings(
        state_dir=folder / "state",
        users=(UserSettings(name="ada", outboxes=(outbox,), sync=sync),),
        watch=WatchSettings(settle_s=0.1),
        engine=EngineConfig(device=f"cluster:{cluster.url}", certificates=folder / "keys/coordinator"),
    )
    return Home(outbox, sync, settings)


def _unfinished(home: Home, count: int) -> bool:
    return len(home.published()) + len(reasons(home)) < count


if __name__ == "__main__":
    main()
