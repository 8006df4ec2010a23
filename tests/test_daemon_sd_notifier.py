"""What the service manager hears, on real sockets and from the real daemon."""

from __future__ import annotations

import itertools
import math
import os
import signal
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import DaemonProcess, Home
from service_manager import Manager
from twins import make_photo

from daemon.sd import sockets
from daemon.sd.notifier import Health, Notifier
from daemon.status import status, status_text

Start = Callable[..., DaemonProcess]
Wait = Callable[..., None]
LOADING = Health(engine_ready=False, working=False, progress=0)
IDLE = Health(engine_ready=True, working=False, progress=1)


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return (
        str(tmp_path / "notify")
        if request.param == "path"
        else f"@fawkesd-test-{os.getpid()}-{tmp_path.name}"
    )


@pytest.mark.parametrize("extra", [False, True], ids=["alone", "with systemd-python"])
def test_both_kinds_of_address_are_spoken_to(
    extra: bool, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if extra and find_spec("systemd") is None:
        pytest.skip("the extra `systemd` is not installed, which needs libsystemd-dev")
    if not extra:
        monkeypatch.setattr(sockets, "sd_daemon", None)
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with Manager(address) as manager:
        sockets.notify("READY=1", "STATUS=here")

        assert manager.heard == ["READY=1", "STATUS=here"]


@pytest.mark.parametrize("where", ["", "nowhere", "/no/such/socket"])
def test_nobody_listening_is_no_fault(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", where)

    sockets.notify("READY=1")


def test_without_a_manager_nothing_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)

    assert Notifier(lambda: "fine").step(IDLE, 0.0) == math.inf


def test_a_watchdog_of_another_process_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "3000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert sockets.watchdog_s() == 3.0

    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert sockets.watchdog_s() is None


def test_more_time_is_asked_for_until_the_engine_is_ready(manager: Manager) -> None:
    notifier = Notifier(lambda: "fine")

    assert notifier.step(LOADING, 0.0) == 10.0
    assert notifier.step(LOADING, 5.0) == 10.0
    notifier.step(LOADING, 10.0)
    assert manager.heard == ["EXTEND_TIMEOUT_USEC=60000000", "STATUS=loading the models"] * 2
    notifier.step(IDLE, 11.0)
    assert manager.heard[4:] == ["READY=1", "STATUS=fine"]


def test_a_status_is_told_when_it_changes_and_not_in_bursts(manager: Manager) -> None:
    lines = itertools.chain(["one", "one", "two"], itertools.repeat("three"))
    notifier = Notifier(lambda: next(lines))

    due = [notifier.step(IDLE, now) for now in (0.0, 1.0, 2.0, 4.0, 4.5, 6.0, 9.0)]

    assert manager.heard == ["READY=1", "STATUS=one", "STATUS=two", "STATUS=three"]
    assert due == [2.0, 2.0, math.inf, 6.0, 6.0, 8.0, math.inf]


def test_the_watchdog_is_fed_only_while_every_part_gets_on(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    notifier = Notifier(lambda: "fine")

    def fed(now: float, *, working: bool = True, progress: int) -> bool:
        before = manager.count("WATCHDOG=1")
        notifier.step(Health(True, working, progress), now)
        return manager.count("WATCHDOG=1") > before

    assert fed(0.0, progress=1)
    assert not fed(5.0, progress=2), "it is not due"
    assert fed(10.0, progress=3)
    assert not fed(20.0, progress=3), "the engine made no step"
    assert not fed(21.0, progress=3)
    assert fed(22.0, progress=4)
    assert fed(33.0, working=False, progress=4), "an idle engine makes no steps"


def test_the_daemon_is_ready_with_its_engine_and_tells_the_status_and_the_end(
    manager: Manager, home: Home, start: Start, eventually: Wait
) -> None:
    daemon = start(home.settings)
    eventually(lambda: "READY=1" in manager.heard)
    assert manager.heard[0].startswith("EXTEND_TIMEOUT_USEC=")
    eventually(lambda: "engine ready" in daemon.log)

    (home.outbox / "a.jpg").write_bytes(make_photo())
    eventually(lambda: "published" in daemon.log)
    line = next(iter(status_text.status_lines(status.read(home.settings))))
    eventually(lambda: f"STATUS={line}" in manager.heard)
    assert daemon.stop() == 0
    assert manager.heard[-2] == "STOPPING=1"


def test_an_engine_that_hangs_gets_the_watchdog_no_food(
    manager: Manager, home: Home, start: Start, eventually: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "600000")
    daemon = start(home.settings)
    eventually(lambda: "READY=1" in manager.heard and manager.count("WATCHDOG=1") >= 3)
    os.kill(daemon.engine_pid, signal.SIGSTOP)  # before the photo, which it could be done with by now
    (home.outbox / "a.jpg").write_bytes(make_photo())

    def is_silent() -> bool:
        before = manager.count("WATCHDOG=1")
        time.sleep(1.0)  # five times its interval
        return manager.count("WATCHDOG=1") == before

    eventually(is_silent)
    os.kill(daemon.engine_pid, signal.SIGCONT)
    eventually(lambda: home.published() == ["a.jpg"])
    fed = manager.count("WATCHDOG=1")
    eventually(lambda: manager.count("WATCHDOG=1") > fed)


def test_a_reload_is_told_with_its_time_and_ends_in_ready(
    manager: Manager, home: Home, start: Start, eventually: Wait
) -> None:
    home.write_config()
    daemon = start(home.settings)
    eventually(lambda: manager.count("READY=1") == 1)
    before_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000

    daemon.process.send_signal(signal.SIGHUP)

    eventually(lambda: manager.count("READY=1") == 2)
    heard = manager.heard
    place = heard.index("RELOADING=1")
    assert int(heard[place + 1].removeprefix("MONOTONIC_USEC=")) >= before_us
    assert "READY=1" in heard[place:]
