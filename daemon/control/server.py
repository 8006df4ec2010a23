"""Server of the control socket, which runs in the service's own loop.

One command per connection, one line each way. The socket has mode 0600 in a directory of mode 0700, and the
kernel reports the user id of every client.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from daemon.control.commands import LINE_MAX_BYTES, Command, Reply, decode_command, encode
from daemon.errors import DaemonError, InputError
from daemon.exits import Exit, code_of
from daemon.fs.files import DIRECTORY, explain, opened

log = logging.getLogger(__name__)

SOCKET_NAME = "control.sock"

_CLIENTS_MAX = 16
_CLIENT_TIMEOUT_S = 5.0  # a client that has not sent its line by then is disconnected
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid


@dataclass(slots=True, eq=False)
class _Client:
    """One connection. until_s: its timeout, in monotonic seconds."""

    socket: socket.socket
    until_s: float
    received: bytearray = field(default_factory=bytearray)


class ControlServer:
    """Accepts commands and sends replies; times are monotonic seconds."""

    def __init__(self, state_dir: Path) -> None:
        """Start to listen.

        If the socket cannot be created (some file systems have none), the service works all the same, and commands
        report that it does not answer.
        """
        self._path = state_dir / SOCKET_NAME
        self._clients: list[_Client] = []
        self._listener: socket.socket | None = None
        try:
            self._listener = _listen(state_dir)
        except OSError as exc:
            log.warning(
                "the control socket %s cannot be created (%s); commands will get no answer",
                self._path,
                explain(exc),
            )

    @property
    def waitables(self) -> list[socket.socket]:
        """The sockets to wait on: readable when `step` has something to do."""
        sockets = [client.socket for client in self._clients]
        if self._listener is not None and len(self._clients) < _CLIENTS_MAX:
            sockets.append(self._listener)
        return sockets

    @property
    def due_s(self) -> float | None:
        """When `step` has something to do even if nothing is readable."""
        return min((client.until_s for client in self._clients), default=None)

    def step(self, now: float, handle: Callable[[Command], str]) -> None:
        """Reply to every client that has sent its command; never blocks.

        handle: runs a command and returns what was done; a DaemonError becomes the reply.
        """
        self._accept(now)
        for client in list(self._clients):
            line = _line(client)
            if line is None and now < client.until_s:
                continue
            self._clients.remove(client)
            with client.socket, contextlib.suppress(OSError):  # the client may disconnect at any time
                if line:
                    client.socket.sendall(encode(_reply(line, handle)))

    def close(self) -> None:
        """Stop listening and remove the socket."""
        for client in self._clients:
            client.socket.close()
        self._clients = []
        if self._listener is not None:
            self._path.unlink(missing_ok=True)
            self._listener.close()
            self._listener = None

    def _accept(self, now: float) -> None:
        while self._listener is not None and len(self._clients) < _CLIENTS_MAX:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # no client is waiting any more
            connection.setblocking(False)
            uid = _peer_uid(connection)
            if uid in {os.getuid(), 0}:
                self._clients.append(_Client(connection, now + _CLIENT_TIMEOUT_S))
            else:
                log.warning(
                    "refused a command from user id %d: only the service's own user and root may send them",
                    uid,
                )
                connection.close()


@contextlib.contextmanager
def socket_address(state_dir: Path) -> Iterator[str]:
    """The address of the socket, through a descriptor, since a socket path has at most 107 bytes."""
    with opened(state_dir, DIRECTORY) as directory:
        yield f"/proc/self/fd/{directory}/{SOCKET_NAME}"


def _listen(state_dir: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # We hold the lock on the directory: an existing socket was left by a dead process.
        (state_dir / SOCKET_NAME).unlink(missing_ok=True)
        os.fchmod(listener.fileno(), 0o600)  # before bind, which creates the file with this mode
        with socket_address(state_dir) as address:
            listener.bind(address)
        listener.listen(_CLIENTS_MAX)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def _line(client: _Client) -> bytes | None:
    """The client's line, possibly too long; empty if it disconnected; None while the line is incomplete."""
    try:
        while chunk := client.socket.recv(1 << 16):
            client.received += chunk
            if len(client.received) > LINE_MAX_BYTES or b"\n" in chunk:
                return bytes(client.received)
    except BlockingIOError:
        return None
    except OSError:
        pass
    return b""


def _peer_uid(connection: socket.socket) -> int:
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _pid, uid, _gid = _CREDENTIALS.unpack(raw)
    return int(uid)


def _reply(line: bytes, handle: Callable[[Command], str]) -> Reply:
    try:
        if len(line) > LINE_MAX_BYTES:
            raise InputError(f"this is not a command: longer than {LINE_MAX_BYTES} bytes")
        return Reply(Exit.OK, handle(decode_command(line)))
    except DaemonError as exc:
        return Reply(code_of(exc), str(exc))
