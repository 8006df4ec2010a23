"""Products with banded matrices, against those with the whole matrices."""

from __future__ import annotations

import pytest
import torch
from batches import two_threads
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fawkes_engine.image.filters import Banded, blur_matrix, gaussian_blur, product, product_of_each

pytestmark = pytest.mark.numeric


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    stride=st.integers(1, 30),
    sigma=st.floats(0, 4),
)
def test_a_product_and_its_gradient_are_those_of_the_whole_matrices(
    height: int, width: int, stride: int, sigma: float
) -> None:
    down, across = blur_matrix(height, sigma)[::stride].double(), blur_matrix(width, sigma).double()
    x = random(2, 3, height, width).double().requires_grad_()
    weights = random(2, 3, len(down), width, seed=1).double()

    ours, theirs = product(x, Banded(down), Banded(across)), down @ x @ across.T

    # nothing is negative, and each of two sums has 90 terms at most: 180 x 2^-53 of it is lost at the very worst
    torch.testing.assert_close(ours, theirs, rtol=1e-13, atol=0)
    gradients = [torch.autograd.grad((y * weights).sum(), x)[0] for y in (ours, theirs)]
    torch.testing.assert_close(*gradients, rtol=1e-13, atol=0)


def test_a_strided_matrix_whose_last_columns_are_unused_has_no_gradient_there() -> None:
    matrix = torch.eye(60)[:1]
    x = random(1, 1, 60, 60).requires_grad_()
    (gradient,) = torch.autograd.grad(product(x, Banded(matrix), Banded(torch.eye(60))).sum(), x)
    assert torch.equal(gradient[0, 0], torch.eye(60)[:1].T.expand(60, 60))


def test_a_picture_with_a_matrix_of_its_own_does_not_depend_on_the_others() -> None:
    side, sigmas = 163, [0.4, 1.2, 2.4, 2.2, 0.9]
    blurs = [Banded(blur_matrix(side, sigma)) for sigma in sigmas]
    x = random(5, 3, side, side).requires_grad_()

    def blurred(chosen: slice) -> list[Tensor]:
        some = x[chosen]
        y = product_of_each(some, blurs[chosen])
        return [y, *torch.autograd.grad((y**2).sum(), some)]

    with two_threads():
        together = blurred(slice(0, 5))
        for i in range(5):
            for whole, alone in zip(together, blurred(slice(i, i + 1)), strict=True):
                assert torch.equal(whole[i], alone[0])


@pytest.mark.parametrize("sigma", [0.5, 1.5])
def test_a_blurred_picture_does_not_depend_on_the_others(sigma: float) -> None:
    x = random(5, 3, 224, 224).requires_grad_()

    def blurred(some: Tensor) -> list[Tensor]:
        y = gaussian_blur(some, sigma)
        return [y, *torch.autograd.grad((y**2).sum(), some)]

    with two_threads():
        for whole, alone in zip(blurred(x), blurred(x[3:4]), strict=True):
            assert torch.equal(whole[3], alone[0])
