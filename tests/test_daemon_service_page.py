"""The page as a child of the service: started, started again, ended with it, and handed a socket of systemd."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import DaemonProcess, Home, cmdline
from faulty import states
from pages import Client, signed_in, with_page
from twins import make_photo

from daemon.config import extras
from daemon.doctor import page as doctor
from daemon.sd import sockets
from daemon.service.page import Page

Start = Callable[..., DaemonProcess]
Wait = Callable[[Callable[[], object]], None]
WITHOUT_NETWORK = ("unshare", "--user", "--map-root-user", "--net")
ROOT = Path(__file__).parents[1]
needs_network_namespace = pytest.mark.skipif(
    shutil.which("unshare") is None
    or subprocess.run([*WITHOUT_NETWORK, "true"], check=False, capture_output=True).returncode != 0,
    reason="network namespaces are not allowed here, or there is no util-linux",
)


def answers(client: Client) -> bool:
    try:
        return client.get("/").status == 200
    except OSError:
        return False


def page_pid(daemon: DaemonProcess) -> int | None:
    children = Path(f"/proc/{daemon.process.pid}/task").glob("*/children")
    pids = [int(pid) for file in children for pid in file.read_text().split()]
    return next((pid for pid in pids if b"--with-parent" in cmdline(pid)), None)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGKILL, -9), (signal.SIGTERM, 0)])
def test_the_service_shows_its_page_and_starts_it_again(
    home: Home, start: Start, eventually: Wait, number: signal.Signals, status: int
) -> None:
    paged = with_page(home)
    paged.write_config()
    daemon = start(paged.settings)
    client = signed_in(paged.settings)
    eventually(lambda: answers(client))
    assert f"the web page is at {paged.settings.web.listen}" in daemon.log
    first = page_pid(daemon)
    assert first is not None
    (finding,) = doctor.findings(paged.settings.web, daemon.process.pid)
    assert finding.level.value == "ok"

    os.kill(first, number)

    eventually(lambda: page_pid(daemon) not in {None, first})
    eventually(lambda: answers(client))
    assert f"the web page has ended with status {status};" in daemon.log
    assert daemon.stop() == 0
    assert not answers(client)


def test_the_page_ends_with_a_service_that_is_killed(home: Home, start: Start, eventually: Wait) -> None:
    paged = with_page(home)
    paged.write_config()
    daemon = start(paged.settings)
    client = signed_in(paged.settings)
    eventually(lambda: answers(client))

    daemon.stop(signal.SIGKILL)

    eventually(lambda: not answers(client))


def test_a_port_that_is_taken_does_not_stop_the_service(home: Home, start: Start, eventually: Wait) -> None:
    paged = with_page(home)
    paged.write_config()
    address = paged.settings.web.address
    with socket.create_server((address.host or "", address.port)):
        (finding,) = doctor.findings(paged.settings.web, None)
        assert "another program listens" in finding.message
        daemon = start(paged.settings)
        (home.outbox / "a.jpg").write_bytes(make_photo())
        eventually(lambda: states(home) == ["published"])
        eventually(lambda: "the page cannot listen" in daemon.log)
    client = signed_in(paged.settings)
    eventually(lambda: answers(client))


def test_without_its_packages_the_page_is_left_out(
    home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "uvicorn" else object())
    left_out = Page(["false"], "127.0.0.1:1")

    left_out.start()
    left_out.stop()

    assert "there is no web page: uvicorn is not installed; run `pip install 'fawkesd[web]'`" in caplog.text
    (finding,) = doctor.findings(with_page(home).settings.web, None)
    assert finding.advice == "run `pip install 'fawkesd[web]'`"


def test_doctor_warns_of_a_page_that_others_can_reach(home: Home) -> None:
    stored = f"scrypt:{22 * 'A'}==:{43 * 'A'}="
    findings = list(
        doctor.findings(with_page(home, listen="0.0.0.0:1", password_hash=stored).settings.web, None)
    )

    assert [one.level.value for one in findings] == ["ok", "warning"]
    assert not list(doctor.findings(home.settings.web, None))


@needs_network_namespace
def test_a_page_without_a_network_answers_at_the_socket_of_systemd(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    paged = with_page(home)
    config, address = paged.write_config(), paged.settings.web.address
    with socket.create_server((address.host or "", address.port)) as listener:
        os.set_inheritable(listener.fileno(), True)
        monkeypatch.setattr(sockets, "_FIRST_LISTENER", listener.fileno())
        monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
        monkeypatch.setenv("LISTEN_FDS", "1")
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        command = [sys.executable, "-m", "daemon", "web", "--with-parent", "--config", str(config)]
        shown = Page([*WITHOUT_NETWORK, *command], str(address))
        shown.start()
        try:
            client = signed_in(paged.settings)
            assert (
                client.get("/").status == 200
            )  # waits in the queue of the socket until the page has started
        finally:
            shown.stop()
