"""Edits of a published photo before a tracker learns it, each applied by itself, file to file.

DISTURBANCES are what platforms do to every photo. DISRUPTIONS add what a tracker may do on purpose to remove a cloak,
from gentle to harsh: the countermeasures of Shan et al. 2020 (section 7) and more.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from PIL import Image

from fawkes_engine.errors import EvaluationError
from fawkes_engine.evaluation.trackers.sightings import upright
from fawkes_engine.face.canvas import to_tensor
from fawkes_engine.face.detect import Pixels
from fawkes_engine.image.filters import gaussian_blur

Disturbance = Callable[[bytes], bytes]

_SCREEN = 1.37  # photos are rarely shown at a whole multiple of their size
_DENOISED = 8 / 255  # as strong as the cloaks' larger changes; weaker denoising removes grain only
_SEED = 0


def jpeg(data: bytes, quality: int) -> bytes:
    """Re-encode as most platforms do: JPEG 4:2:0; quality: Pillow's."""
    out = io.BytesIO()
    Image.fromarray(upright(data)).save(out, "JPEG", quality=quality, subsampling=2)
    return out.getvalue()


def resized(data: bytes, factor: float) -> bytes:
    """Scale width and height by a factor, bicubic."""
    image = Image.fromarray(upright(data))
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return _lossless(image.resize(size, Image.Resampling.BICUBIC))


def blurred(data: bytes, sigma: float) -> bytes:
    """Blur by a Gaussian; sigma: px."""
    soft = gaussian_blur(to_tensor(upright(data))[None], sigma)[0]
    return _lossless(Image.fromarray(_rounded(soft.permute(1, 2, 0).numpy() * 255)))


def noisy(data: bytes, deviation: float) -> bytes:
    """Add white Gaussian noise, the same for every photo of a size; deviation: levels of 255."""
    pixels = upright(data)
    noise = np.random.default_rng(_SEED).standard_normal(pixels.shape)
    return _lossless(Image.fromarray(_rounded(pixels + deviation * noise)))


def cropped(data: bytes, share: float) -> bytes:
    """Crop to the middle: a share of width and of height."""
    image = Image.fromarray(upright(data))
    left, top = (round(side * (1 - share) / 2) for side in image.size)
    return _lossless(image.crop((left, top, image.width - left, image.height - top)))


def screenshot(data: bytes) -> bytes:
    """Simulate an uploaded screenshot: scaled bilinearly as on screens, saved, then JPEG 85, 4:2:0."""
    image = Image.fromarray(upright(data))
    shown = image.resize(
        (round(image.width * _SCREEN), round(image.height * _SCREEN)), Image.Resampling.BILINEAR
    )
    return jpeg(_lossless(shown), 85)


def denoised(data: bytes) -> bytes:
    """Denoise by non-local means (Buades et al. 2005), scikit-image's implementation.

    Raises:
        EvaluationError: scikit-image is not installed.
    """
    try:
        from skimage.restoration import denoise_nl_means
    except ModuleNotFoundError as error:
        raise EvaluationError("denoising needs packages: pip install 'fawkesd[trackers]'") from error
    smooth = denoise_nl_means(
        upright(data) / 255, patch_size=5, patch_distance=6, h=_DENOISED, channel_axis=2, fast_mode=True
    )
    return _lossless(Image.fromarray(_rounded(smooth * 255)))


DISTURBANCES: Mapping[str, Disturbance] = {
    "JPEG 75, 4:2:0": partial(jpeg, quality=75),
    "half the size": partial(resized, factor=0.5),
    "Gaussian blur, sigma 1 px": partial(blurred, sigma=1.0),
}
DISRUPTIONS: Mapping[str, Disturbance] = {
    "JPEG 95, 4:2:0": partial(jpeg, quality=95),
    "JPEG 75, 4:2:0": DISTURBANCES["JPEG 75, 4:2:0"],
    "JPEG 50, 4:2:0": partial(jpeg, quality=50),
    "JPEG 30, 4:2:0": partial(jpeg, quality=30),
    "size 0.75": partial(resized, factor=0.75),
    "half the size": DISTURBANCES["half the size"],
    "size 0.25": partial(resized, factor=0.25),
    "Gaussian blur, sigma 1 px": DISTURBANCES["Gaussian blur, sigma 1 px"],
    "Gaussian blur, sigma 2 px": partial(blurred, sigma=2.0),
    "noise, sigma 8 of 255": partial(noisy, deviation=8.0),
    "middle 70 % of width and height": partial(cropped, share=0.7),
    "screenshot: scaled by 1.37, JPEG 85": screenshot,
    "non-local means": denoised,
}


def _rounded(pixels: np.typing.NDArray[np.floating]) -> Pixels:
    return np.ascontiguousarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


def _lossless(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()
