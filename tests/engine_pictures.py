"""For the tests of the engine: NASA's portrait of Eileen Collins, ways to encode it, and targets in memory."""

from __future__ import annotations

import io
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import skimage
from PIL import Image

from fawkes_engine import Target
from fawkes_engine.evaluation import MemoryTargets
from fawkes_engine.face.detect import Pixels

Colours = npt.NDArray[np.floating[Any]]
ORACLE: Any = skimage  # typed in part only


@cache
def astronaut() -> Pixels:
    """512 x 512 px, public domain; one face, 116 px high, at x 180..268, y 59..175."""
    pixels: Pixels = ORACLE.data.astronaut()
    pixels.flags.writeable = False
    return pixels


def portrait() -> Pixels:
    """The astronaut's face with some surroundings, (288, 272, 3): small enough to be quick."""
    return astronaut()[:288, 80:352]


@cache
def somebody_else() -> Pixels:
    """The portrait with its face seen through a fish-eye: to a recogniser, another person."""
    photo = portrait()
    rows, columns = np.mgrid[: photo.shape[0], : photo.shape[1]]
    down, right = rows - 125, columns - 144
    squeeze = np.minimum(1, np.hypot(down / 80, right / 65)) ** 0.5
    face: Pixels = photo[(125 + down * squeeze).astype(int), (144 + right * squeeze).astype(int)]
    return face


def scaled(pixels: Pixels, factor: float, resampling: Image.Resampling = Image.Resampling.BICUBIC) -> Pixels:
    """The picture enlarged or reduced."""
    size = (round(pixels.shape[1] * factor), round(pixels.shape[0] * factor))
    return np.asarray(Image.fromarray(pixels).resize(size, resampling))


def grey(pixels: Pixels) -> Pixels:
    """(H, W, 3) -> (H, W)."""
    return np.asarray(Image.fromarray(pixels).convert("L"))


def encoded(pixels: Pixels | Image.Image, file_format: str, **options: Any) -> bytes:
    """Encode an array or a picture with Pillow; JPEG is written at quality 95 unless told otherwise."""
    image = Image.fromarray(pixels) if isinstance(pixels, np.ndarray) else pixels
    if file_format == "JPEG":
        options = {"quality": 95} | options
    out = io.BytesIO()
    image.save(out, file_format, **options)
    return out.getvalue()


def opened(data: bytes) -> Image.Image:
    """Open an encoded picture with Pillow, loaded."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def dssim(before: Colours, after: Colours) -> float:
    """scikit-image's (1 - SSIM) / 2 of two pictures (H, W, 3) in [0, 1], with the window of Wang et al. 2004."""
    similarity = ORACLE.metrics.structural_similarity(
        before,
        after,
        channel_axis=2,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1,
    )
    return (1 - float(similarity)) / 2


def ciede2000_of(one: Colours, other: Colours) -> Colours:
    """scikit-image's CIEDE2000 of sRGB colours (..., 3) in [0, 1]."""
    difference: Colours = ORACLE.color.deltaE_ciede2000(*map(ORACLE.color.rgb2lab, (one, other)))
    return difference


class Shelf(MemoryTargets):
    """A target store in memory that shows what is in it, and in which nobody's identity changes."""

    @property
    def targets(self) -> dict[str, Target]:
        return self._by_person

    def learn(self, person: str, target: Target) -> None:
        assert self.targets[person].identity == target.identity
        super().learn(person, target)
