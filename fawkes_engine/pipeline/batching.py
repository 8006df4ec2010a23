"""Batching: how many photos are processed together, and how a refused one leaves the others unaffected."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from fawkes_engine.errors import Refusal
from fawkes_engine.photo.decode import pixel_count
from fawkes_engine.steps import Phase, Step
from fawkes_engine.types import Request

_PIXELS_TOGETHER = 24_000_000  # maximum decoded together; a larger photo is processed alone

Item = TypeVar("Item")
Result = TypeVar("Result")


def groups(requests: Sequence[Request]) -> Iterator[list[Request]]:
    """Split requests into batches that fit in memory together; a larger photo is processed alone."""
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
    """Split faces into as few batches as possible, about equally large: 10 and 9 take less time than 16 and 3.

    All but the last have an even size, since an odd batch may be padded with a duplicate face for the recognisers.
    """
    if not items:
        return
    count = math.ceil(len(items) / at_most)
    size = math.ceil(len(items) / count)
    size = min(at_most, size + size % 2)
    for start in range(0, len(items), size):
        yield items[start : start + size]


def or_refusal(step: Callable[[Item], Result], item: Item) -> Result | Refusal:
    """Return a step's result for an item, or the Refusal it raises."""
    try:
        return step(item)
    except Refusal as refusal:
        return refusal.with_traceback(None)  # which would keep the photo's pixels as long as the refusal


def each(step: Callable[[Item], Result], items: Iterable[Item | Refusal]) -> list[Result | Refusal]:
    """Return a step's result for each item, or the Refusal it raises; refusals among the items are passed through."""
    return [item if isinstance(item, Refusal) else or_refusal(step, item) for item in items]


def together(
    step: Callable[[Sequence[Item]], Sequence[Result]], items: Sequence[Item | Refusal]
) -> list[Result | Refusal]:
    """Return a step's results for all items at once; refusals are passed through without the step seeing them."""
    results = iter(step([item for item in items if not isinstance(item, Refusal)]))
    return [item if isinstance(item, Refusal) else next(results) for item in items]


def no_sign(_step: object) -> None:
    """Ignore how far the work is."""


def within(phase: Phase, on_step: Callable[[Step], None]) -> Callable[[float], None]:
    """Return what tells the shares of a phase as steps."""
    return lambda share: on_step(Step(phase, share))
