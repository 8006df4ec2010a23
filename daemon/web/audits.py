"""Runs `fawkesd audit` for the page, one at a time, as a process of its own: an audit needs torch."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from daemon.config.settings import Settings, UserSettings
from daemon.errors import InputError
from daemon.model import State
from daemon.sd import sockets
from daemon.state.history import Record, reading

_NICE = ("nice", "-n", "10")
_LEAST = 2  # photos of a user, published and with their originals


@dataclass(slots=True)
class Run:
    """One audit. started: seconds since 1970. code: its exit code, None while it runs. said: its last line."""

    process: subprocess.Popen[str]
    started: float
    code: int | None = None
    said: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What an audit found. published, clean: photos. learned: what trackers learned from, in the order of the shares.

    rows: tracker, and its way to decide -> how often it named the user on clean photos after each, as text.
    """

    made: float
    published: int
    clean: int
    leaked: int
    learned: tuple[str, ...]
    rows: Mapping[tuple[str, str], tuple[str, ...]]


class Audits:
    """The audit that runs, and what the last one of each user found. Thread-safe."""

    def __init__(self, folder: Path, config: Path, settings: Settings) -> None:
        self._folder = folder
        self._config = config
        self._settings = settings
        self._runs: dict[str, Run] = {}
        self._lock = threading.Lock()

    def start(self, user: UserSettings) -> None:
        """Start an audit. Raises InputError while another one runs, or if there are too few photos; and OSError."""
        self._check(user)
        with self._lock:
            if any(run.code is None for run in self._runs.values()):
                raise InputError("an audit is running; wait until it is done")
            report, figures = self._new(self.report(user.name)), self._new(self._figures(user.name))
            report.unlink(missing_ok=True)
            command = [sys.executable, "-P", "-m", "daemon", "audit", "--user", user.name, "--json"]
            output = os.open(figures, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                process = subprocess.Popen(
                    [*_NICE, *command, "--html", str(report), "--config", str(self._config)],
                    env={**sockets.plain_environment()},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.PIPE,
                    text=True,
                    errors="replace",
                    umask=0o077,
                )
            finally:
                os.close(output)
            self._runs[user.name] = run = Run(process, time.time())
        threading.Thread(target=self._follow, args=(user.name, run), name="audit", daemon=True).start()

    def of(self, user: str) -> Run | None:
        """The audit of a user that runs or was the last since this process started."""
        return self._runs.get(user)

    def result(self, user: str) -> Result | None:
        """What the last audit of a user that ended well has found."""
        with contextlib.suppress(OSError, ValueError):
            path = self._figures(user)
            return _result(json.loads(path.read_text()), path.stat().st_mtime)
        return None

    def report(self, user: str) -> Path:
        """Where the report of a user is, or would be."""
        return self._folder / f"audit-{user}.html"

    def plot(self, user: str) -> str:
        """The plot in a user's report, as SVG. Raises InputError if there is none."""
        with contextlib.suppress(OSError):
            _, begin, rest = self.report(user).read_text().partition("<svg")
            drawn, end, _ = rest.partition("</svg>")
            if end:
                return begin + drawn + end
        raise InputError("there is no such plot")

    def stop(self) -> None:
        """End the audit that runs."""
        for run in self._runs.values():
            if run.code is None:
                run.process.terminate()

    def _check(self, user: UserSettings) -> None:
        """Raise InputError, with what to do on the page, where the command would tell of its options."""
        with reading(self._settings.state_dir) as history:
            usable = (1 for record in history.in_state(State.PUBLISHED) if _is_usable(record, user))
            clean = len(list(islice(usable, _LEAST)))
        if clean < _LEAST:
            raise InputError(
                f"An audit needs at least two published photos that show {user.name} alone, with their originals "
                f"still in the outbox. There {'is 1' if clean == 1 else 'are none'} so far: start it again once more "
                "photos are published."
            )

    def _follow(self, user: str, run: Run) -> None:
        assert run.process.stderr is not None, "it is a pipe"
        with run.process.stderr as lines:
            for line in lines:
                run.said = line.strip().removeprefix("fawkesd: ") or run.said
        code = run.process.wait()
        try:
            if code == 0:
                for path in (self.report(user), self._figures(user)):
                    self._new(path).replace(path)
        except OSError as exc:
            run.said, code = f"what it found cannot be kept ({exc.strerror})", 1
        run.code = code

    def _figures(self, user: str) -> Path:
        return self._folder / f"audit-{user}.json"

    @staticmethod
    def _new(path: Path) -> Path:
        """Where a file is made: what was found before stays until there is more."""
        return path.with_name(f"{path.name}.new")


def _is_usable(record: Record, user: UserSettings) -> bool:
    """Whether an audit can take the copy for a photo of the user alone, and its original for a clean one."""
    photo, faces = record.photo, record.report["faces"] if record.report else []
    shows_user = photo.source.outbox.user == user.name and [face["person"] for face in faces] == [user.name]
    has_copy = photo.output is not None and (user.sync / photo.output.relative).is_file()
    return shows_user and has_copy and photo.source.path.is_file()


def _result(found: Mapping[str, list[Mapping[str, object]]], made: float) -> Result:
    """Raises ValueError if these are no figures of an audit."""
    try:
        rows = found["rows"]
        learned = tuple(dict.fromkeys(str(row["learned"]) for row in rows))
        shares = {(row["tracker"], row["head"], row["learned"]): row["recognised"] for row in rows}
        places = dict.fromkeys((str(row["tracker"]), str(row["head"])) for row in rows)
        return Result(
            made,
            len(found["published"]),
            len(found["clean"]),
            len(found["leaked"]),
            learned,
            {place: tuple(_share(shares.get((*place, one))) for one in learned) for place in places},
        )
    except (KeyError, TypeError) as exc:
        raise ValueError("these are no figures of an audit") from exc


def _share(rate: object) -> str:
    return f"{100 * rate['share']:.0f} %" if isinstance(rate, dict) else ""
