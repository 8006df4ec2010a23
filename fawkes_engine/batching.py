"""Photos in groups: how many at once, and how one that is refused leaves the others alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from fawkes_engine.photo import pixel_count
from fawkes_engine.types import Refusal, Request
from fawkes_engine.work import Work

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


def every_face(works: Sequence[Work]) -> list[tuple[Work, int]]:
    """Return photos and numbers of their faces, for all faces."""
    return [(work, i) for work in works for i in range(len(work.faces))]


def or_refusal(step: Callable[[Item], Result], item: Item) -> Result | Refusal:
    """Return what a step makes of an item, or the Refusal it raises."""
    try:
        return step(item)
    except Refusal as refusal:
        return refusal


def no_sign() -> None:
    """Tell nobody that there is progress."""
