"""From a photo's own colour space to sRGB and back, for the engine's copy of the faces.

The photo stays in its space: only the change that a cloak makes in sRGB is brought back into it.
"""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

Pixels = npt.NDArray[np.uint8]
_STEP = (
    12  # levels; a slope over twice this is known to 1/24, where a table of 8 bits alone gives whole levels
)
_NEARLY_SRGB = 2  # levels by which the colours of a profile may be off and still count as sRGB's


class ColourSpace:
    """The colour space of an ICC profile. grey: of a photo with one channel, held as three equal ones."""

    def __init__(self, icc: bytes, *, grey: bool) -> None:
        """Raises ImageCms.PyCMSError for a damaged profile, or one of another kind of photo."""
        self._mode = "L" if grey else "RGB"
        own, srgb = ImageCms.ImageCmsProfile(io.BytesIO(icc)), ImageCms.createProfile("sRGB")
        intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
        self._to_srgb = ImageCms.buildTransform(own, srgb, self._mode, "RGB", intent)
        self._from_srgb = ImageCms.buildTransform(srgb, own, "RGB", self._mode, intent)

    def to_srgb(self, pixels: Pixels) -> Pixels:
        """(H, W, 3) of the photo -> sRGB."""
        return self._applied(self._to_srgb, Image.fromarray(pixels).convert(self._mode))

    def from_srgb(self, pixels: Pixels) -> Pixels:
        """(H, W, 3) of sRGB -> the photo's space."""
        return self._applied(self._from_srgb, Image.fromarray(pixels))

    def change(self, pixels: Pixels, change: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return what a change of the sRGB copy, in levels, is in the photo's space; all are (H, W, 3).

        The slope of the transform is measured over a few levels around each pixel, so that a change smaller
        than one level survives.
        """
        base = self.to_srgb(pixels)
        own = np.zeros_like(change)
        for channel in range(3):
            ends = []
            for step in (-_STEP, _STEP):
                moved = base.copy()
                moved[..., channel] = np.clip(base[..., channel].astype(np.int16) + step, 0, 255)
                ends.append((self.from_srgb(moved), moved[..., channel]))
            (low, low_at), (high, high_at) = ends
            span = (high_at.astype(np.float32) - low_at)[..., None]
            own += change[..., channel, None] * (high.astype(np.float32) - low) / span
        return own

    def _applied(self, transform: ImageCms.ImageCmsTransform, image: Image.Image) -> Pixels:
        converted = ImageCms.applyTransform(image, transform)
        assert converted is not None  # only a transform in place returns None
        return np.asarray(converted.convert("RGB"))


@lru_cache(maxsize=8)
def colour_space(icc: bytes | None, *, grey: bool) -> ColourSpace | None:
    """Return the space of a photo's profile, or None if its pixels are sRGB's, or nobody can tell."""
    if icc is None:
        return None
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(9, -1, 3)
    if grey:
        colours = np.repeat(colours[..., :1], 3, axis=2)
    try:
        space = ColourSpace(icc, grey=grey)
        off = np.abs(space.to_srgb(colours).astype(np.int16) - colours).max()
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None  # viewers show such a photo as sRGB, too
    return space if off > _NEARLY_SRGB else None
