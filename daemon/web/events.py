"""Tells open pages that something has changed, by server-sent events; they then load what they show again.

"changed": anything in the ledger. "progress": only how far the photos in work are.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from daemon.fs.locks import holder
from daemon.state import in_work
from daemon.state.schema import LEDGER_NAME
from daemon.web.sessions import Sessions

_LOOK_S = 0.5
_REFRESH_S = 20.0  # also without a change: estimates, quiet hours and pauses go by the clock
_STREAMS_MAX = 24  # open pages at once


class Events:
    """One stream for each open page."""

    def __init__(self, state_dir: Path, sessions: Sessions) -> None:
        self._state_dir = state_dir
        self._sessions = sessions
        self._open = 0
        self.stopping = False

    async def stream(self, request: Request) -> Response:
        """Send an event now and after each change, until the browser leaves or the session ends."""
        if self._open >= _STREAMS_MAX:
            return PlainTextResponse("too many pages are open\n", 503)
        return StreamingResponse(self._events(request), media_type="text/event-stream")

    async def _events(self, request: Request) -> AsyncIterator[str]:
        self._open += 1
        seen: object = None
        seen_work: object = None
        told_s = 0.0
        try:
            while not self.stopping and await run_in_threadpool(self._sessions.knows, request.state.session):
                now_s = time.monotonic()
                found = await run_in_threadpool(self._signature)
                if found != seen or now_s - told_s > _REFRESH_S:
                    seen, told_s = found, now_s
                    yield "event: changed\ndata: -\n\n"
                work = await run_in_threadpool(_written, self._state_dir / in_work.NAME)
                if work != seen_work:
                    seen_work = work
                    yield "event: progress\ndata: -\n\n"
                await asyncio.sleep(_LOOK_S)
        finally:
            self._open -= 1

    def _signature(self) -> object:
        """Differs once the ledger was written, or the service has started or ended."""
        files = (self._state_dir / f"{LEDGER_NAME}{suffix}" for suffix in ("", "-wal"))
        return [_written(file) for file in files], holder(self._state_dir)


def _written(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
