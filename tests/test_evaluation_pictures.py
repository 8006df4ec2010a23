"""What is done to pictures in an evaluation: the control of random warps and noise, disturbances, and MS-SSIM."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable

import numpy as np
import pytest
import torch
from engine_pictures import encoded, opened, portrait
from PIL import Image
from torch import Tensor

from fawkes_engine import FaceReport
from fawkes_engine.evaluation.data.disturb import (
    DISRUPTIONS,
    DISTURBANCES,
    blurred,
    cropped,
    denoised,
    jpeg,
    resized,
)
from fawkes_engine.evaluation.data.disturb import noisy as with_grain
from fawkes_engine.evaluation.data.noise import noisy
from fawkes_engine.evaluation.data.publication import CloakedFace, Published
from fawkes_engine.evaluation.metrics.quality import ms_ssim
from fawkes_engine.face.canvas import region_of, to_tensor
from fawkes_engine.face.detect import Box, Pixels
from fawkes_engine.image.filters import gaussian_blur
from fawkes_engine.image.visibility import mean_dssim
from fawkes_engine.photo.decode import decode

pytestmark = pytest.mark.numeric
BOX = (100.0, 59.0, 188.0, 175.0)  # the face of `portrait`


def region_dssim(before: Pixels, after: Pixels, box: Box) -> float:
    """DSSIM at native size of a face's region."""
    x0, y0, x1, y1 = region_of(box, after)
    one, other = (to_tensor(pixels[y0:y1, x0:x1])[None] for pixels in (before, after))
    return mean_dssim(one, other)


def published(original: bytes, *dssims: float, moved: float = 0.0, suffix: str = ".jpg") -> Published:
    """A published photo whose report says so much of as many faces; the first is the portrait's."""
    boxes = (BOX, (4.0, 200.0, 60.0, 270.0))
    faces = tuple(
        CloakedFace(FaceReport(box, 116, "ada", "nobody", dssim, dssim, 0.3, 1.5, moved, {}, {}, 60), 0.99)
        for box, dssim in zip(boxes, dssims, strict=False)
    )
    return Published("ada/1.jpg", hashlib.sha256(original).hexdigest(), suffix, original, True, faces)


@pytest.mark.parametrize("dssim", [0.004, 0.007, 0.03])
@pytest.mark.parametrize(("file_format", "options"), [("JPEG", {"subsampling": 0}), ("PNG", {})])
def test_noise_reaches_the_dssim_asked_for(file_format: str, options: dict[str, int], dssim: float) -> None:
    original = encoded(portrait(), file_format, **options)
    result = decode(noisy(original, published(original, dssim), seed=0))
    reached = region_dssim(decode(original).pixels, result.pixels, BOX)
    assert reached == pytest.approx(dssim, rel=0.02)
    assert reached <= dssim


def test_the_control_is_warped_as_far_as_the_cloak_and_nowhere_else() -> None:
    down, right = np.indices((256, 256))
    places = np.stack([right, down, np.zeros_like(right)], axis=2).astype(np.uint8)
    original = encoded(places, "PNG")
    warped = decode(noisy(original, published(original, 0.0, moved=0.03), seed=0)).pixels
    change = warped.astype(float) - places
    x0, y0, x1, y1 = region_of(BOX, places)
    farthest_px = np.linalg.norm(change[y0:y1, x0:x1], axis=2).max()
    assert farthest_px == pytest.approx(0.03 * 116, abs=0.75), "both coordinates are rounded"
    change[y0:y1, x0:x1] = 0
    assert not change.any()


def test_noise_on_the_warp_reaches_the_dssim_asked_for() -> None:
    original = encoded(portrait(), "PNG")
    warped, both = (
        decode(noisy(original, published(original, dssim, moved=0.02), seed=0)).pixels
        for dssim in (0.0, 0.007)
    )
    assert region_dssim(portrait(), warped, BOX) > 0.007
    assert region_dssim(warped, both, BOX) == pytest.approx(0.007, rel=0.02)


def test_warps_are_drawn_by_the_seed_and_the_face() -> None:
    original = encoded(portrait(), "PNG")
    one, again, other = (
        decode(noisy(original, published(original, 0.0, 0.0, moved=0.02), seed)).pixels for seed in (0, 0, 1)
    )
    assert np.array_equal(one, again)
    for box in (BOX, (4.0, 200.0, 60.0, 270.0)):
        x0, y0, x1, y1 = region_of(box, one)
        assert not np.array_equal(one[y0:y1, x0:x1], other[y0:y1, x0:x1])


def test_each_face_gets_its_own_noise() -> None:
    original = encoded(portrait(), "PNG")
    result = decode(noisy(original, published(original, 0.01, 0.002), seed=0)).pixels
    photo = decode(original).pixels
    assert region_dssim(photo, result, BOX) == pytest.approx(0.01, rel=0.02)
    assert region_dssim(photo, result, (4.0, 200.0, 60.0, 270.0)) == pytest.approx(0.002, rel=0.02)


def test_noise_stays_in_the_region_of_the_face_and_looks_like_noise() -> None:
    original = encoded(portrait(), "PNG")
    before = portrait().astype(np.int16)
    change = decode(noisy(original, published(original, 0.01), seed=0)).pixels - before
    x0, y0, x1, y1 = region_of(BOX, portrait())
    inside = change[y0:y1, x0:x1].astype(float)
    assert abs(inside.mean()) < 0.1 * inside.std()
    change[y0:y1, x0:x1] = 0
    assert not change.any()


def test_noise_is_drawn_by_the_seed() -> None:
    original = encoded(portrait(), "PNG")
    one, again, other = (noisy(original, published(original, 0.01), seed) for seed in (0, 0, 1))
    assert one == again != other


def test_noise_keeps_quality_and_sampling_of_the_published_file() -> None:
    original = encoded(portrait(), "JPEG", quality=80)
    cloaked = encoded(portrait(), "JPEG", quality=95, subsampling=0)
    as_cloaked = Published("ada/1.jpg", "", ".jpg", cloaked, True, published(original, 0.007).faces)
    result = opened(noisy(original, as_cloaked, seed=0))
    assert vars(result)["quantization"] == vars(opened(cloaked))["quantization"]
    assert [part[1:3] for part in vars(result)["layer"]] == [(1, 1)] * 3


def test_a_grey_photo_stays_grey() -> None:
    original = encoded(Image.fromarray(portrait()).convert("L"), "JPEG")
    assert opened(noisy(original, published(original, 0.007), seed=0)).mode == "L"


def test_an_encoding_that_uses_up_the_dssim_gets_no_noise() -> None:
    original = encoded(portrait(), "PNG")
    assert np.array_equal(decode(noisy(original, published(original, 0.0), seed=0)).pixels, portrait())


@pytest.mark.parametrize(("factor", "size"), [(0.75, (204, 216)), (0.5, (136, 144)), (0.25, (68, 72))])
def test_resizing_scales_both_sides(factor: float, size: tuple[int, int]) -> None:
    assert opened(resized(encoded(portrait(), "JPEG"), factor)).size == size


def test_a_crop_is_the_middle_as_it_was() -> None:
    whole = portrait()  # 288 rows, 272 columns
    kept = np.asarray(opened(cropped(encoded(whole, "PNG"), 0.5)))
    assert np.array_equal(kept, whole[72:216, 68:204])


def test_grain_is_as_strong_as_it_says_and_always_the_same() -> None:
    grey = encoded(np.full((100, 100, 3), 128, np.uint8), "PNG")
    assert np.asarray(opened(with_grain(grey, 8.0))).std() == pytest.approx(8, rel=0.05)
    assert with_grain(grey, 8.0) == with_grain(grey, 8.0)


def test_denoising_takes_grain_away_and_leaves_an_edge() -> None:
    edge = np.full((64, 64, 3), 60, np.uint8)
    edge[:, 32:] = 190
    smooth = np.asarray(opened(denoised(with_grain(encoded(edge, "PNG"), 6.0)))).astype(int)
    assert smooth[8:-8, 8:24].std() < 2
    assert abs(smooth[32, 31, 0] - 60) < 10
    assert abs(smooth[32, 32, 0] - 190) < 10


def test_the_usual_disturbances_are_disruptions_too() -> None:
    assert DISTURBANCES.items() <= DISRUPTIONS.items()


def test_blurring_is_a_gaussian_of_one_pixel() -> None:
    dot = np.zeros((21, 21, 3), np.uint8)
    dot[10, 10] = 255
    row = np.asarray(opened(blurred(encoded(dot, "PNG"), 1.0)))[10, :, 0].astype(float)
    assert row[11] / row[10] == pytest.approx(np.exp(-1 / 2), abs=0.02)
    assert row[12] / row[10] == pytest.approx(np.exp(-4 / 2), abs=0.02)


def test_recompression_is_that_of_platforms() -> None:
    result = opened(jpeg(encoded(portrait(), "PNG"), 75))
    assert vars(result)["layer"][0][1:3] == (2, 2)  # luminance at twice the resolution of colour
    reference = opened(encoded(portrait(), "JPEG", quality=75))
    assert vars(result)["quantization"] == vars(reference)["quantization"]


@pytest.mark.parametrize("disturbed", DISRUPTIONS.values(), ids=DISRUPTIONS)
def test_disturbances_turn_a_photo_upright(disturbed: Callable[[bytes], bytes]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    out = io.BytesIO()
    Image.fromarray(np.zeros((100, 60, 3), np.uint8)).save(out, "JPEG", exif=exif)
    width, height = opened(disturbed(out.getvalue())).size
    assert width > height


def picture() -> Tensor:
    return to_tensor(portrait())[None]


def with_noise(x: Tensor, sigma: float) -> Tensor:
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    return (x + sigma * noise).clamp(0, 1)


def test_ms_ssim_is_one_for_equal_pictures_alone_and_symmetric() -> None:
    x, y = picture(), with_noise(picture(), 0.05)
    assert ms_ssim(x, x) == pytest.approx(1, abs=1e-6)
    assert ms_ssim(x, y) < 0.99
    assert ms_ssim(x, y) == pytest.approx(ms_ssim(y, x), abs=1e-6)


def test_ms_ssim_falls_as_noise_grows() -> None:
    values = [ms_ssim(picture(), with_noise(picture(), sigma)) for sigma in (0.01, 0.03, 0.1, 0.3)]
    assert values == sorted(values, reverse=True)
    assert 0 <= values[-1] < 0.7


def test_ms_ssim_forgives_fine_noise_more_than_coarse_noise_of_the_same_strength() -> None:
    # that is what its scales are for: noise of one pixel is gone at the coarser ones
    fine = torch.randn(picture().shape, generator=torch.Generator().manual_seed(0))
    coarse = gaussian_blur(fine, 4.0)
    x, strength = picture(), 0.03
    assert ms_ssim(x, x + strength * fine) > ms_ssim(x, x + strength * coarse / coarse.std())


@pytest.mark.parametrize(("side", "scales"), [(176, 5), (175, 4), (22, 2), (21, 1), (5, 1)])
def test_ms_ssim_uses_the_scales_that_fit(side: int, scales: int) -> None:
    # a constant difference is seen by the luminance of the last scale alone, raised to that scale's share
    x, y = torch.full((1, 3, side, side), 0.3), torch.full((1, 3, side, side), 0.6)
    luminance = (2 * 0.3 * 0.6 + 1e-4) / (0.3**2 + 0.6**2 + 1e-4)
    weights = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)[:scales]
    assert ms_ssim(x, y) == pytest.approx(luminance ** (weights[-1] / sum(weights)), abs=1e-4)


def test_regions_may_reach_beyond_the_picture() -> None:
    pixels: Pixels = np.zeros((50, 40, 3), np.uint8)
    assert region_of((-20.0, 10.0, 60.0, 45.0), pixels) == (0, 4, 40, 50)
