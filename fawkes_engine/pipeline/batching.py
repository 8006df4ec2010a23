"""Photos in groups: how many at once, and how one that is refused leaves the others alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from fawkes_engine.errors import Refusal
from fawkes_engine.photo.decode import pixel_count
from fawkes_engine.types import Request

_PIXELS_TOGETHER = 24_000_000  # photos of a batch that are decoded at once have at most so many, or are alone

Item = TypeVar("Item")
Result = TypeVar("Result")


def groups(requests: Sequence[Request]) -> Iterator[list[Request]]:
    """Cut requests into runs that fit in memory together; a larger photo is alone."""
    group: list[Request] = []
    pixels = 0
    for request in requests:
        size = pixel_count(request.data)
        if group and pixels + size > _PIXELS_TOGETHER:
            yield group
            group, pixels = [], 0
        group.append(request)
        pixels += size
    if group:
        yield group


def evenly(items: Sequence[Item], at_most: int) -> Iterator[Sequence[Item]]:
    """Cut faces into as few batches as possible, about equally large: 10 and 9 take less time than 16 and 3.

    All but the last hold an even number, since of an odd one the recognisers are passed one face twice.
    """
    if not items:
        return
    count = math.ceil(len(items) / at_most)
    size = math.ceil(len(items) / count)
    size = min(at_most, size + size % 2)
    for start in range(0, len(items), size):
        yield items[start : start + size]


def or_refusal(step: Callable[[Item], Result], item: Item) -> Result | Refusal:
    """Return what a step makes of an item, or the Refusal it raises."""
    try:
        return step(item)
    except Refusal as refusal:
        return refusal


def each(step: Callable[[Item], Result], items: Iterable[Item | Refusal]) -> list[Result | Refusal]:
    """Return what a step makes of each item, or the Refusal it raises; refusals among the items stay."""
    return [item if isinstance(item, Refusal) else or_refusal(step, item) for item in items]


def together(
    step: Callable[[Sequence[Item]], Sequence[Result]], items: Sequence[Item | Refusal]
) -> list[Result | Refusal]:
    """Return what a step makes of all items at once; refusals among the items stay, and it does not see them."""
    results = iter(step([item for item in items if not isinstance(item, Refusal)]))
    return [item if isinstance(item, Refusal) else next(results) for item in items]


def no_sign() -> None:
    """Tell nobody that there is progress."""
