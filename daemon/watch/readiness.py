"""Debounces file events: decides when a file is ready. Pure bookkeeping: no thread, no clock, no sleep.

A file is ready once it had no event for `settle_s`, its stat was the same at the start and at the end of
that time, its container is complete, and nobody has it open for writing. One that stays unfinished is
passed on after `give_up_s` without a change, so that the engine's refusal makes it visible; one that is whole by its
headers, and only ends in zeros that may not be written, already after `doubt_s`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from daemon.model import Settled, Snapshot, Source, Unfinished


@dataclass(frozen=True, slots=True)
class Waiting:
    """A file that takes longer than usual to be ready.

    quiet_since_s: its last event or change. taken_s: when it is passed on if nothing changes; both None while it
    changes.
    """

    source: Source
    snapshot: Snapshot = field(compare=False)  # while it changes, that it does is all there is to say
    reason: Unfinished
    quiet_since_s: float | None = None
    taken_s: float | None = None


@dataclass(frozen=True, slots=True)
class _Pending:
    """A file being debounced.

    due_s: when to check again. since_s: when it was noticed. quiet_since_s: its last event or change. reason: what
    the last check found; None before the first.
    """

    snapshot: Snapshot
    due_s: float
    since_s: float
    quiet_since_s: float
    reason: Unfinished | None = None


class Readiness:
    """The files that are being debounced. Times are seconds of a monotonic clock."""

    def __init__(
        self,
        *,
        settle_s: float,
        give_up_s: float,
        doubt_s: float,
        look: Callable[[Path], Snapshot | None],
        why_unfinished: Callable[[Path], Unfinished | None],
    ) -> None:
        self._settle_s = settle_s
        self._give_up_s = give_up_s
        self._doubt_s = min(doubt_s, give_up_s)
        self._look = look
        self._why_unfinished = why_unfinished
        # In order of due_s: every entry is due settle_s after it was put at the end.
        self._pending: dict[Source, _Pending] = {}

    def __len__(self) -> int:
        return len(self._pending)

    def __contains__(self, source: Source) -> bool:
        return source in self._pending

    def event(self, source: Source, now: float) -> None:
        """Restart the debounce of a path; anything but a regular file is dropped."""
        self.found(source, self._look(source.path), now)

    def found(
        self,
        source: Source,
        snapshot: Snapshot | None,
        now: float,
        *,
        quiet_s: float = 0.0,
        reason: Unfinished | None = None,
    ) -> None:
        """The same for a path whose snapshot was just taken.

        quiet_s: for how long it is known not to have changed. reason: what a check of the last run found.
        """
        before = self._pending.pop(source, None)
        since_s = before.since_s if before else now - quiet_s
        self._watch(source, snapshot, now, since_s=since_s, quiet_since_s=now - quiet_s, reason=reason)

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
                self._watch(source, snapshot, now, since_s=pending.since_s, quiet_since_s=now)
                continue
            reason = self._why_unfinished(source.path)
            if reason is None or now >= pending.quiet_since_s + self._patience_s(reason):
                settled.append(Settled(source, snapshot))
            else:
                self._pending[source] = replace(pending, due_s=now + self._settle_s, reason=reason)
        return settled

    def waiting(self, now: float, longer_than_s: float) -> Iterator[Waiting]:
        """The files that were noticed long ago, and why they are not ready.

        Those of a large backlog that only were not checked yet are not among them.
        """
        for source, pending in self._pending.items():
            if now - pending.since_s < longer_than_s:
                continue
            if pending.reason is not None:
                taken_s = pending.quiet_since_s + self._patience_s(pending.reason)
                yield Waiting(source, pending.snapshot, pending.reason, pending.quiet_since_s, taken_s)
            elif now < pending.quiet_since_s + self._settle_s:
                yield Waiting(source, pending.snapshot, Unfinished.CHANGING)

    def next_due_s(self) -> float | None:
        """When `ready` has something to check; None if nothing is pending."""
        return next((pending.due_s for pending in self._pending.values()), None)

    def _patience_s(self, reason: Unfinished) -> float:
        return self._doubt_s if reason is Unfinished.ZEROS else self._give_up_s

    def _watch(
        self,
        source: Source,
        snapshot: Snapshot | None,
        now: float,
        *,
        since_s: float,
        quiet_since_s: float,
        reason: Unfinished | None = None,
    ) -> None:
        if snapshot is not None:
            self._pending[source] = _Pending(snapshot, now + self._settle_s, since_s, quiet_since_s, reason)
