"""Debounces file events: decides when a file is ready. Pure bookkeeping: no thread, no clock, no sleep.

A file is ready once it had no event for `settle_s`, its stat was the same at the start and at the end of
that time, its container is complete, and nobody has it open for writing. One that stays incomplete is
passed on after `give_up_s` without a change, so that the engine's refusal makes it visible.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from daemon.model import Settled, Snapshot, Source


@dataclass(frozen=True, slots=True)
class _Pending:
    """A file being debounced. due_s: when to check again. quiet_since_s: its last event or change."""

    snapshot: Snapshot
    due_s: float
    quiet_since_s: float


class Readiness:
    """The files that are being debounced. Times are seconds of a monotonic clock."""

    def __init__(
        self,
        *,
        settle_s: float,
        give_up_s: float,
        look: Callable[[Path], Snapshot | None],
        is_finished: Callable[[Path], bool],
    ) -> None:
        self._settle_s = settle_s
        self._give_up_s = give_up_s
        self._look = look
        self._is_finished = is_finished
        # In order of due_s: every entry is due settle_s after it was put at the end.
        self._pending: dict[Source, _Pending] = {}

    def __len__(self) -> int:
        return len(self._pending)

    def __contains__(self, source: Source) -> bool:
        return source in self._pending

    def event(self, source: Source, now: float) -> None:
        """Restart the debounce of a path; anything but a regular file is dropped."""
        self.found(source, self._look(source.path), now)

    def found(self, source: Source, snapshot: Snapshot | None, now: float) -> None:
        """The same for a path whose snapshot was just taken."""
        self._pending.pop(source, None)
        self._watch(source, snapshot, now, quiet_since_s=now)

    def ready(self, now: float, limit: int) -> list[Settled]:
        """Remove and return the files that are ready; checks at most `limit` of those that are due."""
        settled = []
        due = [source for source, _ in zip(self._pending, range(limit), strict=False)]
        for source in due:
            if self._pending[source].due_s > now:
                break
            pending = self._pending.pop(source)
            snapshot = self._look(source.path)
            if snapshot is None or snapshot != pending.snapshot:
                self._watch(source, snapshot, now, quiet_since_s=now)
            elif self._is_finished(source.path) or now - pending.quiet_since_s >= self._give_up_s:
                settled.append(Settled(source, snapshot))
            else:
                self._watch(source, snapshot, now, quiet_since_s=pending.quiet_since_s)
        return settled

    def next_due_s(self) -> float | None:
        """When `ready` has something to check; None if nothing is pending."""
        return next((pending.due_s for pending in self._pending.values()), None)

    def _watch(self, source: Source, snapshot: Snapshot | None, now: float, *, quiet_since_s: float) -> None:
        if snapshot is not None:
            self._pending[source] = _Pending(snapshot, now + self._settle_s, quiet_since_s)
