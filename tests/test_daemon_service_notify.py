"""Notifications through the real Apprise to a real HTTP server of this machine."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace as replaced
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from conftest import Home
from faulty import FACTORY, Counter
from hypothesis import given
from hypothesis import strategies as st
from twins import Deed, make_photo
from web import serving

from daemon.cli.main import run_command
from daemon.config.settings import NotifySettings
from daemon.exits import Exit
from daemon.service import notify
from daemon.service.desktop import Situation
from daemon.service.run import once

# Apprise imports it where there is one
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

SECRET = "pa55word"


class Server:
    """Takes what Apprise's json:// posts. status: what it answers."""

    def __init__(self) -> None:
        self.status = 200
        self.messages: list[dict[str, str]] = []
        taken = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                taken.messages.append(json.loads(body))
                self.send_response(taken.status)
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                return

        self.http = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://ada:{SECRET}@127.0.0.1:{self.http.server_address[1]}/"


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    with serving(server.http):
        yield server


@pytest.fixture
def told(home: Home, server: Server, tmp_path: Path) -> Home:
    """A home whose person is told through the server."""
    pytest.importorskip("apprise")
    urls = tmp_path / "notify-urls"
    urls.write_text(f"# my server\n\n{server.url}\n")
    urls.chmod(0o600)
    settings = home.settings.model_copy(update={"notify": NotifySettings(urls_file=urls)})
    return replaced(home, settings=settings)


def nobody_listens() -> str:
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        return f"json://ada:{SECRET}@127.0.0.1:{free.getsockname()[1]}/"


def test_a_held_photo_is_told_once_without_its_name(told: Home, server: Server) -> None:
    (told.outbox / "earlier.jpg").write_bytes(make_photo(Deed.REFUSE))
    once(told.settings, Counter(), FACTORY)
    assert notify.notify(told.settings, 1000.0) == []  # held before anybody asked
    for number in range(2):
        (told.outbox / f"party {number}.jpg").write_bytes(make_photo(Deed.REFUSE, seed=number))
    once(told.settings, Counter(), FACTORY)

    assert notify.notify(told.settings, 2000.0) == ["2 more held: `fawkesd status` shows why"]
    assert notify.notify(told.settings, 3000.0) == []

    (message,) = server.messages
    assert (message["title"], message["message"]) == ("fawkesd", "2 more held: `fawkesd status` shows why")
    assert not any(word in json.dumps(message) for word in ("party", str(told.outbox.parent), SECRET))


def test_messages_come_five_minutes_apart_and_lose_nothing(told: Home, server: Server) -> None:
    notify.notify(told.settings, 0.0)
    for number, now in enumerate((1000.0, 1100.0, 1200.0)):
        (told.outbox / f"{number}.jpg").write_bytes(make_photo(Deed.REFUSE, seed=number))
        once(told.settings, Counter(), FACTORY)
        notify.notify(told.settings, now)
    assert [message["message"][:6] for message in server.messages] == ["1 more"]

    notify.notify(told.settings, 1300.0)
    assert [message["message"][:6] for message in server.messages] == ["1 more", "2 more"]


def test_what_no_server_took_is_told_by_the_next_call(
    told: Home, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    notify.notify(told.settings, 0.0)
    (told.outbox / "a.jpg").write_bytes(make_photo(Deed.REFUSE))
    once(told.settings, Counter(), FACTORY)
    capsys.readouterr()
    config = str(told.write_config())

    server.status = 500
    assert run_command(["notify", "--config", config]) == Exit.UNAVAILABLE
    said = capsys.readouterr()
    assert "no message got through to line 3 of" in said.err
    assert SECRET not in said.out + said.err

    server.status = 200
    assert run_command(["notify", "--config", config]) == Exit.OK
    assert capsys.readouterr() == ("", "")
    assert run_command(["notify", "--config", config]) == Exit.OK
    assert len(server.messages) == 2


def test_one_server_that_is_down_keeps_no_message_from_the_others_and_repeats_none(
    told: Home, server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    urls = told.settings.notify.urls_file
    assert urls is not None
    urls.write_text(f"{nobody_listens()}\nnonsense {SECRET}\n{server.url}\n")
    notify.notify(told.settings, 0.0)
    (told.outbox / "a.jpg").write_bytes(make_photo(Deed.REFUSE))
    once(told.settings, Counter(), FACTORY)
    config = str(told.write_config())

    assert run_command(["notify", "--config", config]) == Exit.UNAVAILABLE
    assert run_command(["notify", "--config", config]) == Exit.OK

    assert len(server.messages) == 1
    said = capfd.readouterr()
    assert "line 1, 2 of" in said.err
    assert SECRET not in said.out + said.err


def test_a_pause_is_told_without_its_reason_and_only_while_somebody_looks(
    told: Home, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    notify.notify(told.settings, 0.0)
    paused = Situation(paused={"ada": ""})
    monkeypatch.setattr(notify, "_situation", lambda _settings, _told: paused)
    assert notify.notify(told.settings, 1000.0) == ["ada: paused: `fawkesd status` shows why"]
    monkeypatch.undo()

    assert notify.notify(told.settings, 2000.0) == []  # the service is stopped: nothing is known
    monkeypatch.setattr(notify, "_situation", lambda _settings, _told: Situation())
    assert notify.notify(told.settings, 3000.0) == ["ada: publishing again"]


def test_the_end_of_a_backlog_is_told(told: Home, server: Server) -> None:
    notify.notify(told.settings, 0.0)
    for number in range(10):
        (told.outbox / f"{number}.jpg").write_bytes(make_photo(seed=number))
    waiting = Situation(waiting=10)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(notify, "_situation", lambda _settings, _told: waiting)
        assert notify.notify(told.settings, 1000.0) == []
    once(told.settings, Counter(), FACTORY)

    assert notify.notify(told.settings, 2000.0) == ["No more photos are waiting"]
    assert notify.notify(told.settings, 3000.0) == []


@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [
        (f"json://ada:{SECRET}@h\n".encode(), 0o644, "others can open"),
        (b"# none\n", 0o600, "holds no URL"),
        (b"\xff\xfe", 0o600, "is not UTF-8"),
        (None, 0o600, "No such file"),
    ],
)
def test_a_file_of_urls_that_cannot_be_used_is_a_fault_of_the_configuration(
    told: Home, capsys: pytest.CaptureFixture[str], content: bytes | None, mode: int, message: str
) -> None:
    urls = told.settings.notify.urls_file
    assert urls is not None
    urls.unlink()
    if content is not None:
        urls.write_bytes(content)
        urls.chmod(mode)

    assert run_command(["notify", "--config", str(told.write_config())]) == Exit.CONFIG
    said = capsys.readouterr().err
    assert message in said
    assert SECRET not in said


def test_a_test_message_says_that_it_was_accepted(
    told: Home, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["notify", "--test", "--config", str(told.write_config())]) == Exit.OK
    assert "The test message was accepted." in capsys.readouterr().out
    assert [message["message"] for message in server.messages] == ["This is a test."]


def test_without_a_file_of_urls_the_key_is_named(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["notify", "--config", str(home.write_config())]) == Exit.CONFIG
    assert "notify.urls_file is not set" in capsys.readouterr().err


@given(text=st.text())
def test_a_damaged_record_begins_anew(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    record = tmp_path_factory.getbasetemp() / "record.json"
    record.write_text(text, errors="replace")

    assert notify._read(record) is None
