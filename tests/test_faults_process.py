"""Faults 17, 18, 27, 34, 38: processes that die anywhere, two of them at once, and very many photos."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from collections import Counter as Tally
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import WITHIN_S, DaemonProcess, Home
from faulty import FACTORY, Counter, Start, Wait, column, having, needs_strace, states
from twins import is_cloaked, make_photo

from daemon.service.run import once

# Everything that changes a disk, as the thread that does all of it calls it.
CALLS = (
    *("openat", "write", "pwrite64", "ftruncate", "fallocate", "fsync", "fdatasync", "mkdir", "mkdirat"),
    *("link", "linkat", "rename", "renameat", "unlink", "unlinkat", "utimensat", "fchmodat", "chmod"),
)


@dataclass(frozen=True, slots=True)
class Kill:
    """One place to die: before the n-th call of a name."""

    call: str
    n: int

    @property
    def strace(self) -> tuple[str, ...]:
        inject = f"inject={self.call}:signal=KILL:when={self.n}"
        return ("strace", "-D", "-qq", "-o", "/dev/null", "-e", f"trace={self.call}", "-e", inject)


def places_to_die(log: Path, home: Path) -> Iterator[Kill]:
    """Every call of a whole run that touched the folders of the test."""
    counts: Tally[str] = Tally()
    for line in log.read_text().splitlines():
        match = re.match(r"(\w+)\(", line)
        if match:
            call = match[1]
            counts[call] += 1
            if str(home) in line:
                yield Kill(call, counts[call])


def prepare(home: Home) -> dict[str, bytes]:
    """Two photos, one of them a second content of what was published before."""
    (home.outbox / "trip").mkdir()
    (home.outbox / "trip" / "a.jpg").write_bytes(make_photo(seed=1))
    once(home.settings, Counter(), FACTORY)
    contents = {"trip/a.jpg": make_photo(seed=2), "b.jpg": make_photo(seed=3)}
    for name, data in contents.items():
        (home.outbox / name).write_bytes(data)
    return contents


def run_until(daemon: DaemonProcess, home: Home, published: int, within_s: float = 2 * WITHIN_S) -> None:
    """Wait until so many photos are published, or the daemon is dead."""
    deadline_s = time.monotonic() + within_s
    while daemon.process.poll() is None and states(home).count("published") < published:
        assert time.monotonic() < deadline_s, daemon.log
        time.sleep(0.02)


def check(home: Home, contents: dict[str, bytes], *, is_over: bool) -> None:
    """Nothing uncloaked, nothing foreign, nothing lost, nothing twice, no original changed."""
    for name in home.published():
        assert is_cloaked((home.sync / name).read_bytes())
    assert set(home.published()) <= set(contents)
    for name, data in contents.items():
        assert (home.outbox / name).read_bytes() == data
    if is_over:
        assert home.published() == sorted(contents)
        assert len({(home.sync / name).read_bytes() for name in contents}) == len(contents)
        staging = home.sync.parent / f".fawkesd-staging-{home.sync.name}"
        assert [path.name for path in staging.iterdir()] == ["lock"]


def a_home(home: Home, root: Path) -> Home:
    """The same home in a directory of its own."""
    text = home.settings.model_dump_json().replace(str(home.outbox.parent), str(root))
    outbox, sync = root / "outbox", root / "sync"
    outbox.mkdir(parents=True)
    sync.mkdir()
    return Home(outbox, sync, type(home.settings).model_validate_json(text))


def recorded(home: Home, root: Path, start: Start) -> list[Kill]:
    """The places to die, from one run that lives."""
    alive = a_home(home, root / "alive")
    prepare(alive)
    log = root / "calls"
    strace = ("strace", "-D", "-qq", "-y", "-s", "0", "-o", str(log), "-e", f"trace=?{',?'.join(CALLS)}")
    daemon = start(alive.settings, under=strace)
    run_until(daemon, alive, published=2)
    daemon.process.kill()
    daemon.process.wait()
    return list(places_to_die(log, alive.outbox.parent))


def die_at(kill: Kill, home: Home, start: Start) -> bool:
    """Run into the kill, then run again; whether the kill happened."""
    contents = prepare(home)
    daemon = start(home.settings, under=kill.strace)
    run_until(daemon, home, published=2)
    was_killed = daemon.process.poll() is not None
    daemon.process.kill()
    daemon.process.wait()
    check(home, contents, is_over=False)
    once(home.settings, Counter(), FACTORY)
    check(home, contents, is_over=True)
    return was_killed


@needs_strace
def test_fault_17_and_fault_18_a_kill_at_the_calls_of_publishing_costs_nothing(
    home: Home, start: Start, tmp_path: Path
) -> None:
    kills = recorded(home, tmp_path, start)
    publishing = [kill for kill in kills if kill.call in {"linkat", "link", "rename", "renameat"}]
    assert len(publishing) >= 2
    for kill in publishing[-3:]:
        assert die_at(kill, a_home(home, tmp_path / f"{kill.call}-{kill.n}"), start)


@needs_strace
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_fault_17_a_kill_before_any_call_that_touches_a_disk_costs_nothing(
    home: Home, start: Start, tmp_path: Path
) -> None:
    killed = 0
    for kill in recorded(home, tmp_path, start):
        root = tmp_path / f"{kill.call}-{kill.n}"
        killed += die_at(kill, a_home(home, root), start)
        shutil.rmtree(root)
    print(f"{killed} kills survived")
    assert killed > 50


def test_fault_18_a_kill_between_the_link_and_the_ledger_publishes_no_second_time(
    home: Home, start: Start, eventually: Wait
) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())
    # The first two links are trials at the start. The service is held as it comes back from the photo's, and killed.
    program = ("strace", "-D", "-qq", "-o", "/dev/null", "-e", "trace=linkat", "-e")
    daemon = start(home.settings, under=(*program, "inject=linkat:delay_exit=4000000:when=3"))
    eventually(lambda: home.published() == ["a.jpg"])
    inode = (home.sync / "a.jpg").stat().st_ino
    daemon.stop(signal.SIGKILL)
    assert states(home) == ["publishing"]

    result = once(home.settings, Counter(), FACTORY)

    assert (result.published, states(home)) == (1, ["published"])
    assert (home.sync / "a.jpg").stat().st_ino == inode


def memory_kib(pid: int) -> int:
    match = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert match
    return int(match[1])


def processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_fault_27_a_backlog_of_50000_photos_needs_little_memory_and_no_processor_when_idle(
    home: Home, start: Start, eventually: Wait, tmp_path: Path
) -> None:
    photo = make_photo()
    (home.outbox / ".backlog").mkdir()
    for number in range(50_000):
        (home.outbox / ".backlog" / f"{number}.jpg").write_bytes(photo + str(number).encode())
    daemon = start(having(home, rescan_s=3600.0), finish_s=None)  # what an installed service costs
    eventually(lambda: "engine ready" in daemon.log)
    away = home.sync.rename(tmp_path / "away")  # nobody can publish: all of them wait
    eventually(lambda: "paused" in daemon.log)
    begun_s = time.monotonic()
    (home.outbox / ".backlog").rename(home.outbox / "backlog")
    eventually(lambda: column(home, "CAST(count(*) AS TEXT)", "state = 'ready'") == ["50000"], within_s=300)
    took_s = time.monotonic() - begun_s
    before_s = processor_s(daemon.process.pid)
    time.sleep(10.0)  # the subject of the test is what happens while nothing does
    idle = (processor_s(daemon.process.pid) - before_s) / 10
    away.rename(home.sync)
    eventually(lambda: len(home.published()) >= 500, within_s=120)
    memory_mib = memory_kib(daemon.process.pid) / 1024
    print(f"admitted in {took_s:.0f} s, {memory_mib:.0f} MiB, {100 * idle:.1f} % of a core when idle")

    assert memory_mib < 200
    assert idle < 0.02


def test_fault_34_a_second_daemon_says_who_runs(
    home: Home, start: Start, eventually: Wait, tmp_path: Path
) -> None:
    first = start(home.settings)
    eventually(lambda: "engine ready" in first.log)

    same_state = start(home.settings)
    same_sync = start(home.settings.model_copy(update={"state_dir": tmp_path / "other"}))

    assert (same_state.process.wait(WITHIN_S), same_sync.process.wait(WITHIN_S)) == (75, 75)
    assert f"process {first.process.pid}" in same_state.log
    assert f"process {first.process.pid}" in same_sync.log
