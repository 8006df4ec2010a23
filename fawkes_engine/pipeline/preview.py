"""A preview of a cloak's visibility in the published file, computed on the crop around its face.

Used during optimisation and to fit the finished cloaks into the budget; the whole file is only written afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from fawkes_engine.cloak.optimise import Cloak
from fawkes_engine.face.canvas import blocks_around
from fawkes_engine.image.visibility import Visibility
from fawkes_engine.modes import Budget
from fawkes_engine.photo.encode import as_written
from fawkes_engine.pipeline.work import Work

# Where JPEG alone exceeds this share of the budget, its quality is raised along these steps: what JPEG uses, the cloak
# loses.
_ENCODING_SHARE = 0.1
_QUALITIES = (97, 99, 100)
_FIT_ROUNDS = 8


@dataclass(frozen=True, slots=True)
class Encoding:
    """quality: Pillow's, for JPEG output. alone: visibility of the encoding on each face without a cloak."""

    quality: int
    alone: Sequence[Visibility]


@dataclass(frozen=True)
class Preview:
    """The faces of one photo as they will look once published.

    budget: for each face. lowest_quality: minimum for JPEG output. device: where faces are compared.
    """

    work: Work
    budget: Budget
    lowest_quality: int
    device: torch.device

    @cached_property
    def encoding(self) -> Encoding:
        """How the photo is encoded: at the lowest quality allowed, or higher where that alone exceeds its share."""
        lowest = max(self.lowest_quality, self.work.photo.jpeg_quality)
        for quality in (lowest, *(q for q in _QUALITIES if q > lowest)):
            clean = [self._look(i, None, quality) for i in range(len(self.work.faces))]
            if all(seen.share_of(self.budget) <= _ENCODING_SHARE for seen in clean):
                break
        return Encoding(quality, clean)

    def visibility_of(self, index: int, delta: Tensor, points: Tensor) -> Visibility:
        """Return the visibility of one face's delta (3, S, S) in the published file, warped by points (2, K, K)."""
        return self._look(index, (points, delta), self.encoding.quality)

    def fitted(self, index: int, cloak: Cloak) -> Cloak:
        """Return one face's cloak, its delta scaled down to fit the budget, on the CPU."""
        delta, points = cloak.delta.cpu(), cloak.points.cpu()
        for _ in range(_FIT_ROUNDS):
            share = self.visibility_of(index, delta, points).share_of(self.budget)
            if share <= 1:
                break
            delta = delta * max(0.5, 0.99 * share**-0.5)  # DSSIM grows with the square
        return replace(cloak, delta=delta, points=points)

    def _look(self, index: int, cloak: tuple[Tensor, Tensor] | None, quality: int) -> Visibility:
        photo, canvas = self.work.photo, self.work.canvases[index]
        rows, columns = blocks_around(canvas.region, photo.pixels)
        here = canvas.seen_from(columns.start, rows.start)
        before = photo.pixels[rows, columns].copy()
        if cloak is None:
            after = before
        else:
            points, delta = cloak
            here.warp(points, before)
            after = before.copy()
            here.add(delta, after)
        face = self.work.faces[index]
        return here.compare(before, as_written(photo, after, quality), face.height_px, self.device)
