"""Runs `fawkesd audit` for the page, one at a time, as a process of its own: an audit needs torch."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from daemon.errors import InputError
from daemon.sd import sockets

_NICE = ("nice", "-n", "10")


@dataclass(slots=True)
class Run:
    """One audit. code: its exit code, None while it runs. said: what it has printed."""

    user: str
    process: subprocess.Popen[str]
    code: int | None = None
    said: str = ""


class Audits:
    """The audit that runs, and the last one of each user. Thread-safe."""

    def __init__(self, folder: Path, config: Path) -> None:
        self._folder = folder
        self._config = config
        self._runs: dict[str, Run] = {}
        self._lock = threading.Lock()

    def start(self, user: str) -> None:
        """Start an audit of a configured user. Raises InputError while another one runs."""
        with self._lock:
            if any(run.code is None for run in self._runs.values()):
                raise InputError("an audit is running; wait until it is done")
            report = self.report(user)
            report.unlink(missing_ok=True)
            command = [sys.executable, "-P", "-m", "daemon", "audit", "--user", user, "--html", str(report)]
            process = subprocess.Popen(
                [*_NICE, *command, "--config", str(self._config)],
                env={**sockets.plain_environment()},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                umask=0o077,
            )
            self._runs[user] = run = Run(user, process)
        threading.Thread(target=self._wait, args=(run,), name="audit", daemon=True).start()

    def of(self, user: str) -> Run | None:
        """The audit of a user that runs or was the last since this process started."""
        return self._runs.get(user)

    def report(self, user: str) -> Path:
        """Where the report of a user is, or would be."""
        return self._folder / f"audit-{user}.html"

    def stop(self) -> None:
        """End the audit that runs."""
        for run in self._runs.values():
            if run.code is None:
                run.process.terminate()

    def _wait(self, run: Run) -> None:
        said, _ = run.process.communicate()
        run.said, run.code = said.strip(), run.process.returncode
