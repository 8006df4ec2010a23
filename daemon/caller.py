"""A command's side of the control socket: ask the running service, or do it to the ledger of a stopped one."""

from __future__ import annotations

import contextlib
import socket
import time
from pathlib import Path

from daemon.control import socket_address
from daemon.errors import AlreadyRunning, InputError, NotAnswering
from daemon.exits import Exit, code_of
from daemon.ledger import LEDGER_NAME, Ledger
from daemon.locks import DirectoryLock, make_private
from daemon.orders import AnyOrder, LedgerOrder, Reply, apply, decode_reply, encode

_ANSWER_S = 30.0  # the service may be writing a large photo to a slow disk
_START_S = 10.0  # between its lock and its socket


def place(state_dir: Path, order: LedgerOrder) -> Reply:
    """Have an order carried out, by the service if there is one. Raises NotAnswering."""
    give_up_s = time.monotonic() + _START_S
    while True:
        reply = _ask(state_dir, order)
        if reply is not None:
            return reply
        try:
            return _do(state_dir, order)
        except AlreadyRunning as exc:
            if time.monotonic() >= give_up_s:
                raise NotAnswering(f"{exc}, and does not answer commands") from exc
            time.sleep(0.1)


def ask_running(state_dir: Path, order: AnyOrder) -> Reply:
    """Ask the running service. Raises NotAnswering also if there is none."""
    reply = _ask(state_dir, order)
    if reply is None:
        raise NotAnswering("fawkesd is not running")
    return reply


def _ask(state_dir: Path, order: AnyOrder) -> Reply | None:
    """The service's reply; None if nobody listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_ANSWER_S)
        try:
            with socket_address(state_dir) as address:
                connection.connect(address)
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        except OSError as exc:
            raise NotAnswering(f"fawkesd cannot be reached: {exc.strerror}") from exc
        try:
            connection.sendall(encode(order))
            with connection.makefile("rb") as stream:
                return decode_reply(stream.readline())
        except (OSError, ValueError, KeyError) as exc:
            raise NotAnswering("fawkesd did not answer; its log may say why") from exc


def _do(state_dir: Path, order: LedgerOrder) -> Reply:
    make_private(state_dir)
    with contextlib.ExitStack() as stack:
        stack.callback(DirectoryLock(state_dir).release)
        ledger = stack.enter_context(contextlib.closing(Ledger(state_dir / LEDGER_NAME)))
        try:
            return Reply(Exit.OK, apply(order, ledger, lambda _source: None))
        except InputError as exc:
            return Reply(code_of(exc), str(exc))
