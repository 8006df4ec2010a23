"""A service that is killed anywhere between review and recall: nothing unapproved is out, nothing decided is lost."""

from __future__ import annotations

import shutil
import signal
import time
from pathlib import Path

import pytest
from conftest import WITHIN_S, DaemonProcess, Home
from faulty import FACTORY, Counter, Start, needs_strace, states
from test_daemon_service_review import fawkesd, reviewing
from test_faults_process import CALLS, Kill, a_home, places_to_die
from twins import is_cloaked, make_photo

from daemon.service.run import once

APPROVED, REJECTED = "trip/a.jpg", "b.jpg"


def run_until(daemon: DaemonProcess, home: Home, wanted: list[str]) -> None:
    """Wait until the photos have these states, or the daemon is dead."""
    deadline_s = time.monotonic() + 2 * WITHIN_S
    while daemon.process.poll() is None and sorted(states(home)) != wanted:
        assert time.monotonic() < deadline_s, daemon.log
        time.sleep(0.02)


def check(home: Home) -> None:
    """Nothing is out but the approved photo, cloaked."""
    assert home.published() in ([], [APPROVED])
    for name in home.published():
        assert is_cloaked((home.sync / name).read_bytes())


def decide(home: Home, daemon: DaemonProcess) -> None:
    """One photo is approved and then recalled, the other rejected; the daemon may die at any moment of it."""
    run_until(daemon, home, ["review", "review"])
    assert home.published() == []
    fawkesd(home, "approve", home.outbox / APPROVED)
    fawkesd(home, "reject", home.outbox / REJECTED)
    run_until(daemon, home, ["published", "rejected"])
    check(home)
    fawkesd(home, "recall", home.outbox / APPROVED)
    run_until(daemon, home, ["recalled", "rejected"])
    check(home)


def prepare(home: Home) -> None:
    (home.outbox / "trip").mkdir()
    (home.outbox / APPROVED).write_bytes(make_photo(seed=1))
    (home.outbox / REJECTED).write_bytes(make_photo(seed=2))


def finish(home: Home) -> None:
    """Whatever was decided before the kill holds, and what was not is decided now."""
    once(home.settings, Counter(), FACTORY)
    check(home)
    if "review" in states(home):
        fawkesd(home, "approve", home.outbox / APPROVED)
        fawkesd(home, "reject", home.outbox / REJECTED)
        once(home.settings, Counter(), FACTORY)
    fawkesd(home, "recall", home.outbox / APPROVED)
    once(home.settings, Counter(), FACTORY)
    assert (sorted(states(home)), home.published()) == (["recalled", "rejected"], [])
    assert [path.name for path in home.settings.users[0].staging_dir.iterdir()] == ["lock"]


def recorded(home: Home, root: Path, start: Start) -> list[Kill]:
    """The places to die, from one run that lives."""
    alive = reviewing(a_home(home, root / "alive"))
    prepare(alive)
    log = root / "calls"
    strace = ("strace", "-D", "-qq", "-y", "-s", "0", "-o", str(log), "-e", f"trace=?{',?'.join(CALLS)}")
    daemon = start(alive.settings, under=strace)
    decide(alive, daemon)
    daemon.stop(signal.SIGKILL)
    return list(places_to_die(log, alive.outbox.parent))


def die_at(kill: Kill, home: Home, start: Start) -> bool:
    """Run into the kill, then run again; whether the kill happened."""
    prepare(home)
    daemon = start(home.settings, under=kill.strace)
    decide(home, daemon)
    was_killed = daemon.process.poll() is not None
    daemon.process.kill()
    daemon.process.wait()
    check(home)
    finish(home)
    return was_killed


@needs_strace
def test_a_kill_at_the_calls_of_review_publishing_and_recall_loses_no_decision(
    home: Home, start: Start, tmp_path: Path
) -> None:
    kills = recorded(home, tmp_path, start)
    kept = [kill for kill in kills if kill.call in {"rename", "renameat", "renameat2"}][-1]
    published = [kill for kill in kills if kill.call in {"link", "linkat"}][-1]
    removed = [kill for kill in kills if kill.call == "unlinkat"][-1]
    for kill in (kept, published, removed):
        assert die_at(kill, reviewing(a_home(home, tmp_path / f"{kill.call}-{kill.n}")), start), kill


@needs_strace
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_kill_before_every_fourth_call_that_touches_a_disk_loses_no_decision(
    home: Home, start: Start, tmp_path: Path
) -> None:
    killed = 0
    for kill in recorded(home, tmp_path, start)[::4]:  # all of them take longer than a release should wait
        root = tmp_path / f"{kill.call}-{kill.n}"
        killed += die_at(kill, reviewing(a_home(home, root)), start)
        shutil.rmtree(root)
    print(f"{killed} kills survived")
    assert killed > 10
