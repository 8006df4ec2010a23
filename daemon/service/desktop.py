"""Desktop notifications: of changes of the service's state, not of each photo.

Changes within a minute are merged into one notification.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from daemon.config.validators import NOTIFY_SEND
from daemon.service.hooks import Call
from daemon.text import printable

_CHECK_EVERY_S = 5.0
_NOTIFY_EVERY_S = 60.0
_BACKLOG_PHOTOS = 10  # fewer are finished before anyone wonders


@dataclass(frozen=True, slots=True)
class Situation:
    """What notifications report.

    held, review, waiting: numbers of photos. paused: user -> why nothing can be published; empty if not to be told.
    """

    held: int = 0
    review: int = 0
    waiting: int = 0
    paused: Mapping[str, str] = field(default_factory=dict)


class DesktopNotices:
    """Reports how the situation differs from the one reported last. `now` is monotonic seconds."""

    def __init__(self, situation: Callable[[], Situation], run: Callable[[Call], None]) -> None:
        """run: calls notify-send, which shows a notification."""
        self._situation = situation
        self._run = run
        found = situation()
        self._reported = Situation(
            held=found.held, review=found.review
        )  # pauses that exist at start are reported
        self._most_waiting = 0
        self._due_s = -math.inf

    def step(self, now: float) -> float:
        """Report what has changed; return when this must be called again, at the latest."""
        if now < self._due_s:
            return self._due_s
        found = self._situation()
        self._most_waiting = max(self._most_waiting, found.waiting)
        lines = list(news(self._reported, found, self._most_waiting))
        if found.waiting == 0:
            self._most_waiting = 0
        self._reported = found
        self._due_s = now + (_NOTIFY_EVERY_S if lines else _CHECK_EVERY_S)
        if lines:
            # the body of a notification is markup
            body = html.escape("\n".join(map(printable, lines)))
            self._run(Call((NOTIFY_SEND, "--app-name=fawkesd", "--", "fawkesd", body)))
        return self._due_s if lines else math.inf


def news(before: Situation, after: Situation, most_waiting: int) -> Iterator[str]:
    """Yield a line for each thing that is worse or well again. most_waiting: photos of the backlog, at its largest."""
    if after.held > before.held:
        yield f"{after.held - before.held} more held: `fawkesd status` shows why"
    if after.review > before.review:
        yield f"{after.review - before.review} more wait for review: `fawkesd held` lists them"
    for user, reason in after.paused.items():
        if before.paused.get(user) != reason:
            yield f"{user}: paused: {reason or '`fawkesd status` shows why'}"
    for user in before.paused.keys() - after.paused.keys():
        yield f"{user}: publishing again"
    if not after.waiting and most_waiting >= _BACKLOG_PHOTOS:
        yield "No more photos are waiting"
