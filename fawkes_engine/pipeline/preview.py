"""What a person will see of a cloak in the published file, told from the piece of the file around its face.

The cloak step asks this while it optimises, and for the cloaks it hands on; the whole file is written only after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from fawkes_engine.face.canvas import blocks_around
from fawkes_engine.image.visibility import Visibility
from fawkes_engine.photo.encode import as_written
from fawkes_engine.pipeline.work import Work
from fawkes_engine.types import Budget

# JPEG alone may use up this share of the budget before its quality is raised along these steps: what it takes, the
# cloak loses.
_ENCODING_SHARE = 0.1
_QUALITIES = (97, 99, 100)
_FIT_ROUNDS = 8


@dataclass(frozen=True, slots=True)
class Encoding:
    """quality: Pillow's, of JPEG output. alone: what a person can see of it on each face without a cloak."""

    quality: int
    alone: Sequence[Visibility]


@dataclass(frozen=True)
class Preview:
    """The faces of one photo as they will look once published.

    budget: of every face. lowest_quality: of JPEG output. device: where faces are compared.
    """

    work: Work
    budget: Budget
    lowest_quality: int
    device: torch.device

    @cached_property
    def encoding(self) -> Encoding:
        """How the photo is encoded: the lowest quality allowed, or more where that alone would eat the budget."""
        lowest = max(self.lowest_quality, self.work.photo.jpeg_quality)
        for quality in (lowest, *(q for q in _QUALITIES if q > lowest)):
            clean = [self._look(i, None, quality) for i in range(len(self.work.faces))]
            if all(seen.share_of(self.budget) <= _ENCODING_SHARE for seen in clean):
                break
        return Encoding(quality, clean)

    def visibility_of(self, index: int, delta: Tensor) -> Visibility:
        """Return what a person will see of one face's delta (3, S, S) in the published file."""
        return self._look(index, delta, self.encoding.quality)

    def fitted(self, index: int, delta: Tensor) -> Tensor:
        """Return one face's delta (3, S, S), made as much weaker as the budget asks for, on the CPU."""
        delta = delta.cpu()
        for _ in range(_FIT_ROUNDS):
            share = self.visibility_of(index, delta).share_of(self.budget)
            if share <= 1:
                break
            delta = delta * max(0.5, 0.99 * share**-0.5)  # DSSIM grows with the square
        return delta

    def _look(self, index: int, delta: Tensor | None, quality: int) -> Visibility:
        photo, canvas = self.work.photo, self.work.canvases[index]
        rows, columns = blocks_around(canvas.region, photo.pixels)
        here = canvas.seen_from(columns.start, rows.start)
        before = photo.pixels[rows, columns]
        after = before.copy()
        if delta is not None:
            here.add(delta, after)
        face = self.work.faces[index]
        return here.compare(before, as_written(photo, after, quality), face.height_px, self.device)
