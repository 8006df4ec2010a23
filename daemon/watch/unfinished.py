"""Notes in the ledger which files wait for their writers, for `status`, `why` and the next start."""

from __future__ import annotations

import time
from itertools import islice

from daemon.model import Snapshot, Source, Unfinished
from daemon.state import facts
from daemon.state.facts import Facts
from daemon.state.unfinished import UnfinishedFile, from_text, to_text
from daemon.watch.readiness import Readiness, Waiting

_MOST_FILES = 1000  # nobody reads more


class UnfinishedNotes:
    """The fact `UNFINISHED`. `now` is monotonic seconds."""

    def __init__(self, noted: Facts, readiness: Readiness, tell_s: float) -> None:
        """tell_s: until a file that is not finished is noted."""
        self._facts = noted
        self._readiness = readiness
        self._tell_s = tell_s
        before = from_text(noted.all().get(facts.UNFINISHED, "[]"))
        self._before = {(file.user, file.path): file for file in before}
        self._noted: list[Waiting] | None = None

    def step(self, now: float) -> None:
        """Note which files wait, if others do, or for another reason."""
        waiting = list(islice(self._readiness.waiting(now, self._tell_s), _MOST_FILES))
        if waiting != self._noted:
            self._noted = waiting
            # The ledger outlives the process, and so its times are those of the wall clock.
            ahead_s = time.time() - now
            self._facts.note(facts.UNFINISHED, to_text(_file(one, ahead_s) for one in waiting))

    def resume(self, source: Source, snapshot: Snapshot, now: float) -> None:
        """Hand a file that a scan found to the debounce, from where the last run was if it has not changed since.

        What it waits for is taken over as well, so that neither `status` nor a run that ends early forgets it.
        """
        file = self._before.pop((source.outbox.user, source.path), None)
        if file is None or file.unchanged_since is None or not file.snapshot.same_content(snapshot):
            self._readiness.found(source, snapshot, now)
        else:
            quiet_s = max(time.time() - file.unchanged_since, 0.0)
            # Another version may have had other words.
            reason = next((one for one in Unfinished if one.value == file.reason), None)
            self._readiness.found(source, snapshot, now, quiet_s=quiet_s, reason=reason)


def _file(waiting: Waiting, ahead_s: float) -> UnfinishedFile:
    def at(moment_s: float | None) -> float | None:
        return None if moment_s is None else moment_s + ahead_s

    return UnfinishedFile(
        user=waiting.source.outbox.user,
        path=waiting.source.path,
        snapshot=waiting.snapshot,
        reason=waiting.reason.value,
        unchanged_since=at(waiting.quiet_since_s),
        taken_at=at(waiting.taken_s),
    )
