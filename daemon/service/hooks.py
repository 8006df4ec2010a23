"""Hooks: runs the user's programs on a photo that is published, held or in review, one at a time, without blocking.

A program gets the event in its environment, no shell, no input, and a time limit; a failure is logged and has no
other effect. It runs with the permissions of the service, and in its sandbox.
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
_WAITING_MAX = 10_000  # if a program is slower than the engine, later calls are dropped
_POLL_S = 0.2  # how soon a running program is killed when the service stops


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
        """Start the thread."""
        self._thread.start()

    def drain(self) -> None:
        """Wait until every queued program has run."""
        self._calls.join()

    def stop(self) -> None:
        """Kill the running program, and run no other."""
        self._stopping.set()
        with contextlib.suppress(queue.Full):  # full: the thread wakes up anyway
            self._calls.put_nowait(None)
        self._thread.join()

    def on_end(self, photo: Photo) -> None:
        """Queue the hook for a photo that has just finished."""
        commands = {
            State.PUBLISHED: self._hooks.on_published,
            State.HELD: self._hooks.on_held,
            State.REVIEW: self._hooks.on_review,
        }
        command = commands.get(photo.state)
        if command and (photo.has_new_copy or photo.state is not State.PUBLISHED):
            self.run(Call(command, _variables(photo, self._sync[photo.source.outbox.user])))

    def run(self, call: Call) -> None:
        """Queue a program; it runs as soon as those before it have ended."""
        try:
            self._calls.put_nowait(call)
        except queue.Full:
            log.warning("a hook was skipped: %d others are queued already", _WAITING_MAX)

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
                stdout=_STDERR,  # stdout is for a command's own output
                start_new_session=True,  # so that its child processes can be killed with it
            )
        except OSError as exc:
            log.warning("the hook %s cannot be run: %s", program, exc.strerror)
            return
        status = self._wait(process)
        if status is None:
            log.warning("the hook %s was killed after %g s", program, self._hooks.limit_s)
        elif status != 0:
            log.warning("the hook %s failed with status %d", program, status)

    def _wait(self, process: subprocess.Popen[bytes]) -> int | None:
        """Return the exit status; None if the program had to be killed."""
        waited_s = 0.0
        while waited_s < self._hooks.limit_s and not self._stopping.is_set():
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(min(_POLL_S, self._hooks.limit_s))
            waited_s += _POLL_S
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
        variables["FAWKESD_REASON"] = printable(photo.reason)  # an error may quote any byte, also NUL
    return variables
