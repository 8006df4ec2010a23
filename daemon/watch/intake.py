"""Intake: turns file events and scans into READY rows of the ledger.

Events are hints, scans are the truth: every outbox is scanned as a whole at the start, when it comes back,
after events were lost, and every `rescan_s`; where events do not work, every `poll_s`.
"""

from __future__ import annotations

import logging
import random
import time
from collections import deque
from pathlib import Path

from daemon.config.settings import WatchSettings
from daemon.fs.filenames import Kind, kind_of
from daemon.fs.files import snapshot_of
from daemon.fs.ignore import ignored_by
from daemon.fs.tally import IgnoredPhotos, Tally
from daemon.fs.walk import walk
from daemon.model import Change, Outbox, Source, State
from daemon.state import facts
from daemon.state.ledger import Ledger
from daemon.text import printable
from daemon.timing import Timing
from daemon.watch.outboxes import Outboxes
from daemon.watch.readiness import Readiness
from daemon.watch.unfinished import UnfinishedNotes
from daemon.watch.watcher import Arrival, NoWatcher, Watcher

log = logging.getLogger(__name__)

# Files checked in one step, so that a backlog of 50,000 does not keep results waiting.
_CHECKS_PER_STEP = 500
_AFTER_LOSS_S = 1.0  # a burst that overflows the queue once does so again
_PAUSE_PER_SCAN = 20.0  # the least pause after a scan, in multiples of its duration


class Intake:
    """Collects arrivals, scans the outboxes, and admits files that are ready. Times are monotonic seconds."""

    def __init__(
        self,
        outboxes: Outboxes,
        ledger: Ledger,
        readiness: Readiness,
        watcher: Watcher | NoWatcher,
        arrivals: deque[Arrival],
        watch: WatchSettings,
        timing: Timing,
    ) -> None:
        """arrivals: the queue that the watcher's threads append to."""
        self._outboxes = outboxes
        self._ledger = ledger
        self._readiness = readiness
        self._watcher = watcher
        self._arrivals = arrivals
        self._watch = watch
        self._timing = timing
        self._unfinished = UnfinishedNotes(ledger.facts, readiness, timing.tell_unfinished_s)
        self._next_check_s = 0.0
        self._next_scan_s: dict[Outbox, float] = {}
        self._watching = ""
        self._ignored: dict[Outbox, list[IgnoredPhotos]] = {}
        self._warned_of_clips: set[Outbox] = set()

    def debounce(self, source: Source, now: float) -> None:
        """Start the debounce of a source that has changed."""
        self._readiness.event(source, now)

    @property
    def unsettled(self) -> int:
        """How many files are still being debounced."""
        return len(self._readiness)

    @property
    def due_s(self) -> float:
        """When `step` has something to do, unless something arrives first."""
        due_s = self._readiness.next_due_s()
        times = [self._next_check_s, *self._next_scan_s.values()]
        return min(times if due_s is None else [due_s, *times])

    def step(self, now: float) -> None:
        """Do what is due."""
        self._take_arrivals(now)
        if now >= self._next_check_s:
            self._check_outboxes(now)
        for outbox, due_s in list(self._next_scan_s.items()):
            if now >= due_s:
                self._scan(outbox, now)
        settled = self._readiness.ready(now, _CHECKS_PER_STEP)
        if settled:
            self._ledger.admit(settled)
        self._unfinished.step(now)

    def _check_outboxes(self, now: float) -> None:
        self._next_check_s = now + self._timing.check_outboxes_s
        changed = self._outboxes.check()
        deaf = [outbox for outbox in self._outboxes.online if self._watcher.is_deaf(outbox)]
        for outbox in deaf:
            log.warning("the events of %s ended; it is watched anew", printable(outbox.root))
        for outbox in {*changed, *deaf}:
            self._next_scan_s.pop(outbox, None)
            if outbox in self._outboxes.online:
                self._watcher.rearm(outbox)  # before the scan, so that nothing is missed in between
                self._drop_ignored(outbox)
                self._next_scan_s[outbox] = now
            self._note_watching()

    def _scan(self, outbox: Outbox, now: float) -> None:
        self._watcher.retry(outbox)  # before the walk, as above
        started_s = time.perf_counter()
        tally = Tally(outbox.root)
        for path in walk(outbox.root, outbox.ignore, on_ignored=tally.add):
            tally.look_at(path)
            self._notice(outbox, path, now)
        self._note_ignored(outbox, tally.result())
        self._forget_removed(outbox)
        took_s = time.perf_counter() - started_s
        is_polled = self._watcher.why_polled(outbox) is not None
        interval_s = self._watch.poll_s if is_polled else self._watch.rescan_s
        # Jitter, so that several outboxes on one network drive, or several daemons, drift apart.
        pause_s = max(interval_s, _PAUSE_PER_SCAN * took_s) * random.uniform(0.75, 1.25)
        self._next_scan_s[outbox] = now + pause_s
        self._note_watching()

    def _note_ignored(self, outbox: Outbox, photos: list[IgnoredPhotos]) -> None:
        if photos != self._ignored.get(outbox):
            self._ignored[outbox] = photos
            self._ledger.facts.note_ignored(outbox.root, photos)

    def _note_watching(self) -> None:
        watching = self._watcher.how(self._outboxes.online, self._watch.poll_s)
        if watching != self._watching:
            self._watching = watching
            self._ledger.facts.note(facts.WATCHING, watching)
            log.info("watching: %s", watching)

    def _take_arrivals(self, now: float) -> None:
        while self._arrivals:
            arrival = self._arrivals.popleft()
            if arrival.path == arrival.outbox.root:  # events were lost
                scan_s = self._next_scan_s.get(arrival.outbox, now + _AFTER_LOSS_S)
                self._next_scan_s[arrival.outbox] = min(scan_s, now + _AFTER_LOSS_S)
            elif arrival.is_directory:
                for path in walk(arrival.outbox.root, arrival.outbox.ignore, below=arrival.path):
                    self._notice(arrival.outbox, path, now)
            elif (source := self._photo_at(arrival.outbox, arrival.path)) is not None:
                self._readiness.event(source, now)

    def _notice(self, outbox: Outbox, path: Path, now: float) -> None:
        source = self._photo_at(outbox, path)
        if source is None or source in self._readiness:
            return
        snapshot = snapshot_of(path)
        if snapshot is not None and not self._ledger.knows(source, snapshot):
            self._unfinished.resume(source, snapshot, now)

    def _photo_at(self, outbox: Outbox, path: Path) -> Source | None:
        relative = path.relative_to(outbox.root)
        match kind_of(relative, outbox.ignore):
            case Kind.PHOTO:
                return Source(outbox, relative)
            case Kind.CLIP:
                self._warn_of_clips(outbox, path)
        return None

    def _warn_of_clips(self, outbox: Outbox, path: Path) -> None:
        if outbox not in self._warned_of_clips:
            self._warned_of_clips.add(outbox)
            log.warning(
                "videos are skipped, since fawkesd cannot cloak them: %s; further ones in this outbox are not logged",
                printable(path),
            )

    def _drop_ignored(self, outbox: Outbox) -> None:
        """Drop photos that were admitted under patterns that did not ignore them yet."""
        for state in (State.READY, State.HELD, State.REVIEW):
            for photo in self._ledger.in_state(state, user=outbox.user):
                if photo.source.outbox != outbox:
                    continue
                found = ignored_by(photo.source.relative, outbox.ignore)
                if found is not None:
                    self._ledger.move(photo, State.GONE, Change(reason=f"now ignored by {found.pattern}"))

    def _forget_removed(self, outbox: Outbox) -> None:
        # READY rows are found missing when they are read; PUBLISHED, REJECTED and RECALLED ones stay what they are.
        for photo in self._ledger.in_state(State.HELD, State.REVIEW, user=outbox.user):
            missing = photo.source.outbox == outbox and snapshot_of(photo.source.path) is None
            if missing and self._outboxes.has(photo.source):
                self._ledger.move(photo, State.GONE, Change(reason="the original was removed"))
