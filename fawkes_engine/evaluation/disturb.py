"""What happens to a published photo on its way to a tracker, each step by itself."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image

from fawkes_engine.canvas import to_tensor
from fawkes_engine.evaluation.sightings import upright
from fawkes_engine.visibility import gaussian_blur


def jpeg_75(data: bytes) -> bytes:
    """Encode anew as most platforms do: JPEG, Pillow's quality 75, 4:2:0."""
    out = io.BytesIO()
    Image.fromarray(upright(data)).save(out, "JPEG", quality=75, subsampling=2)
    return out.getvalue()


def halved(data: bytes) -> bytes:
    """Shrink to half the width and height, bicubic."""
    image = Image.fromarray(upright(data))
    size = (max(1, image.width // 2), max(1, image.height // 2))
    return _lossless(image.resize(size, Image.Resampling.BICUBIC))


def blurred(data: bytes) -> bytes:
    """Blur by a Gaussian, sigma 1 px."""
    soft = gaussian_blur(to_tensor(upright(data))[None], 1.0)[0]
    pixels = soft.mul(255).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    return _lossless(Image.fromarray(np.ascontiguousarray(pixels)))


DISTURBANCES: Mapping[str, Callable[[bytes], bytes]] = {
    "JPEG 75, 4:2:0": jpeg_75,
    "half the size": halved,
    "Gaussian blur, sigma 1 px": blurred,
}


def _lossless(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()
