"""Whether a picture that came back is this photo with its faces cloaked, and nothing else changed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fawkes_engine import Budget, NotProtected
from fawkes_engine.device import chosen
from fawkes_engine.photo.colour import Pixels
from fawkes_engine.photo.orientation import Region
from fawkes_engine.photo.transplant import equal_outside
from fawkes_engine.pipeline.verify import grown, where
from fawkes_engine.pipeline.work import Work

_WITH_LOSS = {"JPEG", "AVIF", "HEIF"}
# How far the mean of a block of so many px may be off outside the faces, where the whole photo was encoded anew with
# loss: levels of 255. What the engine wrote was off by 2.0 at most, in AVIF; an overlay of 3 % is off by more than 4.
_BLOCK_PX = 8
_LEVELS_OFF = 4.0
_COLOURS_REACH_PX = 2  # where they have half the resolution
_BAND = 256  # rows compared at a time, whole blocks; bounds memory
# A budget is for what is added to the warped face, and the warp is not known here. So much more the unwarped face may
# seem to have changed for each part of its height by which it may be warped; the engine's photos had two thirds of it.
_DSSIM_OF_WARP, _MEAN_OF_WARP, _P99_OF_WARP = 8.0, 150.0, 800.0


def check_surroundings(work: Work, pixels: Pixels) -> None:
    """Raise NotProtected unless pixels (H, W, 3) are the photo's but in the regions of the cloaked faces.

    To the bit, if they are written without loss; nearly so around the regions, or everywhere, if they are not.
    """
    before, regions = work.photo.pixels, [canvas.region for canvas in work.canvases]
    if work.photo.format not in _WITH_LOSS:
        is_equal = equal_outside(before, pixels, regions)
    else:
        is_equal = (
            _most_off(before, pixels, [grown(region, _COLOURS_REACH_PX) for region in regions]) <= _LEVELS_OFF
        )
    if not is_equal:
        raise NotProtected("it is changed where there is no face to cloak")


def check_faces(work: Work, pixels: Pixels, budget: Budget) -> None:
    """Raise NotProtected for a face that has changed more than a warp and a cloak of this budget change it."""
    for face, canvas in zip(work.faces, work.canvases, strict=True):
        seen = canvas.compare(work.photo.pixels, pixels, face.height_px, chosen("cpu"))
        is_within = (
            seen.dssim_224 <= budget.dssim + _DSSIM_OF_WARP * budget.warp
            and seen.colour_mean <= budget.colour_mean + _MEAN_OF_WARP * budget.warp
            and seen.colour_p99 <= budget.colour_p99 + _P99_OF_WARP * budget.warp
        )
        if not is_within:
            raise NotProtected(f"the face {where(face)} is changed more than a cloak would")


def _most_off(before: Pixels, after: Pixels, regions: Sequence[Region]) -> float:
    """Return how far the mean of any block, in any channel, is off outside of regions; levels."""
    most = 0.0
    for top in range(0, len(before), _BAND):
        off = after[top : top + _BAND].astype(np.int16) - before[top : top + _BAND]
        for x0, y0, x1, y1 in regions:
            off[max(0, y0 - top) : max(0, y1 - top), max(0, x0) : max(0, x1)] = 0
        rows, columns = (np.arange(0, side, _BLOCK_PX) for side in off.shape[:2])
        sums = np.add.reduceat(np.add.reduceat(off, rows, axis=0, dtype=np.int32), columns, axis=1)
        most = max(most, float(np.abs(sums).max()) / _BLOCK_PX**2)
    return most
