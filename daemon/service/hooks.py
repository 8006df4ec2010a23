"""Runs the user's programs after photos were published or held, one at a time, without holding anything up.

A program gets what happened in its environment, no shell, no input, and a limited time; how it ends changes
nothing but a line of the log. It runs with the rights, and in the sandbox, of the service.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from daemon.config.settings import HookSettings, Settings
from daemon.model import Photo, State
from daemon.sd import sockets
from daemon.text import printable

log = logging.getLogger(__name__)

_STDERR = 2
_WAITING_MAX = 10_000  # with a program that is slower than the engine, later calls are left out
_LOOK_UP_S = 0.2  # how soon a program is ended when the service stops


@dataclass(frozen=True, slots=True)
class Call:
    """One program to run. variables: added to its environment."""

    command: Sequence[str]
    variables: Mapping[str, str] = field(default_factory=dict)


class Hooks:
    """The queue of programs to run and the thread that runs them."""

    def __init__(self, settings: Settings) -> None:
        self._hooks: HookSettings = settings.hooks
        self._sync = {user.name: user.sync for user in settings.users}
        self._calls: queue.Queue[Call | None] = queue.Queue(_WAITING_MAX)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hooks", daemon=True)

    def start(self) -> None:
        """Begin to run programs."""
        self._thread.start()

    def drain(self) -> None:
        """Wait until every program asked for has run."""
        self._calls.join()

    def stop(self) -> None:
        """End the program that runs, and run no other."""
        self._stopping.set()
        with contextlib.suppress(queue.Full):  # then the thread has something to wake up for
            self._calls.put_nowait(None)
        self._thread.join()

    def on_end(self, photo: Photo) -> None:
        """Run what is configured for a photo that has just come to its end."""
        command = {State.PUBLISHED: self._hooks.on_published, State.HELD: self._hooks.on_held}.get(
            photo.state
        )
        if command:
            self.run(Call(command, _variables(photo, self._sync[photo.source.outbox.user])))

    def run(self, call: Call) -> None:
        """Run a program as soon as those before it have ended."""
        try:
            self._calls.put_nowait(call)
        except queue.Full:
            log.warning("a hook was left out: %d others wait", _WAITING_MAX)

    def step(self) -> bool:
        """Wait for the next program and run it; returns whether there may be another."""
        call = self._calls.get()
        try:
            if call is not None and not self._stopping.is_set():
                self._call(call)
        finally:
            self._calls.task_done()
        return not self._stopping.is_set()

    def _run(self) -> None:
        while self.step():
            pass

    def _call(self, call: Call) -> None:
        program = printable(call.command[0])
        try:
            process = subprocess.Popen(
                call.command,
                env={**sockets.plain_environment(), **call.variables},
                stdin=subprocess.DEVNULL,
                stdout=_STDERR,  # stdout is for what a command prints
                start_new_session=True,  # so that what it starts can be ended with it
            )
        except OSError as exc:
            log.warning("the hook %s cannot be run: %s", program, exc.strerror)
            return
        status = self._wait(process)
        if status is None:
            log.warning("the hook %s was ended after %g s", program, self._hooks.limit_s)
        elif status != 0:
            log.warning("the hook %s failed with status %d", program, status)

    def _wait(self, process: subprocess.Popen[bytes]) -> int | None:
        """Wait for the end; None if the program had to be ended."""
        waited_s = 0.0
        while waited_s < self._hooks.limit_s and not self._stopping.is_set():
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(min(_LOOK_UP_S, self._hooks.limit_s))
            waited_s += _LOOK_UP_S
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return None


def _variables(photo: Photo, sync: Path) -> Mapping[str, str]:
    variables = {
        "FAWKESD_EVENT": photo.state.value,
        "FAWKESD_USER": photo.source.outbox.user,
        "FAWKESD_PHOTO": str(photo.source.path),
    }
    if photo.state is State.PUBLISHED and photo.output is not None:
        variables["FAWKESD_OUTPUT"] = str(sync / photo.output.relative)
    if photo.reason is not None:
        variables["FAWKESD_REASON"] = photo.reason
    return variables
