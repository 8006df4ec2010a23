"""The warp moves points smoothly and within bounds, inside its region alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fawkes_engine.image.warp import (
    POINTS,
    displaced,
    displacements,
    farthest,
    random_points,
    splines,
    warped,
    without_similarity,
)

seeds = st.integers(0, 2**32 - 1)


def points(seed: int, size_px: float = 2.0) -> Tensor:
    return size_px * torch.randn(2, POINTS, POINTS, generator=torch.Generator().manual_seed(seed))


def field(one: Tensor, height: int, width: int) -> Tensor:
    """The displacements (2, height, width) in a region of this size."""
    return displacements(one[None], splines(height, 0, height)[None], splines(width, 0, width)[None])[0]


def picture(seed: int, height: int = 90, width: int = 120) -> Tensor:
    levels = np.random.default_rng(seed).integers(0, 256, (3, height, width))
    return torch.tensor(levels, dtype=torch.float32)


@given(seed=seeds, height=st.integers(24, 200), width=st.integers(24, 200))
@settings(max_examples=25, deadline=None)
def test_no_point_moves_farther_than_the_farthest_control_point_and_none_at_the_border(
    seed: int, height: int, width: int
) -> None:
    one = points(seed)

    moved = field(one, height, width)

    assert float(moved.norm(dim=0).max()) <= float(one.norm(dim=0).max()) * (1 + 1e-5)
    assert farthest(one) == pytest.approx(float(field(one, 64, 64).norm(dim=0).max()))
    border = torch.cat([moved[:, 0], moved[:, -1], moved[..., 0], moved[..., -1]], dim=1)
    assert float(border.abs().max()) < 0.02 * float(one.abs().max())


@given(seed=seeds, moved=st.floats(0.1, 20.0))
@settings(max_examples=25, deadline=None)
def test_random_points_move_the_farthest_point_as_far_as_asked_for(seed: int, moved: float) -> None:
    one = random_points(moved, torch.Generator().manual_seed(seed))

    assert farthest(one) == pytest.approx(moved, rel=1e-4)
    torch.testing.assert_close(without_similarity(one[None])[0], one, rtol=0, atol=1e-4 * moved)


@given(seed=seeds)
@settings(max_examples=10, deadline=None)
def test_nothing_folds_when_points_move_by_up_to_four_percent_of_a_region(seed: int) -> None:
    side = 200
    one = points(seed)
    one *= 0.04 * side / one.norm(dim=0).clamp(min=1e-9)  # every control point moves that far, wherever to

    right, down = field(one, side, side)

    assert float(torch.diff(right, dim=1).min()) > -1
    assert float(torch.diff(down, dim=0).min()) > -1


@given(seed=seeds)
@settings(max_examples=10, deadline=None)
def test_a_larger_picture_is_warped_alike(seed: int) -> None:
    one = points(seed)

    small, large = field(one, 60, 80), field(3 * one, 180, 240)

    assert torch.allclose(large[:, 1::3, 1::3], 3 * small, atol=1e-3)  # the same places of the face


@given(seed=seeds, left=st.integers(0, 40), top=st.integers(0, 30))
@settings(max_examples=20, deadline=None)
def test_a_warp_without_movement_keeps_every_level(seed: int, left: int, top: int) -> None:
    whole = picture(seed)
    region = (left, top, left + 60, top + 50)

    same = warped(whole, torch.zeros(2, POINTS, POINTS), region)

    assert torch.equal(same.round(), whole[:, top : top + 50, left : left + 60])


def test_a_pixel_shows_what_lies_at_its_displacement() -> None:
    down, right = torch.meshgrid(torch.arange(50.0), torch.arange(70.0), indexing="ij")
    ramps = torch.stack([right, down])[None]  # each pixel tells where it is
    by = field(points(3), 50, 70)[None]

    seen = displaced(ramps, by)[0]

    inside = (..., slice(12, -12), slice(12, -12))
    # torch bends ramps: findings/torch_bicubic_bends_ramps.sh
    assert torch.allclose(seen[inside], (ramps + by)[0][inside], atol=0.07)


def test_a_warped_region_is_that_of_the_whole_picture() -> None:
    whole, region = picture(1), (30, 20, 100, 80)
    one = points(2)
    by = torch.zeros(1, 2, 90, 120)
    by[0, :, 20:80, 30:100] = field(one, 60, 70)

    assert torch.allclose(
        warped(whole, one, region), displaced(whole[None], by)[0, :, 20:80, 30:100], atol=0.05
    )


@pytest.mark.parametrize("kind", ["shift", "turn", "scaling"])
def test_what_alignment_undoes_is_taken_out(kind: str) -> None:
    place = torch.arange(POINTS) - (POINTS - 1) / 2
    down, right = torch.meshgrid(place, place, indexing="ij")
    common = {
        "shift": torch.stack([torch.ones_like(right), 2 * torch.ones_like(right)]),
        "turn": torch.stack([-down, right]),
        "scaling": torch.stack([right, down]),
    }[kind]
    own = without_similarity(points(5)[None])

    assert float(without_similarity(common[None]).abs().max()) < 1e-5
    assert torch.allclose(without_similarity(own + common), own, atol=1e-4)
    assert math.isfinite(float(own.sum()))
    assert float(own.abs().max()) > 0.1
