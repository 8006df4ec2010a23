"""Keeps the web page running beside the service, as a child process; nothing that happens to it stops the service."""

from __future__ import annotations

import logging
import subprocess
import threading
import time
from collections.abc import Sequence

from daemon.config.extras import missing_for_page
from daemon.sd import sockets
from daemon.text import printable

log = logging.getLogger(__name__)

_FIRST_S, _LONGEST_S = 1.0, 300.0  # before it is started again
_PROVEN_S = 60.0  # one that has run for so long is started again after _FIRST_S
_GOODBYE_S = 5.0
_STDERR = 2


class Page:
    """The process and the thread that waits for it."""

    def __init__(self, command: Sequence[str], listen: str) -> None:
        """command: serves the page until its standard input ends. listen: where, for the log."""
        self._command = command
        self._listen = listen
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name="web page", daemon=True)

    def start(self) -> None:
        """Start it; no effect but a line in the log if the packages it needs are missing."""
        missing = missing_for_page()
        if missing:
            log.error(
                "there is no web page: %s is not installed; run `pip install 'fawkesd[web]'`",
                ", ".join(missing),
            )
            return
        self._thread.start()

    def stop(self) -> None:
        """End it."""
        with self._lock:
            self._stopping.set()
            process = self._process
        if process is not None and process.stdin is not None:
            process.stdin.close()
            try:
                process.wait(_GOODBYE_S)
            except subprocess.TimeoutExpired:
                process.kill()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        pause_s = _FIRST_S
        while not self._stopping.is_set():
            started_s = time.monotonic()
            code = self._once()
            if self._stopping.is_set():
                return
            if time.monotonic() - started_s > _PROVEN_S:
                pause_s = _FIRST_S
            log.warning("the web page has ended with status %s; it starts again in %.0f s", code, pause_s)
            self._stopping.wait(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_S)

    def _once(self) -> int | None:
        """Run it once and return its exit code; None if it cannot be started."""
        descriptor = sockets.listener()
        handed = ("--descriptor", str(descriptor)) if descriptor is not None else ()
        try:
            with self._lock:
                if self._stopping.is_set():
                    return None
                self._process = subprocess.Popen(
                    [*self._command, *handed],
                    env=sockets.plain_environment(),
                    stdin=subprocess.PIPE,
                    stdout=_STDERR,
                    pass_fds=() if descriptor is None else (descriptor,),
                )
        except OSError as exc:
            log.warning("the web page cannot be started: %s", exc.strerror)
            return None
        log.info("the web page is at %s; `fawkesd web --link` opens it", printable(self._listen))
        return self._process.wait()
