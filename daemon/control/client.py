"""Client of the control socket: sends a command to the running service, or applies it to the ledger if none runs."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from daemon.control.commands import Command, LedgerCommand, Reply, apply, decode_reply, encode
from daemon.control.decisions import Effects
from daemon.control.server import socket_address
from daemon.errors import AlreadyRunning, InputError, NotAnswering
from daemon.exits import Exit, code_of
from daemon.fs.files import explain
from daemon.fs.locks import DirectoryLock, holder
from daemon.state.folder import prepare
from daemon.state.ledger import Ledger
from daemon.state.result_cache import ResultCache
from daemon.state.schema import LEDGER_NAME

_ANSWER_S = 30.0  # the service may be busy writing a large photo to a slow disk
_START_S = 10.0  # from its lock to its socket, also when it restarts with another configuration


def run(state_dir: Path, command: LedgerCommand) -> Reply:
    """Run a command, in the service if one is running, else on the ledger. Raises NotAnswering."""
    return _send_or(state_dir, command, fallback=lambda: _apply_to_ledger(state_dir, command))


def ask_running(state_dir: Path, command: Command) -> Reply:
    """Send a command to the running service. Raises NotAnswering, also if there is none."""
    return _send_or(state_dir, command, fallback=lambda: _refuse(state_dir))


def _send_or(state_dir: Path, command: Command, fallback: Callable[[], Reply]) -> Reply:
    """Return the reply of the service, or of fallback, which raises AlreadyRunning if a service runs after all."""
    give_up_s = time.monotonic() + _START_S
    while True:
        reply = _send(state_dir, command)
        if reply is not None:
            return reply
        try:
            return fallback()
        except AlreadyRunning as exc:
            if time.monotonic() >= give_up_s:
                raise NotAnswering(
                    f"fawkesd (process {exc.pid or 'unknown'}) runs but does not answer commands; its log may say why"
                ) from exc
            time.sleep(0.1)


def _send(state_dir: Path, command: Command) -> Reply | None:
    """Return the service's reply; None if nothing listens, or if it closed the socket before it read the command.

    It runs a command and replies in one step, so a command without a reply may be sent again.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_ANSWER_S)
        try:
            with socket_address(state_dir) as address:
                connection.connect(address)
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        except OSError as exc:
            raise NotAnswering(
                f"the running fawkesd cannot be reached ({explain(exc)}); its log may say why"
            ) from exc
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
    raise NotAnswering("fawkesd is not running; start it with `fawkesd run`, or as a service")


def _apply_to_ledger(state_dir: Path, command: LedgerCommand) -> Reply:
    prepare(state_dir)
    with contextlib.ExitStack() as stack:
        stack.callback(DirectoryLock(state_dir).release)
        ledger = stack.enter_context(contextlib.closing(Ledger(state_dir / LEDGER_NAME)))
        try:
            results = ResultCache.of(state_dir, ledger.facts)
            effects = Effects(lambda _source: None, results.drop, recall=None)
            return Reply(Exit.OK, apply(command, ledger, effects))
        except InputError as exc:
            return Reply(code_of(exc), str(exc))
