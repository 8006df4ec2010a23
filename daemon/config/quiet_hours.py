"""The hours of the day in which nothing is begun.

They are told by the clock on the wall alone. No moment at which they end is ever computed: where the clock is put
forward or back, by summer time or by hand, or the machine slept, what the clock shows next is what counts.
"""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass

_SPAN = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class QuietHours:
    """From start to before end, local times of day; across midnight if end is the earlier one."""

    start: datetime.time
    end: datetime.time

    @classmethod
    def parse(cls, text: str) -> QuietHours:
        """The hours in such a text as "23:00-07:00". Raises ValueError saying what is wrong with it."""
        found = _SPAN.fullmatch(text)
        if found is None:
            raise ValueError(f'{text!r} is no span of hours; write it like "23:00-07:00"')
        hours = [datetime.time(int(found[i]), int(found[i + 1])) for i in (1, 3)]
        if hours[0] == hours[1]:
            raise ValueError(f"{text!r} ends when it begins; write another end, or null for no quiet hours")
        return cls(*hours)

    @property
    def ends(self) -> str:
        """When they end, such as "07:00"."""
        return self.end.isoformat("minutes")

    def cover(self, moment: datetime.time) -> bool:
        """Whether a local time of day is in them."""
        if self.start < self.end:
            return self.start <= moment < self.end
        return moment >= self.start or moment < self.end


def time_of_day() -> datetime.time:
    """What the clock on the wall shows."""
    return datetime.datetime.now().time()
