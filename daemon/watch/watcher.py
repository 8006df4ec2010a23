"""Watches the outboxes for file events. Only hints: events get lost (full queues, unmounts); rescans make up for them.

Where no events are to be had, an outbox is polled, and tried again at each poll. The handler runs in watchdog's
thread and only passes the path to the sink.
"""

from __future__ import annotations

import errno
import logging
import os
import warnings
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
from watchdog.observers.api import ObservedWatch
from watchdog.observers.inotify import InotifyObserver

from daemon.fs import mounts
from daemon.fs.files import explain
from daemon.fs.kernel import inotify_limit, no_events, watches_used_up
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
        self._observer: _Observer | None = None
        self._watches: dict[Outbox, ObservedWatch] = {}
        self._refused: dict[Outbox, str] = {}
        self._remote: dict[Outbox, str] = {}
        self._incomplete: set[Outbox] = set()
        self._losses = _Losses(self._watches, sink)

    def start(self) -> None:
        """Be ready for `rearm`; nothing is watched yet."""
        _WATCHDOG_LOG.addHandler(self._losses)
        # A folder that was moved out keeps its watch; moved back, watchdog adds the same one again, and says so.
        warnings.filterwarnings("ignore", "Callback with id '.*' already exists for watch", RuntimeWarning)

    def stop(self) -> None:
        """Stop watching; no arrival is reported after this returns."""
        self._end()
        _WATCHDOG_LOG.removeHandler(self._losses)

    def rearm(self, outbox: Outbox) -> None:
        """Watch an outbox, or watch it anew if it came back or was replaced, or something was mounted below it.

        An unmount or a removal silently ends the events of a watch.
        """
        watch = self._watches.pop(outbox, None)
        if watch is not None and self._observer is not None and self._observer.has(watch):
            self._observer.unschedule(watch)
        self._refused.pop(outbox, None)
        self._remote.pop(outbox, None)
        self._incomplete.discard(outbox)
        try:
            kind = mounts.remote_kind(outbox.root.stat().st_dev)
            if kind is not None:
                self._remote[outbox] = f"{kind} reports no changes"
                return
            if remote := mounts.remote_below(outbox.root):
                self._remote[outbox] = (
                    f"{printable(remote.point)} is on {remote.kind}, which reports no changes"
                )
            self._watch(outbox)
        except OSError as exc:
            self._refused[outbox] = _why_refused(exc)
        self._note_limit(outbox)

    def retry(self, outbox: Outbox) -> None:
        """Watch an outbox again if that failed, wholly or for some of its folders, and may succeed now."""
        if outbox in self._refused or (outbox in self._incomplete and not watches_used_up(outbox.root)):
            self.rearm(outbox)
        else:
            self._note_limit(outbox)

    def is_deaf(self, outbox: Outbox) -> bool:
        """Whether an outbox was watched and its events have ended, because a thread of the observer did."""
        watch = self._watches.get(outbox)
        return watch is not None and not (self._observer is not None and self._observer.hears(watch))

    def why_polled(self, outbox: Outbox) -> str | None:
        """Why an outbox is polled: its events are missing or incomplete. None if it is not."""
        known = self._refused.get(outbox) or self._remote.get(outbox)
        return known or (_limit_reached() if outbox in self._incomplete else None)

    def how(self, outboxes: Sequence[Outbox], poll_s: float) -> str:
        """How these are watched, for `status`: natively, or which are polled every `poll_s`, and why."""
        polled: dict[str, list[str]] = {}
        for outbox in outboxes:
            if why := self.why_polled(outbox):
                polled.setdefault(why, []).append(printable(outbox.root))
        words = [f"polling {', '.join(roots)} every {poll_s:g} s ({why})" for why, roots in polled.items()]
        return "; ".join(words) or ("natively" if outboxes else "nothing")

    def _watch(self, outbox: Outbox) -> None:
        if self._observer is None or not self._observer.works:
            self._end()
            missing = (
                no_events()
            )  # asked first: an observer that gets no more than its instance never gives it back
            if missing is not None:
                self._refused[outbox] = missing.reason
                return
            self._observer = _Observer()
            self._observer.start()
        self._watches[outbox] = self._observer.schedule(
            _Handler(outbox, self._sink), str(outbox.root), recursive=True, event_filter=_EVENTS
        )

    def _note_limit(self, outbox: Outbox) -> None:
        # Folders beyond the limit are silently skipped, now and later.
        if watches_used_up(outbox.root):
            self._incomplete.add(outbox)

    def _end(self) -> None:
        if self._observer is not None:
            self._observer.stop()
            self._observer.join()
            self._observer = None


class NoWatcher:
    """Watches nothing: `fawkesd once` scans the outboxes, and ends."""

    def rearm(self, outbox: Outbox) -> None:
        """Nothing to do."""

    def retry(self, outbox: Outbox) -> None:
        """Nothing to do."""

    def is_deaf(self, outbox: Outbox) -> bool:
        """Nothing is watched."""
        return False

    def why_polled(self, outbox: Outbox) -> None:
        """Nothing is polled."""

    def how(self, outboxes: Sequence[Outbox], poll_s: float) -> str:
        """Say so, for `status`."""
        return "nothing, `fawkesd once` publishes what waits and ends"


class _Observer(InotifyObserver):
    """Watchdog's observer, which does not tell by itself when one of its threads has died."""

    @property
    def works(self) -> bool:
        """Whether the threads that read and dispatch events are alive."""
        return self.is_alive() and self._inotify_fd.is_alive()

    def hears(self, watch: ObservedWatch) -> bool:
        """Whether events of a watch come."""
        return self.works and any(emitter.watch == watch and emitter.is_alive() for emitter in self.emitters)

    def has(self, watch: ObservedWatch) -> bool:
        """Whether a watch is one of this observer."""
        return any(emitter.watch == watch for emitter in self.emitters)


def _why_refused(exc: OSError) -> str:
    if exc.errno == errno.ENOSPC:
        return _limit_reached()
    missing = no_events()
    return missing.reason if missing else explain(exc)


def _limit_reached() -> str:
    limit = inotify_limit("watches")
    return "the kernel's limit of watched folders is reached" + (f": {limit}" if limit else "")


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
