"""What the service costs at rest, and its latency to start: the real daemon with the real engine.

    python -m tests.benchmarks.residency --idle 60

It is started in a temporary folder. Then: nothing for --idle seconds, a photo, nothing until the engine is unloaded,
nothing for --idle seconds, and a photo again. The photos are NASA's portrait of Eileen Collins, 272 x 288 px. Processor
time is printed beside wall time, which on a busy machine says little.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' own helpers

from engine_pictures import encoded, portrait

from daemon.config.loader import load
from daemon.config.settings import Settings
from daemon.state import facts
from daemon.status import status

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PATIENCE_S = 300.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--idle", type=float, default=60.0, help="seconds of doing nothing")
    idle_s = parser.parse_args().idle
    with tempfile.TemporaryDirectory() as folder:
        settings = configured(Path(folder), unload_s=idle_s + 10)
        started_s = time.monotonic()
        with service(Path(folder)) as supervisor:
            wait_for(lambda: is_loaded(settings))
            took_s, used_s = time.monotonic() - started_s, sum(cpu_s(supervisor).values())
            engine = status.read(settings).engine
            print(f"start until ready: {took_s:.1f} s ({used_s:.1f} s of processor time); {engine}")
            rest(supervisor, idle_s, "before the first photo")
            put_photo(settings, supervisor, "first.jpg")
            put_photo(settings, supervisor, "second.jpg")
            print(f"memory after them: {memory(supervisor)}")
            wait_for(lambda: status.read(settings).engine == facts.UNLOADED)
            rest(supervisor, idle_s, "engine unloaded")
            put_photo(settings, supervisor, "third.jpg")


def configured(folder: Path, unload_s: float) -> Settings:
    """Write a configuration with one person's folders; the engine is unloaded after the given time."""
    for name in ("outbox", "sync"):
        (folder / name).mkdir()
    config = {
        "state_dir": "state",
        "users": [{"name": "somebody", "outboxes": ["outbox"], "sync": "sync"}],
        "engine": {"idle_unload_s": unload_s},
    }
    path = folder / "fawkesd.yaml"
    path.write_text(json.dumps(config))
    return load(path)


@contextmanager
def service(folder: Path) -> Iterator[int]:
    """Run the service for the time of a with block; yields its process id."""
    process = subprocess.Popen(
        [sys.executable, "-m", "daemon", "run", "--config", str(folder / "fawkesd.yaml")],
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def is_loaded(settings: Settings) -> bool:
    """Whether an engine is ready: at that moment systemd hears READY=1."""
    return " on " in status.read(settings).engine


def rest(supervisor: int, seconds: float, when: str) -> None:
    """Print what the service takes while it does nothing."""
    print(f"memory, {when}: {memory(supervisor)}")
    before = cpu_s(supervisor)
    time.sleep(seconds)
    used_s = {name: used - before[name] for name, used in cpu_s(supervisor).items()}
    shares = ", ".join(f"{name} {used / seconds:.2%}" for name, used in used_s.items())
    print(f"of a core, in {seconds:.0f} s, {when}: {shares}")


def put_photo(settings: Settings, supervisor: int, name: str) -> None:
    """Put a photo into the outbox; prints when an engine is ready for it, and when its copy is in the sync folder."""
    (user,) = settings.users
    was_loaded = is_loaded(settings)
    started_s, before_s = time.monotonic(), sum(cpu_s(supervisor).values())
    (user.outboxes[0] / name).write_bytes(encoded(portrait(), "JPEG"))
    wait_for(lambda: is_loaded(settings))
    loaded_s = time.monotonic() - started_s
    wait_for((user.sync / name).exists)
    published_s = time.monotonic() - started_s
    engine = "loaded" if was_loaded else f"unloaded, there again after {loaded_s:.1f} s"
    used_s = sum(cpu_s(supervisor).values()) - before_s
    print(
        f"a photo (engine {engine}): published after {published_s:.1f} s ({used_s:.1f} s of processor time)"
    )


def memory(supervisor: int) -> str:
    """Resident memory of each process, and how much of it is not shared with other processes."""
    told = []
    for name, pid in processes(supervisor).items():
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        mib = {line.partition(":")[0]: int(line.split()[1]) >> 10 for line in lines if line.endswith(" kB")}
        own = mib["Private_Clean"] + mib["Private_Dirty"]
        told.append(f"{name} {mib['Rss']} MiB ({own} its own)")
    return ", ".join(told)


def cpu_s(supervisor: int) -> dict[str, float]:
    """Processor seconds of each process so far."""
    used = {}
    for name, pid in processes(supervisor).items():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        used[name] = (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
    return used


def processes(supervisor: int) -> dict[str, int]:
    """Every process of the service, by its role."""
    found = {"supervisor": supervisor}
    for pid in Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split():
        is_engine = b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
        found["engine" if is_engine else "resource tracker"] = int(pid)
    return found


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    deadline_s = time.monotonic() + _PATIENCE_S
    while not condition():
        if time.monotonic() > deadline_s:
            raise TimeoutError("it did not come to that; see what the service says without this script")
        time.sleep(0.05)


if __name__ == "__main__":
    main()
