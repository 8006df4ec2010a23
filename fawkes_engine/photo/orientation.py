"""How a photo's pixels lie in its file: orientations 1 (upright) to 8, as EXIF numbers them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[Any]
Region = tuple[int, int, int, int]  # x0, y0, x1, y1, px

_AXES_SWAPPED = {5, 6, 7, 8}
_ROWS_FLIPPED, _COLUMNS_FLIPPED = {3, 4, 7, 8}, {2, 3, 6, 7}  # once the axes are swapped


def upright(pixels: Pixels, lies: int) -> Pixels:
    """Turn (H, W, ...) as it lies in a file upright."""
    if lies in _AXES_SWAPPED:
        pixels = pixels.swapaxes(0, 1)
    return np.ascontiguousarray(_flipped(pixels, lies))


def as_stored(pixels: Pixels, lies: int) -> Pixels:
    """Turn upright (H, W, ...) as it lies in a file."""
    pixels = _flipped(pixels, lies)
    return np.ascontiguousarray(pixels.swapaxes(0, 1) if lies in _AXES_SWAPPED else pixels)


def region_upright(region: Region, lies: int, width: int, height: int) -> Region:
    """Return where a region of a file lies in the upright photo of this width and height, px."""
    if lies in _AXES_SWAPPED:
        region = _swapped(region)
    return _region_flipped(region, lies, width, height)


def region_as_stored(region: Region, lies: int, width: int, height: int) -> Region:
    """Return where a region of the upright photo, of this width and height, px, lies in its file."""
    region = _region_flipped(region, lies, width, height)
    return _swapped(region) if lies in _AXES_SWAPPED else region


def _flipped(pixels: Pixels, lies: int) -> Pixels:
    rows = -1 if lies in _ROWS_FLIPPED else 1
    columns = -1 if lies in _COLUMNS_FLIPPED else 1
    return pixels[::rows, ::columns]


def _region_flipped(region: Region, lies: int, width: int, height: int) -> Region:
    x0, y0, x1, y1 = region
    if lies in _COLUMNS_FLIPPED:
        x0, x1 = width - x1, width - x0
    if lies in _ROWS_FLIPPED:
        y0, y1 = height - y1, height - y0
    return x0, y0, x1, y1


def _swapped(region: Region) -> Region:
    x0, y0, x1, y1 = region
    return y0, x0, y1, x1
