"""A preview of a cloak's visibility in the published file, computed on the crop around its face.

Used during optimisation and to fit the finished cloaks into the budget; the whole file is only written afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor

from fawkes_engine.cloak.optimise import Cloak
from fawkes_engine.face.canvas import blocks_around
from fawkes_engine.image.visibility import Visibility
from fawkes_engine.modes import Budget
from fawkes_engine.photo.encode import as_written
from fawkes_engine.photo.transplant import Host, Source
from fawkes_engine.pipeline.work import Work

# Where JPEG alone exceeds this share of the budget, its quality is raised along these steps: what JPEG uses, the cloak
# loses.
_ENCODING_SHARE = 0.1
_QUALITIES = (97, 99, 100)
_FINEST = 99  # with steps of 1 and 2 nearly alone
# Into its own file a photo with halved colours goes for more, at the finest quality: as a whole it would be two to four
# times as large, and all of it new.
_SHARE_FOR_OWN_FILE = 0.3
_FIT_ROUNDS = 8
_SMOOTH_SCALE = 0.5
_COARSEST = 1  # of Pillow's qualities: no table is coarser, so none is refined


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a photo is encoded.

    quality: Pillow's, for JPEG output. alone: visibility of the encoding on each face without a cloak. host: carries
    over the blocks that no cloak touches; None if the whole photo is encoded.
    """

    quality: int
    alone: Sequence[Visibility]
    host: Host | None = None


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
        """How the photo is encoded: into its own file, if no face loses much by it, or as a whole.

        A photo in full colour loses no less as a whole, as the steps are no finer; and at the finest qualities, where
        every block would hold the noise of rounded pixels, it is a quarter larger. So it goes into its own file, too;
        and so does one with halved colours for a bearable share of the budget.
        """
        photo = self.work.photo
        try:
            source = Source(photo.jpeg, photo.lies) if photo.jpeg is not None else None
        except (ValueError, OSError):
            source = None
        if source is None:
            return self.whole
        if not self.work.faces:
            return Encoding(_COARSEST, [], Host.of(source, _COARSEST))
        for quality in self._qualities(self.lowest_quality):
            host = Host.of(source, quality)
            clean = [self._alone_in(host, i, quality) for i in range(len(self.work.faces))]
            if self._takes_little(clean):
                return Encoding(quality, clean, host)
        if source.full_colour and self.whole.quality >= _FINEST:
            return replace(self.whole, host=Host.of(source, self.whole.quality))
        if not source.full_colour and self._takes_little(clean, _SHARE_FOR_OWN_FILE):
            return Encoding(quality, clean, host)
        return self.whole

    @cached_property
    def whole(self) -> Encoding:
        """How the photo is encoded as a whole: at the lowest quality that takes little of the budget, or the best."""
        for quality in self._qualities(max(self.lowest_quality, self.work.photo.jpeg_quality)):
            clean = [self._look_at(i, None, quality, None)(None) for i in range(len(self.work.faces))]
            if self._takes_little(clean):
                break
        return Encoding(quality, clean)

    def visibility_of(self, index: int, delta: Tensor, points: Tensor) -> Visibility:
        """Return the visibility of one face's delta (3, S, S) in the published file, warped by points (2, K, K)."""
        return self._look_at(index, points, self.encoding.quality, self.encoding.host)(delta)

    def fitted(self, index: int, cloak: Cloak) -> Cloak:
        """Return one face's cloak, its delta scaled down to fit the budget, on the CPU."""
        delta, points = cloak.delta.cpu(), cloak.points.cpu()
        look = self._look_at(index, points, self.encoding.quality, self.encoding.host)
        for _ in range(_FIT_ROUNDS):
            share = look(delta).share_of(self.budget)
            if share <= 1:
                break
            delta = delta * max(0.5, 0.99 * share**-0.5)  # DSSIM grows with the square
        return replace(cloak, delta=delta, points=points)

    def _alone_in(self, host: Host, index: int, quality: int) -> Visibility:
        """Return what a host takes of the budget that a cloak wants, on one face.

        The cloak of a face worked on at half its size or less is smooth: it fits into halved colour resolution, and
        uses up the DSSIM at 224 px, not the one at full size, of which quantisation may take what it leaves.
        """
        seen = self._look_at(index, None, quality, host)(None)
        is_smooth = self.work.canvases[index].scale <= _SMOOTH_SCALE
        return replace(seen, dssim=seen.dssim_224) if is_smooth else seen

    def _qualities(self, lowest: int) -> tuple[int, ...]:
        return (lowest, *(quality for quality in _QUALITIES if quality > lowest))

    def _takes_little(self, clean: Sequence[Visibility], most: float = _ENCODING_SHARE) -> bool:
        return all(seen.share_of(self.budget) <= most for seen in clean)

    def _look_at(
        self, index: int, points: Tensor | None, quality: int, host: Host | None
    ) -> Callable[[Tensor | None], Visibility]:
        """Return what tells the visibility of deltas on one face, once it is warped by points; None changes nothing."""
        photo, canvas = self.work.photo, self.work.canvases[index]
        around = host.source.around if host else partial(blocks_around, pixels=photo.pixels)
        rows, columns = around(canvas.region)
        here = canvas.seen_from(columns.start, rows.start)
        before = photo.pixels[rows, columns].copy()
        if points is not None:
            here.warp(points, before)
        elif host:  # on its own grid of blocks a clean face would come back as it is
            before = np.roll(before, 1, axis=(0, 1))

        def look(delta: Tensor | None) -> Visibility:
            after = before.copy()
            if delta is not None:
                here.add(delta, after)
            written = host.as_written(after) if host else as_written(photo, after, quality)
            return here.compare(before, written, self.work.faces[index].height_px, self.device)

        return look
