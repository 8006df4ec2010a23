"""Quiet hours: the hours of the day in which no photo is started.

Only local wall-clock time counts. Their end is never computed as a point in time, so changes of the clock (summer time,
set by hand) and suspend need no special case.
"""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass

_SPAN = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class QuietHours:
    """From start until just before end, local times of day; across midnight if end is earlier than start."""

    start: datetime.time
    end: datetime.time

    @classmethod
    def parse(cls, text: str) -> QuietHours:
        """Parse a text such as "23:00-07:00". Raises ValueError that says what is wrong with it."""
        found = _SPAN.fullmatch(text)
        if found is None:
            raise ValueError(f'{text!r} is not a range of hours; write it like "23:00-07:00"')
        hours = [datetime.time(int(found[i]), int(found[i + 1])) for i in (1, 3)]
        if hours[0] == hours[1]:
            raise ValueError(
                f"{text!r} begins and ends at the same time; write another end, or null for no quiet hours"
            )
        return cls(*hours)

    @property
    def ends(self) -> str:
        """The end, such as "07:00"."""
        return self.end.isoformat("minutes")

    def cover(self, moment: datetime.time) -> bool:
        """Whether a local time of day is within the quiet hours."""
        if self.start < self.end:
            return self.start <= moment < self.end
        return moment >= self.start or moment < self.end


def time_of_day() -> datetime.time:
    """The local wall-clock time."""
    return datetime.datetime.now().time()
