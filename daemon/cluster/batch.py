"""A batch that is shared out in tasks of a few photos, and told in its order."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence

from daemon.workers.protocol import Deferred, Outcome, Refused
from fawkes_engine import Request

_MOST_PHOTOS, _MOST_BYTES = 16, 64 << 20  # of a task
_TASKS_LEFT = 2  # each engine's share of what is left: tasks get smaller, and nodes end together
_FEW_PHOTOS = 4  # no task gets smaller while there is one for every engine: small batches cost more a photo
_FAILURES_BEFORE_REFUSED = 2
_CONFLICTS_BEFORE_DEFERRED = 5
_OBJECTIONS_BEFORE_REFUSED = 2


class Batch:
    """The photos of a batch: each waits, is in a task, or has its outcome."""

    def __init__(self, requests: Sequence[Request]) -> None:
        self.requests = requests
        self._waiting = deque(range(len(requests)))
        self._alone: deque[int] = deque()
        self._outcomes: dict[int, Outcome] = {}
        self._told = 0
        self._failures: Counter[int] = Counter()
        self._conflicts: Counter[int] = Counter()
        self._objections: Counter[int] = Counter()

    @property
    def is_told(self) -> bool:
        """Whether every outcome was told."""
        return self._told == len(self.requests)

    @property
    def share(self) -> float:
        """How many of the photos have their outcome, 0 to 1."""
        return (self._told + len(self._outcomes)) / len(self.requests)

    def told(self) -> Iterator[Outcome]:
        """Yield the next outcomes, in the order of the requests, as far as there are any."""
        while self._told in self._outcomes:
            outcome = self._outcomes.pop(self._told)
            self._told += 1
            yield outcome

    def take(self, engines: int, *, at_rest: bool) -> tuple[int, ...]:
        """Return the photos of the next task; none if no photo waits.

        A photo that is suspected goes last and alone: Dask counts the death of a node against all of its tasks.
        engines: how many share the work. at_rest: no task is in flight.
        """
        if not self._waiting:
            return (self._alone.popleft(),) if self._alone and at_rest else ()
        fair, share = (math.ceil(len(self._waiting) / tasks) for tasks in (engines, _TASKS_LEFT * engines))
        most = min(_MOST_PHOTOS, max(share, min(_FEW_PHOTOS, fair)))
        task: list[int] = []
        size = 0
        while self._waiting and len(task) < most:
            size += len(self.requests[self._waiting[0]].data)
            if task and size > _MOST_BYTES:
                break
            task.append(self._waiting.popleft())
        return tuple(task)

    def answer(self, photo: int, outcome: Outcome) -> None:
        """Note a photo's outcome."""
        self._outcomes[photo] = outcome

    def put_back(self, photos: Iterable[int]) -> None:
        """Let photos wait again that nothing speaks against."""
        self._waiting.extendleft(reversed(list(photos)))

    def conflicting(self, photo: int) -> None:
        """Let a photo wait again whose people changed meanwhile."""
        deferred = Deferred("the people in it were met by other machines at the same time")
        self._again(photo, self._conflicts, _CONFLICTS_BEFORE_DEFERRED, deferred)

    def objected(self, photo: int, refused: Refused) -> None:
        """Let a photo wait once more whose result may not be published; refuse it the second time.

        A node goes by what was known of people when it got its task, and by now their faces may be known better.
        """
        self._again(photo, self._objections, _OBJECTIONS_BEFORE_REFUSED, refused)

    def _again(self, photo: int, times: Counter[int], most: int, outcome: Outcome) -> None:
        """Let a photo wait again, until that was asked this often: then it has the outcome."""
        times[photo] += 1
        if times[photo] < most:
            self._waiting.appendleft(photo)
        else:
            self.answer(photo, outcome)

    def failed(self, photos: Sequence[int], reason: str, *, deaths: int = 1) -> None:
        """Try photos again, each alone, with which an engine has failed; refuse one that has failed so twice alone."""
        for photo in photos:
            was_alone = photo in self._failures
            self._failures[photo] += deaths if was_alone else 0
            if self._failures[photo] < _FAILURES_BEFORE_REFUSED:
                self._alone.append(photo)
            else:
                text = f"the engine stopped twice while working on this photo: {reason}"
                self.answer(photo, Refused("EngineFailed", text))

    def defer(self, reason: str) -> None:
        """Give up everything that waits."""
        for photo in (*self._waiting, *self._alone):
            self.answer(photo, Deferred(reason))
        self._waiting.clear()
        self._alone.clear()
