"""Whether a picture that came back is this photo with its faces cloaked, and nothing else changed."""

from __future__ import annotations

import numpy as np

from fawkes_engine import Budget, NotProtected
from fawkes_engine.device import chosen
from fawkes_engine.photo.colour import Pixels
from fawkes_engine.pipeline.verify import changed_parts, parts_around, where
from fawkes_engine.pipeline.work import Work

_WITH_LOSS = {"JPEG", "AVIF", "HEIF"}
# How far the mean of a block of so many px may be off outside the faces, where the whole photo was encoded anew with
# loss: levels of 255. XXX measured.
_BLOCK_PX = 8
_LEVELS_OFF = 4.0
_BAND = 256  # rows compared at a time, whole blocks; bounds memory
# The budget is for what is added to the warped face, and the warp is not known here: these are for both together, as
# shares of the budget. XXX measured
_WITH_WARP = {"dssim_224": 20.0, "colour_mean": 4.0, "colour_p99": 6.0}


def check_surroundings(work: Work, pixels: Pixels) -> None:
    """Raise NotProtected unless pixels (H, W, 3) are the photo's but around the cloaked faces; nearly, if with loss."""
    if changed_parts(work, pixels) is not None:
        return
    if work.photo.format not in _WITH_LOSS or _most_off(work, pixels) > _LEVELS_OFF:
        raise NotProtected("it is changed where there is no face to cloak")


def check_faces(work: Work, pixels: Pixels, budget: Budget) -> None:
    """Raise NotProtected for a face that has changed more than a warp and a cloak of this budget change it."""
    for face, canvas in zip(work.faces, work.canvases, strict=True):
        seen = canvas.compare(work.photo.pixels, pixels, face.height_px, chosen("cpu"))
        shares = {
            "dssim_224": seen.dssim_224 / budget.dssim,
            "colour_mean": seen.colour_mean / budget.colour_mean,
            "colour_p99": seen.colour_p99 / budget.colour_p99,
        }
        if not all(shares[name] <= most for name, most in _WITH_WARP.items()):
            raise NotProtected(f"the face {where(face)} is changed more than a cloak would")


def _most_off(work: Work, pixels: Pixels) -> float:
    """Return how far the mean of any block, in any channel, is off outside the faces; levels."""
    most = 0.0
    for top in range(0, len(pixels), _BAND):
        off = pixels[top : top + _BAND].astype(np.int16) - work.photo.pixels[top : top + _BAND]
        for x0, y0, x1, y1 in parts_around(work):
            off[max(0, y0 - top) : max(0, y1 - top), max(0, x0) : max(0, x1)] = 0
        rows, columns = (np.arange(0, side, _BLOCK_PX) for side in off.shape[:2])
        sums = np.add.reduceat(np.add.reduceat(off, rows, axis=0, dtype=np.int32), columns, axis=1)
        most = max(most, float(np.abs(sums).max()) / _BLOCK_PX**2)
    return most
