"""What a person can see: scikit-image is the oracle."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from engine_pictures import ORACLE, Colours, astronaut, ciede2000_of, dssim
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fawkes_engine import Budget
from fawkes_engine.face.canvas import to_tensor
from fawkes_engine.image.filters import gaussian_blur
from fawkes_engine.image.visibility import Visibility, ciede2000, colour_metric, dssim_map, lab, measure

pytestmark = pytest.mark.numeric


@pytest.fixture(scope="module")
def face() -> Tensor:
    return to_tensor(astronaut()[50:182, 172:276])[None]


def noise(like: Tensor, amplitude: float) -> Tensor:
    return amplitude * torch.randn(like.shape, generator=torch.Generator().manual_seed(7))


def random_colours(seed: int, count: int = 20_000) -> Colours:
    """(count, 3): any colours, and among them greys, black, white and pairs of near twins."""
    rng = np.random.default_rng(seed)
    colours = rng.uniform(0, 1, (count, 3)).astype(np.float32)
    colours[:2000] = colours[:2000, :1]
    colours[2000:2100] = np.round(colours[2000:2100])
    return colours


def as_tensor(colours: Colours) -> Tensor:
    """(K, 3) -> (1, 3, K)."""
    return torch.from_numpy(colours).T[None]


def test_dssim_equals_that_of_scikit_image(face: Tensor) -> None:
    after = (face + noise(face, 0.03)).clamp(0, 1)
    theirs = dssim(*(picture[0].permute(1, 2, 0).numpy() for picture in (face, after)))
    # float32's variances are differences of nearly equal squares; scikit-image's are float64's
    assert float(dssim_map(face, after).mean()) == pytest.approx(theirs, abs=1e-5)


def test_lab_equals_that_of_scikit_image() -> None:
    colours = random_colours(seed=1)
    ours = lab(as_tensor(colours))[0].T.numpy()
    # of numbers up to 100, after two powers in float32: a thousandth of what an eye can tell apart
    assert np.abs(ours - ORACLE.color.rgb2lab(colours)).max() < 2e-3


@pytest.mark.parametrize("spread", [1.0, 0.05])
def test_ciede2000_equals_that_of_scikit_image_for_far_and_near_colours(spread: float) -> None:
    one, other = random_colours(seed=2), random_colours(seed=3)
    other = (one + spread * (other - one)).astype(np.float32)
    ours = ciede2000(lab(as_tensor(one)), lab(as_tensor(other)))[0].numpy()
    theirs = ciede2000_of(one, other)
    # exactly opposite hues have two mean hues; rounding decides between them, so a handful may differ
    assert np.quantile(np.abs(ours - theirs), 0.9995) < 5e-3


def test_the_colour_metric_is_ciede2000_for_small_steps(face: Tensor) -> None:
    step = noise(face, 0.004)
    linear = torch.einsum("nijhw,njhw->nihw", colour_metric(face), step).norm(dim=1)
    exact = ciede2000(lab(face).flatten(2), lab(face + step).flatten(2)).view_as(linear)
    inside = ((face > 0.02) & (face < 0.98)).all(dim=1)
    error = (linear - exact).abs()[inside].mean() / exact[inside].mean()
    assert float(error) < 0.05


def test_identical_regions_have_nothing_to_see(face: Tensor) -> None:
    seen = measure(face, face.clone(), face_height_px=116)
    assert (seen.colour_mean, seen.colour_p99) == (0, 0)
    assert seen.dssim == pytest.approx(0, abs=1e-6)
    assert seen.dssim_224 == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (40, 3), (10, 10), (11, 11), (700, 40)])
def test_regions_of_any_size_are_measured(size: tuple[int, int]) -> None:
    before = torch.full((1, 3, *size), 0.4)
    seen = measure(before, before + 0.1, face_height_px=max(size))
    assert 0 < seen.dssim < 1
    assert 0 < seen.dssim_224 < 1
    assert seen.colour_mean == pytest.approx(seen.colour_p99, rel=1e-3)
    assert seen.colour_mean > 5


@settings(max_examples=20)
@given(
    amplitude=st.floats(0.005, 0.05),
    growth=st.floats(1.2, 3),
    seed=st.integers(0, 1000),
)
def test_a_larger_cloak_is_more_visible_in_every_figure(amplitude: float, growth: float, seed: int) -> None:
    before = 0.5 + 0.1 * torch.randn(1, 3, 60, 50, generator=torch.Generator().manual_seed(seed)).clamp(-2, 2)
    cloak = torch.rand(before.shape, generator=torch.Generator().manual_seed(seed + 1)) - 0.3
    small, large = (
        measure(before, before + a * cloak, face_height_px=50) for a in (amplitude, amplitude * growth)
    )
    assert large.dssim > small.dssim
    assert large.dssim_224 > small.dssim_224
    assert large.colour_mean > small.colour_mean
    assert large.colour_p99 > small.colour_p99


def test_fine_grain_is_structure_and_a_smooth_tint_is_colour(face: Tensor) -> None:
    grain = measure(face, face + noise(face, 0.02), face_height_px=400)
    tint = measure(face, (face + torch.tensor([0.03, 0.0, 0.03]).view(1, 3, 1, 1)), face_height_px=400)
    assert grain.dssim > 4 * tint.dssim
    assert tint.colour_mean > 4 * grain.colour_mean


@pytest.mark.parametrize(
    ("seen", "share"),
    [
        (Visibility(0.0035, 0.0, 0.0, 0.0), 0.5),
        (Visibility(0.0, 0.014, 0.0, 0.0), 2.0),
        (Visibility(0.0, 0.0, 0.25, 0.0), 0.25),
        (Visibility(0.001, 0.001, 0.25, 3.3), 1.1),
    ],
)
def test_the_share_of_the_budget_is_that_of_the_worst_figure(seen: Visibility, share: float) -> None:
    budget = Budget(dssim=0.007, colour_mean=1.0, colour_p99=3.0)
    assert seen.share_of(budget) == pytest.approx(share)


def test_a_blur_keeps_flat_pictures_and_the_mean_of_others() -> None:
    flat = torch.full((1, 1, 30, 20), 0.3)
    assert torch.allclose(gaussian_blur(flat, 3.0), flat)
    spot = torch.zeros(1, 1, 41, 41)
    spot[..., 20, 20] = 1
    blurred = gaussian_blur(spot, 2.0)
    assert float(blurred.sum()) == pytest.approx(1, abs=1e-5)
    offset = torch.arange(41) - 20
    variance = (blurred[0, 0].sum(dim=0) * offset**2).sum()
    assert float(variance) == pytest.approx(4, rel=0.02)
    assert torch.equal(gaussian_blur(spot, 0.0), spot)
