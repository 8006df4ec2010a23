"""The control socket: who may speak, what is understood, and that nobody can hold the service up."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from multiprocessing.connection import wait
from pathlib import Path

import pytest
from conftest import WITHIN_S
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.control.commands import (
    LINE_MAX_BYTES,
    Command,
    PauseOutbox,
    Redo,
    Reload,
    Reply,
    Resume,
    Retry,
    RetryAll,
    apply,
    decode_command,
    decode_reply,
    encode,
)
from daemon.control.decisions import Approve, ApproveAll, Effects, Publish, Recall, Reject
from daemon.control.server import SOCKET_NAME, ControlServer, socket_address
from daemon.errors import InputError
from daemon.exits import Exit
from daemon.state.ledger import Ledger


class Desk:
    """A control socket with somebody who obeys everything; `now` moves by hand."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.now = 0.0
        self.commands: list[Command] = []
        self.control = ControlServer(directory)

    def run(self, command: Command) -> str:
        self.commands.append(command)
        if isinstance(command, Reload):
            raise InputError("not today")
        return "done"

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(WITHIN_S)
        with socket_address(self.directory) as address:
            client.connect(address)
        return client

    def ask(self, line: bytes) -> Reply:
        with self.connect() as client:
            client.sendall(line)
            self.step()
            with client.makefile("rb") as stream:
                return decode_reply(stream.readline())

    def step(self) -> None:
        wait(self.control.waitables, WITHIN_S)
        self.control.step(self.now, self.run)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.control.close()


COMMANDS: list[Command] = [
    PauseOutbox("ada", Path("/out"), 7200.0),
    PauseOutbox("ada", Path("/out"), None),
    Resume("ada", Path("/out")),
    Retry("ada", Path("/out"), Path(os.fsdecode(b"caf\xe9\n.jpg"))),
    RetryAll(),
    Approve(ids=(1, 2)),
    ApproveAll("ada"),
    Reject(photos=(Path("/out/a.jpg"),)),
    Recall(photos=(Path("/out/caf\udce9.jpg"),)),
    Publish(ids=(3,)),
    Redo("ada", Path("/out"), Path("trip/a.jpg")),
    Redo("ada", Path("/out"), Path("trip/a.jpg"), mode="strong", strength=40),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.order)
def test_a_command_arrives_as_it_was_sent(desk: Desk, command: Command) -> None:
    assert desk.ask(encode(command)) == Reply(Exit.OK, "done")
    assert desk.commands == [command]


def test_an_error_on_purpose_is_the_reply_with_its_code(desk: Desk) -> None:
    assert desk.ask(encode(Reload())) == Reply(Exit.NO_INPUT, "not today")


@pytest.mark.parametrize(
    "line",
    [
        b"hello\n",
        b"[]\n",
        b"null\n",
        b'"pause"\n',
        b"\xff\xfe\n",
        b"[" * 60_000 + b"\n",
        b'{"order": "shutdown"}\n',
        b'{"order": "retry"}\n',
        b'{"order": "reload", "extra": 1}\n',
        b'{"order": "redo", "user": "ada", "root": "/out", "path": "../../etc/passwd"}\n',
        b'{"order": "redo", "user": "ada", "root": "/out", "path": "/etc/passwd"}\n',
        b'{"order": "redo", "user": "ada", "root": "/out", "path": "a.jpg", "mode": "invisible"}\n',
        b'{"order": "redo", "user": "ada", "root": "/out", "path": "a.jpg", "mode": "quick", "strength": 101}\n',
        b'{"order": "pause", "user": "ada", "root": "out", "for_s": null}\n',
        b'{"order": "pause", "user": "ada", "root": "/out", "for_s": -1}\n',
        b'{"order": "pause", "user": "ada", "root": "/out", "for_s": Infinity}\n',
    ],
)
def test_what_is_no_command_is_refused_and_the_next_one_is_heard(desk: Desk, line: bytes) -> None:
    reply = desk.ask(line)

    assert reply.code is Exit.NO_INPUT
    assert reply.message.startswith("this is not a command")
    assert desk.ask(encode(RetryAll())).message == "done"
    assert desk.commands == [RetryAll()]


ORDERS = (
    *("pause", "resume", "retry", "retry-all", "redo"),
    *("approve", "approve-all", "reject", "recall", "publish"),
)
WORDS = st.sampled_from(["ada", "/out", "a.jpg", "/" + "x" * 300]) | st.text(
    "aö/.~-\0\ud800\udcff", max_size=9
)


@settings(max_examples=60)
@given(
    st.fixed_dictionaries(
        {"order": st.sampled_from(ORDERS)},
        optional={
            "user": WORDS,
            "root": WORDS,
            "path": WORDS,
            "for_s": st.none() | st.floats() | WORDS,
            "ids": st.lists(st.integers() | WORDS, max_size=3),
            "photos": st.lists(WORDS, max_size=3),
        },
    )
)
def test_no_command_can_do_more_to_the_service_than_be_refused(values: dict[str, object]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        ledger = Ledger(Path(directory) / "ledger")
        try:
            command = decode_command(json.dumps(values).encode())
            assert not isinstance(command, Reload)
            apply(command, ledger, Effects(look_again=print, drop_result=print, recall=None))
        except InputError as exc:
            str(exc).encode()
        finally:
            ledger.close()


@given(st.binary(max_size=200))
def test_any_bytes_are_a_command_or_a_refusal(line: bytes) -> None:
    try:
        command = decode_command(line)
    except InputError:
        return
    assert decode_command(encode(command)) == command


def test_a_line_without_an_end_is_refused_at_its_longest(desk: Desk) -> None:
    with desk.connect() as client:
        client.setblocking(False)
        sent = 0
        while sent <= LINE_MAX_BYTES:
            sent += client.send(b"x" * 4096)
            desk.step()
        client.settimeout(WITHIN_S)
        reply = decode_reply(client.recv(4096))

    assert "longer than" in reply.message


def test_a_line_may_come_in_pieces(desk: Desk) -> None:
    with desk.connect() as client:
        for byte in encode(RetryAll()):
            client.sendall(bytes([byte]))
            desk.step()
        assert b"done" in client.recv(4096)


def test_a_silent_client_is_dropped_and_a_vanished_one_does_no_harm(desk: Desk) -> None:
    silent = desk.connect()
    desk.connect().close()
    desk.step()
    due_s = desk.control.due_s
    assert due_s is not None
    desk.now = due_s
    desk.control.step(desk.now, desk.run)

    assert silent.recv(1) == b""
    assert desk.control.due_s is None
    assert desk.ask(encode(RetryAll())).message == "done"
    silent.close()


def test_a_client_that_does_not_read_its_reply_holds_nobody_up(desk: Desk) -> None:
    with desk.connect() as client:
        client.sendall(encode(RetryAll()))
        client.shutdown(socket.SHUT_RD)
        desk.step()

    assert desk.ask(encode(RetryAll())).message == "done"


def test_many_clients_at_once_are_served_in_turn(desk: Desk) -> None:
    silent = [desk.connect() for _ in range(16)]
    desk.step()
    with desk.connect() as late:
        late.sendall(encode(RetryAll()))
        assert len(desk.control.waitables) == 16
        desk.now = 100.0
        desk.control.step(desk.now, desk.run)
        desk.step()
        assert b"done" in late.recv(4096)
    for client in silent:
        client.close()


def test_the_socket_is_private_and_goes_with_its_owner(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    mode = (tmp_path / SOCKET_NAME).stat().st_mode
    desk.control.close()

    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600
    assert list(tmp_path.iterdir()) == []


def test_the_socket_of_a_killed_service_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead, socket_address(tmp_path) as address:
        dead.bind(address)
    desk = Desk(tmp_path)

    assert desk.ask(encode(RetryAll())).message == "done"
    desk.control.close()


def test_the_path_may_be_longer_than_a_socket_address(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["x" * 100] * 3)
    deep.mkdir(parents=True)
    desk = Desk(deep)

    assert desk.ask(encode(RetryAll())).message == "done"
    desk.control.close()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_another_user_is_refused_even_where_the_modes_would_let_them_in(desk: Desk) -> None:
    desk.directory.chmod(0o755)
    (desk.directory / SOCKET_NAME).chmod(0o666)
    program = (
        "import os, socket, sys; os.setuid(65534); client = socket.socket(socket.AF_UNIX);"
        f"client.connect('{SOCKET_NAME}'); print('connected', flush=True);"
        "client.sendall(sys.argv[1].encode()); print(client.recv(4096))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, encode(RetryAll()).decode()],
        cwd=desk.directory,  # the folders above it may be closed to others, as those of pytest are
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "connected\n"
        desk.step()
        assert "done" not in other.stdout.read()

    assert desk.commands == []


def test_replies_name_exit_codes_and_not_numbers_of_their_own() -> None:
    assert json.loads(encode(Reply(Exit.CONFIG, "no"))) == {"code": 78, "message": "no"}
