"""Monochrome pictures stored in colour: black-and-white as RGB, or toned (sepia, split toning, duotone).

In them the colour is a function of luminance alone, the tone curve. A cloak must move colours along that curve, or it
leaves stains that show as soon as somebody turns up the saturation. The pixels decide, around each face by itself, as
no format tells; so a collage, a border or a coloured rose in a black-and-white photo does no harm.

A lossy file keeps no tone exactly: chroma is subsampled and quantised coarsely, and only its mean over 16 x 16 px, a
block of chroma in 4:2:0, is near the truth. So the mean colour of blocks is compared with what the curve makes of each
block's own luminances, which holds in high contrast, too. Axes: N blocks, K knots of the curve.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fawkes_engine.photo.colour import ColourSpace, Pixels

Colours = npt.NDArray[np.floating[Any]]  # (..., 3), levels of 255
Region = tuple[int, int, int, int]  # x0, y0, x1, y1, px

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # JFIF's, so that a tone is in the chroma alone
_NEUTRAL = 2  # levels between the channels of a grey pixel, after lossy WebP and profiles of 8 bits
_BLOCK = 16
_GRID = 24  # blocks a side that are looked at
_FEWEST = 64  # blocks; a curve could be laid through the colours of fewer
# The curve is fitted around the region: px a side at least, and times the region's side.
_AREA, _LARGER = 256, 1.4
_KNOTS, _STIFF, _ROUNDS = 33, 0.01, 5
# Levels, 95th percentile. Toned pictures have up to 2.3 in JPEG of quality 60, 1.6 from quality 75 on; of 1,386 real
# colour photos none has less than 4.7, and the faces in full-size ones have 7.7 and more.
_OFF_CURVE = 2.5
_REACH = 8  # levels on each side over which the direction of a curve in 8 bits is measured
_PATCH = 8  # px a side, over which what JPEG adds averages out, and a cloak's stains do not


@dataclass(frozen=True)
class Tone:
    """The tone of a monochrome picture.

    curve: (256, 3) levels, its colour at each luminance. tolerance: levels by which a written file may stray from it.
    Grey survives every encoding, a tint strays by up to 1.5; cloaks in colour strayed by 2 to 4.
    """

    curve: Colours
    tolerance: float = 2.0

    @classmethod
    def of(cls, pixels: Pixels, region: Region) -> Tone | None:
        """Return the tone around a region of a photo (H, W, 3), None if it is in colour there."""
        x0, y0, x1, y1 = region
        inside = pixels[y0:y1, x0:x1]
        red, green, blue = (inside[..., channel].astype(np.int16) for channel in range(3))
        if max(np.abs(one - green).max() for one in (red, blue)) <= _NEUTRAL:
            return NEUTRAL
        shares, off = _blocks(_surroundings(pixels, region))
        if len(off) < _FEWEST:
            return None
        curve = _fitted(shares, off)
        for here, there in ((shares, off), _blocks(_whole_block(pixels, region))):
            if np.quantile(_residuals(here, there, curve), 0.95) > _OFF_CURVE:
                return None
        luminance = np.arange(256)
        knots = np.linspace(0, 255, _KNOTS)
        tint = np.stack([np.interp(luminance, knots, column) for column in curve.T], axis=1)
        # No file holds a colour beyond its levels: a curve that leaves them would have changes cut off, and so stains.
        return cls(np.clip(luminance[:, None] + tint, 0, 255))

    def change(self, pixels: Pixels, change: Colours) -> Colours:
        """Return the change along the curve that changes the luminance as `change` does; all are (H, W, 3) levels."""
        before = pixels @ _LUMA
        return self._at(before + change @ _LUMA) - self._at(before)

    def directions(self, srgb: Colours, space: ColourSpace | None) -> Colours:
        """Return unit vectors (..., 3) along the curve at sRGB colours, zeros where it stands still.

        space: of the photo, None for sRGB.
        """
        curve = np.clip(np.rint(self.curve), 0, 255).astype(np.uint8)
        seen = space.to_srgb(curve[None])[0] if space else curve
        levels = np.arange(256)
        ahead = (
            seen[np.minimum(levels + _REACH, 255)].astype(np.float32) - seen[np.maximum(levels - _REACH, 0)]
        )
        nearest = np.searchsorted(np.maximum.accumulate(seen @ _LUMA), srgb @ _LUMA)
        length = np.maximum(np.linalg.norm(ahead, axis=1, keepdims=True), 1e-6)
        vectors: Colours = (ahead / length)[np.minimum(nearest, 255)]
        return vectors

    def strayed(self, before: Pixels, after: Pixels) -> float:
        """Return how far colours (H, W, 3) moved off the curve, in levels: the 99th percentile over small patches."""
        moved = self._off(after) - self._off(before)
        patch = min(_PATCH, *moved.shape[:2])
        height, width = (side // patch for side in moved.shape[:2])
        patches = moved[: height * patch, : width * patch].reshape(height, patch, width, patch, 3)
        return float(np.quantile(np.abs(patches.mean(axis=(1, 3))).max(axis=-1), 0.99))

    def _off(self, pixels: Pixels) -> Colours:
        off: Colours = pixels - self._at(pixels @ _LUMA)
        return off

    def _at(self, luminance: Colours) -> Colours:
        levels = np.arange(256)
        return np.stack([np.interp(luminance, levels, column) for column in self.curve.T], axis=-1)


NEUTRAL = Tone(np.repeat(np.arange(256.0)[:, None], 3, axis=1), tolerance=0.5)


def _surroundings(pixels: Pixels, region: Region) -> Pixels:
    """Return the area around a region; it begins on the grid of blocks that most files have."""
    x0, y0, x1, y1 = region
    half = max(_AREA, _LARGER * max(x1 - x0, y1 - y0)) / 2
    left, top = (max(0, round(centre - half) // _BLOCK * _BLOCK) for centre in ((x0 + x1) / 2, (y0 + y1) / 2))
    return pixels[top : round((y0 + y1) / 2 + half), left : round((x0 + x1) / 2 + half)]


def _whole_block(pixels: Pixels, region: Region) -> Pixels:
    """Return a region of a photo of at least a block; that of a tiny face is grown to one."""
    x0, y0, x1, y1 = region
    height, width = pixels.shape[:2]
    left, top = max(0, min(x0, width - _BLOCK)), max(0, min(y0, height - _BLOCK))
    return pixels[top : max(y1, top + _BLOCK), left : max(x1, left + _BLOCK)]


def _blocks(pixels: Pixels) -> tuple[Colours, Colours]:
    """Return the luminances and the colour of blocks spread over a picture (H, W, 3).

    The first, (N, K), has the share of each knot in a block's luminances: its product with a curve's knots is the mean
    of the curve over the block. The second, (N, 3), is the mean of colour minus luminance.
    """
    height, width = (side // _BLOCK for side in pixels.shape[:2])
    rows, columns = (np.unique(np.linspace(0, n - 1, min(n, _GRID)).astype(int)) for n in (height, width))
    whole = pixels[: height * _BLOCK, : width * _BLOCK].reshape(height, _BLOCK, width, _BLOCK, 3)
    blocks = whole[rows][:, :, columns].swapaxes(1, 2).reshape(-1, _BLOCK**2, 3).astype(np.float32)
    luminance = blocks @ _LUMA
    place = luminance * ((_KNOTS - 1) / 255)
    below = np.minimum(place.astype(int), _KNOTS - 2)
    knot = below + _KNOTS * np.arange(len(blocks))[:, None]
    share = place - below
    size = len(blocks) * _KNOTS
    shares = np.bincount(knot.ravel(), (1 - share).ravel(), size)
    shares += np.bincount(knot.ravel() + 1, share.ravel(), size)
    return shares.reshape(-1, _KNOTS) / _BLOCK**2, (blocks - luminance[..., None]).mean(axis=1)


def _fitted(shares: Colours, off: Colours) -> Colours:
    """Return the knots (K, 3) of the curve of colour minus luminance that fits most blocks.

    It is a linear spline whose bends cost a little (Eilers and Marx, Statistical Science 11(2), 1996), fitted by
    iteratively reweighted least squares, so that a few blocks of other colours do not bend it.
    """
    bends = np.diff(np.eye(_KNOTS), 2, axis=0)
    stiffness = _STIFF * bends.T @ bends + 1e-6 * np.eye(_KNOTS)
    weights = np.ones(len(off))
    curve = np.zeros((_KNOTS, 3))
    for _ in range(_ROUNDS):
        weighted = (shares * (weights / weights.sum() * _KNOTS)[:, None]).T
        curve = np.linalg.solve(weighted @ shares + stiffness, weighted @ off)
        weights = 1 / np.maximum(1, _residuals(shares, off, curve)) ** 2
    return curve


def _residuals(shares: Colours, off: Colours, curve: Colours) -> Colours:
    """(N,) levels: how far each block's mean is off the curve, in the channel where it is farthest."""
    residuals: Colours = np.abs(off - shares @ curve).max(axis=1)
    return residuals
