"""Hears of files in the outboxes. Only a hint: events get lost (full queues, unmounts); rescans find them.

The handler runs in watchdog's thread and does nothing but hand the path to the sink.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
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

from daemon.files import explain
from daemon.model import Outbox, Source
from daemon.names import is_ignored, is_photo, printable

log = logging.getLogger(__name__)

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
    """Something came into being at, or moved to, this path below an outbox."""

    outbox: Outbox
    path: Path
    is_directory: bool


class Watcher:
    """One observer with a recursive watch per outbox."""

    def __init__(self, outboxes: Sequence[Outbox], sink: Callable[[Arrival], None]) -> None:
        """sink: called in watchdog's thread; must not block."""
        self._outboxes = outboxes
        self._sink = sink
        self._observer = Observer()
        self._armed: dict[Outbox, _Armed] = {}

    def start(self) -> None:
        """Start watching every outbox that is there."""
        self._observer.start()
        self.rearm()

    def stop(self) -> None:
        """Stop watching; no arrival is handed over after this returns."""
        self._observer.stop()
        self._observer.join()

    def rearm(self) -> None:
        """Watch outboxes that came back, or were replaced by another directory of the same name.

        An unmount or a removal ends the events of a watch without a word, so this must be called from time
        to time.
        """
        for outbox in self._outboxes:
            identity = _identity(outbox.root)
            armed = self._armed.get(outbox)
            if armed is not None and armed.identity == identity:
                continue
            if armed is not None:
                self._observer.unschedule(armed.watch)
                del self._armed[outbox]
            if identity is not None:
                self._arm(outbox, identity)

    def _arm(self, outbox: Outbox, identity: _Identity) -> None:
        handler = _Handler(outbox, self._sink)
        try:
            watch = self._observer.schedule(handler, str(outbox.root), recursive=True, event_filter=_EVENTS)
        except OSError as exc:
            log.warning(
                "no events from %s: %s; rescans find its photos", printable(outbox.root), explain(exc)
            )
        else:
            self._armed[outbox] = _Armed(watch, identity)


class _Handler(FileSystemEventHandler):
    def __init__(self, outbox: Outbox, sink: Callable[[Arrival], None]) -> None:
        self._outbox = outbox
        self._sink = sink

    def on_any_event(self, event: FileSystemEvent) -> None:
        path = Path(os.fsdecode(event.dest_path or event.src_path))
        self._sink(Arrival(self._outbox, path, event.is_directory))


@dataclass(frozen=True, slots=True)
class _Identity:
    dev: int
    ino: int


@dataclass(frozen=True, slots=True)
class _Armed:
    watch: ObservedWatch
    identity: _Identity


def source_at(outbox: Outbox, path: Path) -> Source | None:
    """The photo at a path below an outbox; None if the name says that it is none of ours."""
    relative = path.relative_to(outbox.root)
    return Source(outbox, relative) if is_photo(relative) else None


def walk(outbox: Outbox, directory: Path) -> Iterator[Source]:
    """Every photo at or below a directory of an outbox, by name; symlinks are not followed."""
    pending = [directory]
    while pending:
        current = pending.pop()
        try:
            with os.scandir(current) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        if not is_ignored(entry.name):
                            pending.append(Path(entry.path))
                    elif (source := source_at(outbox, Path(entry.path))) is not None:
                        yield source
        except OSError as exc:
            log.warning("cannot look into %s: %s", printable(current), explain(exc))


def _identity(root: Path) -> _Identity | None:
    try:
        status = root.stat()
    except OSError:
        return None
    return _Identity(status.st_dev, status.st_ino)
