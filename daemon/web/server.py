"""Serves the page until a signal: its own process, beside the service or alone. Never imports torch."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import uvicorn

from daemon.config.address import Address
from daemon.config.settings import Settings
from daemon.errors import ConfigError
from daemon.fs.files import explain
from daemon.state.folder import prepare
from daemon.web.app import make_app
from daemon.web.context import Context
from daemon.web.events import Events

log = logging.getLogger(__name__)

_CONNECTIONS_MAX = 128
_HEAD_MAX_BYTES = 1 << 14
_BACKLOG = 64
_STDIN = 0
_GOODBYE_S = 2  # for answers in progress; streams of events end before that


def serve(settings: Settings, config: Path, listener: socket.socket, *, with_parent: bool) -> None:
    """Serve at a listening socket until SIGTERM or SIGINT; with_parent: or until standard input ends.

    Raises OSError if the state folder cannot be used.
    """
    prepare(settings.state_dir)
    context = Context(settings, config)
    events = Events(settings.state_dir, context.sessions)
    server = _Server(
        uvicorn.Config(
            make_app(context, events),
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            access_log=False,
            server_header=False,
            proxy_headers=False,  # who asks is judged by the connection
            limit_concurrency=_CONNECTIONS_MAX,
            h11_max_incomplete_event_size=_HEAD_MAX_BYTES,
            timeout_graceful_shutdown=_GOODBYE_S,
            log_config=None,
        ),
        events,
    )
    if with_parent:
        threading.Thread(target=_follow_parent, daemon=True).start()
    try:
        server.run(sockets=[listener])
    finally:
        context.audits.stop()


class _Server(uvicorn.Server):
    """Ends the streams of events first: a page that is open would hold up the end."""

    def __init__(self, config: uvicorn.Config, events: Events) -> None:
        super().__init__(config)
        self._events = events

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End at a signal as at any other end, with the exit code 0; uvicorn would send it to itself once more."""
        former = {
            number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)
        }
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called at a signal."""
        self._events.stopping = True
        super().handle_exit(sig, frame)


@contextmanager
def listening(address: Address, descriptor: int | None = None) -> Iterator[socket.socket]:
    """Context manager: a socket that listens at an address, or the one that was handed over.

    A unix socket can be opened by its owner alone from its first moment. Raises ConfigError.
    """
    if descriptor is not None:
        with socket.socket(fileno=descriptor) as listener:
            yield listener
        return
    try:
        listener = _unix(address, address.path) if address.path else _inet(address)
    except OSError as exc:
        raise ConfigError(
            f"the page cannot listen at {address} ({explain(exc)}); choose another one with web.listen"
        ) from exc
    with listener:
        yield listener
    if address.path:
        address.path.unlink(missing_ok=True)


def _inet(address: Address) -> socket.socket:
    return socket.create_server((address.host or "", address.port), family=address.family, backlog=_BACKLOG)


def _unix(address: Address, path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.is_socket() and not address.answers():
            path.unlink()  # left by a dead process
        os.fchmod(listener.fileno(), 0o600)  # before bind, which creates the file with this mode
        listener.bind(str(path))
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _follow_parent() -> None:
    """End when the service does, also if it was killed: it holds the other end of standard input."""
    while os.read(_STDIN, 1):  # not by sys.stdin: Python cannot end while a thread waits in its buffer
        pass
    os.kill(os.getpid(), signal.SIGTERM)
