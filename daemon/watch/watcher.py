"""Watches the outboxes for file events. Only hints: events get lost (full queues, unmounts); rescans make up for them.

The handler runs in watchdog's thread and only passes the path to the sink.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import ObservedWatch

from daemon.fs.files import explain
from daemon.fs.kernel import remote_kind, watches_used_up
from daemon.model import Outbox
from daemon.text import printable

log = logging.getLogger(__name__)

_WATCHDOG_LOG = logging.getLogger("watchdog.observers")

# Without a filter, opens and reads fill the queue: 24,660 of 50,000 new files were seen; with it, all were.
# Created: a hard link or a moved-in file is never "closed".
_EVENTS: list[type[FileSystemEvent]] = [
    FileCreatedEvent,
    FileClosedEvent,
    FileMovedEvent,
    DirCreatedEvent,
    DirMovedEvent,
]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A file or folder was created at, or moved to, this path below an outbox."""

    outbox: Outbox
    path: Path
    is_directory: bool


class Watcher:
    """One observer with a recursive watch per outbox where events work."""

    def __init__(self, sink: Callable[[Arrival], None]) -> None:
        """sink: called in watchdog's threads; must not block."""
        self._sink = sink
        self._observer = Observer()
        self._watches: dict[Outbox, ObservedWatch] = {}
        self._refused: dict[Outbox, str] = {}
        self._losses = _Losses(self._watches, sink)

    def start(self) -> None:
        """Start the observer; nothing is watched yet."""
        _WATCHDOG_LOG.addHandler(self._losses)
        self._observer.start()

    def stop(self) -> None:
        """Stop watching; no arrival is reported after this returns."""
        self._observer.stop()
        self._observer.join()
        _WATCHDOG_LOG.removeHandler(self._losses)

    @property
    def is_alive(self) -> bool:
        """Whether the thread that dispatches events is alive; those that read them end with their outbox."""
        return self._observer.is_alive()

    def rearm(self, outbox: Outbox) -> None:
        """Watch an outbox, or watch it anew if it came back or was replaced.

        An unmount or a removal silently ends the events of a watch.
        """
        watch = self._watches.pop(outbox, None)
        if watch is not None:
            self._observer.unschedule(watch)
        self._refused.pop(outbox, None)
        try:
            kind = remote_kind(outbox.root.stat().st_dev)
            if kind is not None:
                self._refused[outbox] = f"{kind} reports no changes"
                return
            self._watches[outbox] = self._observer.schedule(
                _Handler(outbox, self._sink), str(outbox.root), recursive=True, event_filter=_EVENTS
            )
        except OSError as exc:
            self._refused[outbox] = explain(exc)

    def why_polled(self, outbox: Outbox) -> str | None:
        """Why an outbox is polled: its events are missing or incomplete. None if it is not."""
        if outbox in self._refused:
            return self._refused[outbox]
        # Folders beyond the limit are silently skipped, now and later.
        return "the kernel's limit of watched folders is reached" if watches_used_up(outbox.root) else None

    def how(self, outboxes: Sequence[Outbox]) -> str | None:
        """How these are watched, for `status`: natively, or which of them are polled and why; nothing without any."""
        polled = {outbox: self.why_polled(outbox) for outbox in outboxes}
        words = [f"polling {printable(outbox.root)} ({why})" for outbox, why in polled.items() if why]
        return "; ".join(words) or ("natively" if outboxes else "nothing")


class NoWatcher:
    """Watches nothing: `fawkesd once` scans the outboxes, and ends."""

    is_alive = False

    def rearm(self, outbox: Outbox) -> None:
        """Nothing to do."""

    def why_polled(self, outbox: Outbox) -> None:
        """Nothing is polled."""

    def how(self, outboxes: Sequence[Outbox]) -> None:
        """Nothing for `status` to say."""


class _Losses(logging.Handler):
    """Catches watchdog's warning that the kernel's queue overflowed: every outbox must be scanned."""

    def __init__(self, watched: Mapping[Outbox, ObservedWatch], sink: Callable[[Arrival], None]) -> None:
        super().__init__(logging.WARNING)
        self._watched = watched
        self._sink = sink

    def emit(self, record: logging.LogRecord) -> None:
        if "overflow" in record.getMessage():
            for outbox in tuple(self._watched):
                self._sink(Arrival(outbox, outbox.root, is_directory=True))


class _Handler(FileSystemEventHandler):
    def __init__(self, outbox: Outbox, sink: Callable[[Arrival], None]) -> None:
        self._outbox = outbox
        self._sink = sink

    def on_any_event(self, event: FileSystemEvent) -> None:
        path = Path(os.fsdecode(event.dest_path or event.src_path))
        self._sink(Arrival(self._outbox, path, event.is_directory))
