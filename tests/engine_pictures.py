"""Pictures for the tests of the engine: NASA's portrait of Eileen Collins, and ways to encode it."""

from __future__ import annotations

import io
from functools import cache
from typing import Any

import numpy as np
import skimage.data
from PIL import Image

from fawkes_engine.faces import Pixels


@cache
def astronaut() -> Pixels:
    """512 x 512 px, public domain; one face, 116 px high, at x 180..268, y 59..175."""
    pixels: Pixels = skimage.data.astronaut()
    pixels.flags.writeable = False
    return pixels


def portrait() -> Pixels:
    """The astronaut's face with some surroundings, (288, 272, 3): small enough to be quick."""
    return astronaut()[:288, 80:352]


def scaled(pixels: Pixels, factor: float) -> Pixels:
    """The picture enlarged or reduced."""
    size = (round(pixels.shape[1] * factor), round(pixels.shape[0] * factor))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


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
