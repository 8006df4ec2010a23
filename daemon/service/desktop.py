"""What a person at the desktop is told: that the state has changed, not that a photo was made.

Several changes within a minute become one message.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from daemon.config.validators import NOTIFY_SEND
from daemon.service.hooks import Call
from daemon.text import printable

_LOOK_EVERY_S = 5.0
_TELL_EVERY_S = 60.0
_BACKLOG_PHOTOS = 10  # fewer are done before anyone wonders


@dataclass(frozen=True, slots=True)
class Situation:
    """What messages are about. held, waiting: photos. paused: user -> why nothing can be published."""

    held: int = 0
    waiting: int = 0
    paused: Mapping[str, str] = field(default_factory=dict)


class DesktopNotices:
    """Compares the situation with the one last told. `now` is monotonic seconds."""

    def __init__(self, situation: Callable[[], Situation], run: Callable[[Call], None]) -> None:
        """run: shows a message, by a call of notify-send."""
        self._situation = situation
        self._run = run
        self._told = Situation(held=situation().held)  # what is paused from the start is news
        self._most_waiting = 0
        self._due_s = -math.inf

    def step(self, now: float) -> float:
        """Tell what has changed; returns when this must be called again, at the latest."""
        if now < self._due_s:
            return self._due_s
        found = self._situation()
        self._most_waiting = max(self._most_waiting, found.waiting)
        news = list(_news(self._told, found))
        if found.waiting == 0:
            if self._most_waiting >= _BACKLOG_PHOTOS:
                news.append("No photo waits any more")
            self._most_waiting = 0
        self._told = found
        self._due_s = now + (_TELL_EVERY_S if news else _LOOK_EVERY_S)
        if news:
            # the body of a message is markup
            body = html.escape("\n".join(map(printable, news)))
            self._run(Call((NOTIFY_SEND, "--app-name=fawkesd", "--", "fawkesd", body)))
        return self._due_s if news else math.inf


def _news(before: Situation, after: Situation) -> Iterator[str]:
    if after.held > before.held:
        yield f"{after.held - before.held} more held: `fawkesd status` says why"
    for user, reason in after.paused.items():
        if before.paused.get(user) != reason:
            yield f"{user}: paused: {reason}"
    for user in before.paused.keys() - after.paused.keys():
        yield f"{user}: publishing again"
