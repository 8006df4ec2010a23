"""One spawned engine process and the pipe to it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import struct
from collections.abc import Sequence
from multiprocessing.connection import Connection

from daemon.workers.environment import engine_environment
from daemon.workers.protocol import EngineSpec, Message
from daemon.workers.worker import serve
from fawkes_engine import Request

_PIPE_LIMIT_S = 30
_EXIT_LIMIT_S = 2.0


class Child:
    """A running engine process; it is replaced, never restarted."""

    def __init__(self, spec: EngineSpec) -> None:
        ours, theirs = socket.socketpair()
        # A stopped process must not block the supervisor in the middle of a message.
        limit = struct.pack("ll", _PIPE_LIMIT_S, 0)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        self.connection = Connection(ours.detach())
        self._is_open = True
        with Connection(theirs.detach()) as end, engine_environment():
            context = multiprocessing.get_context("spawn")
            self._process = context.Process(
                target=serve, args=(end, spec, os.getpid()), name="fawkesd-engine", daemon=True
            )
            self._process.start()

    @property
    def pid(self) -> int | None:
        """The process number."""
        return self._process.pid

    @property
    def is_open(self) -> bool:
        """Whether the process may still answer."""
        return self._is_open

    def send(self, batch: Sequence[Request]) -> None:
        """Hand over a batch; the pipe counts as closed if that fails."""
        try:
            self.connection.send(tuple(batch))
        except OSError:
            self._is_open = False

    def receive(self) -> list[Message]:
        """Every message since the last call."""
        messages: list[Message] = []
        try:
            while self._is_open and self.connection.poll():
                messages.append(self.connection.recv())
        except (EOFError, OSError):
            self._is_open = False
        return messages

    def end(self) -> str:
        """Make sure the process is gone; returns how it ended."""
        self.connection.close()
        if not self._is_open:
            self._process.join(_EXIT_LIMIT_S)  # it is ending by itself: its own exit status says why
        self._is_open = False
        self._process.kill()
        self._process.join()
        return _how_it_ended(self._process.exitcode)


def _how_it_ended(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"the engine process was killed by {signal.Signals(-exit_code).name}"
    return f"the engine process exited with status {exit_code}"
