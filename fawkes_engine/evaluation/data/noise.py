"""The control that separates the effect of a cloak from mere damage: a random warp and noise, both as strong.

Each cloak of a published photo is replaced by a random warp that moves the farthest point as far as the cloak's, and by
white noise in the region that the cloak could change, scaled to the cloak's reported DSSIM on the decoded file, which,
as in the report, is that to the warped original.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from fawkes_engine.evaluation.data.publication import Published
from fawkes_engine.face.canvas import blocks_around, in_srgb, region_of, to_tensor, warp_region
from fawkes_engine.face.detect import Pixels
from fawkes_engine.image.visibility import at_least_a_window, mean_dssim
from fawkes_engine.image.warp import random_points
from fawkes_engine.photo.decode import Photo, decode
from fawkes_engine.photo.encode import as_written, encode
from fawkes_engine.photo.monochrome import Tone
from fawkes_engine.types import FaceReport

_ROUNDS = 14  # of bisection
_STRONGEST = 64.0  # standard deviation, levels of 255


def noisy(original: bytes, published: Published, seed: int) -> bytes:
    """Encode the original with random warps and noise in place of its cloaks, in the published format and quality.

    They are seeded by the seed, the photo's name and the face's number. A face whose encoding alone reaches the DSSIM
    gets no noise.
    """
    photo = decode(original)
    quality = decode(published.data).jpeg_quality
    reports = [face.report for face in published.faces]
    randoms = [np.random.default_rng([seed, i, *published.photo.encode()]) for i in range(len(reports))]
    warped = photo.pixels.copy()
    for report, random in zip(reports, randoms, strict=True):
        _warp(warped, report, random)
    pixels = warped.copy()
    for report, random in zip(reports, randoms, strict=True):
        _add_noise(photo, warped, pixels, report, quality, random)
    return encode(photo, pixels, quality)


def _warp(pixels: Pixels, report: FaceReport, random: np.random.Generator) -> None:
    """Warp a face's region of the pixels at random, in place, by as much as its cloak did."""
    if report.moved > 0:
        generator = torch.Generator().manual_seed(int(random.integers(2**32)))
        points = random_points(report.moved * report.height_px, generator)
        warp_region(points, region_of(report.box, pixels), pixels)


def _add_noise(
    photo: Photo,
    warped: Pixels,
    pixels: Pixels,
    report: FaceReport,
    quality: int,
    random: np.random.Generator,
) -> None:
    """Add noise to a face's region of the pixels, in place. warped: what its DSSIM is measured to."""
    x0, y0, x1, y1 = region = region_of(report.box, pixels)
    rows, columns = blocks_around(region, pixels)
    piece = pixels[rows, columns]
    inside = (slice(y0 - rows.start, y1 - rows.start), slice(x0 - columns.start, x1 - columns.start))
    clean = warped[y0:y1, x0:x1]
    tone = Tone.of(photo.pixels, region)
    noise = random.standard_normal((y1 - y0, x1 - x0, 1 if tone else 3), np.float32)

    def with_noise(strength: float) -> Pixels:
        noisy_piece = piece.copy()
        change = np.broadcast_to(strength * noise, clean.shape)
        kept = tone.change(clean, change) if tone else change
        noisy_piece[inside] = np.clip(np.rint(piece[inside] + kept), 0, 255)
        return noisy_piece

    def seen(strength: float) -> float:
        return _dssim(photo, clean, as_written(photo, with_noise(strength), quality)[inside])

    piece[:] = with_noise(_bisected(seen, report.dssim))


def _bisected(grows: Callable[[float], float], wanted: float) -> float:
    """Return where between 0 and _STRONGEST an increasing function reaches a value, rounded down, by bisection."""
    low, high = 0.0, _STRONGEST
    for _ in range(_ROUNDS):
        middle = (low + high) / 2
        low, high = (middle, high) if grows(middle) <= wanted else (low, middle)
    return low


@torch.no_grad()
def _dssim(photo: Photo, before: Pixels, after: Pixels) -> float:
    one, other = (
        at_least_a_window(to_tensor(in_srgb(pixels, photo.colour))[None]) for pixels in (before, after)
    )
    return mean_dssim(one, other)
