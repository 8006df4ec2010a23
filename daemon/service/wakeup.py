"""Wakes the main loop from its sleep: an event from another thread, or a signal, whose handler only sets a flag."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType


class Wakeup:
    """A pipe to sleep on. stopping: SIGTERM or SIGINT was received. hurried: a second time.

    reload: SIGHUP was, and is not handled yet. signal: the last one's name, for the log.
    """

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self.read_fd = read_fd
        self._write_fd = write_fd
        self.stopping = False
        self.hurried = False
        self.reload = False
        self.signal = ""

    def set(self) -> None:
        """End the sleep; may be called from any thread and from a signal handler."""
        with contextlib.suppress(BlockingIOError):  # full: it is set already
            os.write(self._write_fd, b"\0")

    def clear(self) -> None:
        """Reset the pipe before the next sleep."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self.read_fd, 4096):
                pass

    def on_signal(self, number: int, _frame: FrameType | None) -> None:
        """Set the flag of a signal."""
        self.signal = signal.Signals(number).name
        if number == signal.SIGHUP:
            self.reload = True
        else:
            self.hurried = self.stopping
            self.stopping = True


@contextlib.contextmanager
def wakeup() -> Iterator[Wakeup]:
    """Context manager: a wakeup that signals trigger. Main thread only."""
    read_fd, write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    one = Wakeup(read_fd, write_fd)
    old_fd = signal.set_wakeup_fd(write_fd)
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    old = {number: signal.signal(number, one.on_signal) for number in numbers}
    try:
        yield one
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(old_fd)
        os.close(read_fd)
        os.close(write_fd)
