"""One spawned engine process and the pipe to it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
import struct
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection

from daemon.workers.protocol import EngineSpec, Message
from daemon.workers.worker import serve
from fawkes_engine import Request

_PIPE_LIMIT_S = 30
_EXIT_LIMIT_S = 2.0

# With glibc's defaults every large tensor is mapped, zeroed by the kernel and unmapped again, which took up
# to half of a batch's time. 32 MiB is the largest threshold that glibc accepts.
_MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(4 << 30),
    "MALLOC_TOP_PAD_": str(64 << 20),
}


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
        with Connection(theirs.detach()) as end, allocator_settings():
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


@contextlib.contextmanager
def allocator_settings() -> Iterator[None]:
    """Give processes that are started in a with block the allocator settings of an engine."""
    before = {name: os.environ.get(name) for name in _MALLOC}
    os.environ.update(_MALLOC)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
