"""A command's side of the control socket: ask the running service, or do it to the ledger of a stopped one."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from daemon.control.commands import Command, LedgerCommand, Reply, apply, decode_reply, encode
from daemon.control.server import socket_address
from daemon.errors import AlreadyRunning, InputError, NotAnswering
from daemon.exits import Exit, code_of
from daemon.fs.locks import DirectoryLock, holder, make_private
from daemon.state.ledger import LEDGER_NAME, Ledger

_ANSWER_S = 30.0  # the service may be writing a large photo to a slow disk
_START_S = 10.0  # between its lock and its socket, also when it starts again with another configuration


def run(state_dir: Path, command: LedgerCommand) -> Reply:
    """Have a command carried out, by the service if there is one. Raises NotAnswering."""
    return _placed(state_dir, command, alone=lambda: _do(state_dir, command))


def ask_running(state_dir: Path, command: Command) -> Reply:
    """Ask the running service. Raises NotAnswering also if there is none."""
    return _placed(state_dir, command, alone=lambda: _refuse(state_dir))


def _placed(state_dir: Path, command: Command, alone: Callable[[], Reply]) -> Reply:
    """The service's reply. alone: what to do without one; raises AlreadyRunning if there is one after all."""
    give_up_s = time.monotonic() + _START_S
    while True:
        reply = _ask(state_dir, command)
        if reply is not None:
            return reply
        try:
            return alone()
        except AlreadyRunning as exc:
            if time.monotonic() >= give_up_s:
                raise NotAnswering(f"{exc}, and does not answer commands") from exc
            time.sleep(0.1)


def _ask(state_dir: Path, command: Command) -> Reply | None:
    """The service's reply; None if nobody listens, or if it closed its socket before it took the command.

    It takes a command and replies in one go, so that one it has not replied to may be placed again.
    """
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
            connection.sendall(encode(command))
            with connection.makefile("rb") as stream:
                line = stream.readline()
            return decode_reply(line) if line else None
        except (BrokenPipeError, ConnectionResetError):
            return None
        except (OSError, ValueError, KeyError) as exc:
            raise NotAnswering("fawkesd did not answer; its log may say why") from exc


def _refuse(state_dir: Path) -> NoReturn:
    pid = holder(state_dir)
    if pid is not None:
        raise AlreadyRunning(state_dir, pid)
    raise NotAnswering("fawkesd is not running")


def _do(state_dir: Path, command: LedgerCommand) -> Reply:
    make_private(state_dir)
    with contextlib.ExitStack() as stack:
        stack.callback(DirectoryLock(state_dir).release)
        ledger = stack.enter_context(contextlib.closing(Ledger(state_dir / LEDGER_NAME)))
        try:
            return Reply(Exit.OK, apply(command, ledger, lambda _source: None))
        except InputError as exc:
            return Reply(code_of(exc), str(exc))
