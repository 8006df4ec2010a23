"""Layers and graph rewrites that must compute what they replace."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, fx, nn

from fawkes_engine.extractors.graph_rewrite import Trace, simplify
from fawkes_engine.extractors.layers import Affine, PReLU, as_convolution, larger_half

pytestmark = pytest.mark.numeric


def random(*shape: int, seed: int = 0) -> Tensor:
    """In float64, so that rounding decides on no kink."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def distinct(*shape: int, dtype: torch.dtype) -> Tensor:
    """Numbers of both signs of which no two are equal or near, in any dtype exactly."""
    count = torch.Size(shape).numel()
    assert count <= 256  # bfloat16 has 8 bits
    return (
        (torch.randperm(count, generator=torch.Generator().manual_seed(0)) - count // 2).to(dtype).view(shape)
    )


def trained(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> nn.BatchNorm1d | nn.BatchNorm2d:
    """A BatchNorm that is no identity."""
    channels = norm.num_features
    norm.weight.data, norm.bias.data = 1 + random(channels) / 4, random(channels, seed=1)
    norm.running_mean, norm.running_var = random(channels, seed=2), 0.5 + random(channels, seed=3).abs()
    return norm.eval()


def assert_same_both_ways(ours: nn.Module, theirs: nn.Module, x: Tensor) -> None:
    """The same result, and the same gradient of a sum that weighs every number differently."""
    outcomes = []
    for module in (ours, theirs):
        chips = x.clone().requires_grad_()
        y = module(chips)
        (gradient,) = torch.autograd.grad((y * random(*y.shape, seed=9)).sum(), chips)
        outcomes.append((y.detach(), gradient))
    # sums of at most 4 x 36 products, a dozen layers deep: 10^-12 of them at the very worst
    torch.testing.assert_close(outcomes[0], outcomes[1], rtol=1e-11, atol=1e-11)


SLOPES = torch.tensor([0.3, -0.2, 0.0, 1.5], dtype=torch.float64)


@pytest.mark.parametrize("slope", [SLOPES[:1], SLOPES.view(4, 1, 1)])
@pytest.mark.parametrize("shape", [(2, 4, 5, 3), (2, 4)])
def test_prelu_is_pytorchs(slope: Tensor, shape: tuple[int, ...]) -> None:
    theirs = nn.PReLU(slope.numel()).double()
    theirs.weight.data = slope.flatten()
    assert_same_both_ways(PReLU(slope), theirs, random(*shape))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_prelu_is_exact_in_every_type_the_optimiser_works_in(dtype: torch.dtype) -> None:
    x = distinct(2, 4, 5, 5, dtype=dtype).requires_grad_()
    slope = torch.tensor([0.5, -0.25, 0.0, 2.0])  # products with powers of two are not rounded
    y = PReLU(slope)(x)
    (gradient,) = torch.autograd.grad(y, x, torch.ones_like(y))
    slopes = torch.where(x < 0, slope.view(4, 1, 1).to(dtype), 1).detach()
    assert y.dtype == gradient.dtype == dtype
    assert torch.equal(y, x * slopes)
    assert torch.equal(gradient, slopes)


@pytest.mark.parametrize("kink", [0.0, -0.0])
def test_prelus_gradient_at_the_kink_is_one_of_both_slopes(kink: float) -> None:
    x = torch.full((1, 2), kink).requires_grad_()
    y = PReLU(torch.tensor([0.5]))(x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(y, torch.zeros(1, 2))
    assert set(gradient.flatten().tolist()) <= {0.5, 1.0}


def test_prelus_gradient_leaves_the_one_it_was_given_alone() -> None:
    x, gradient = random(2, 3).requires_grad_(), random(2, 3, seed=1)
    before = gradient.clone()
    PReLU(torch.tensor([0.5]))(x).backward(gradient)
    assert torch.equal(gradient, before)


@pytest.mark.parametrize(("norm", "shape"), [(nn.BatchNorm2d(4), (2, 4, 5, 3)), (nn.BatchNorm1d(4), (2, 4))])
def test_an_affine_layer_is_its_batchnorm(
    norm: nn.BatchNorm1d | nn.BatchNorm2d, shape: tuple[int, ...]
) -> None:
    assert_same_both_ways(Affine(trained(norm)), norm, random(*shape))


@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_layer_is_a_convolution_over_the_whole_map(bias: bool) -> None:
    linear = nn.Linear(4 * 3 * 5, 7, bias=bias).double()
    conv = nn.Sequential(as_convolution(linear, 3, 5), nn.Flatten())
    assert_same_both_ways(conv, nn.Sequential(nn.Flatten(), linear), random(2, 4, 3, 5))


class Branches(nn.Module):
    """Everything that is rewritten, and beside each a twin that must not be."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3, padding=1, bias=False), trained(nn.BatchNorm2d(4))
        self.shared, self.norm_of_shared = nn.Conv2d(4, 4, 1), trained(nn.BatchNorm2d(4))
        self.norm_before_padding, self.padded = trained(nn.BatchNorm2d(4)), nn.Conv2d(4, 4, 3, padding=1)
        self.norm_before_groups, self.grouped = trained(nn.BatchNorm2d(4)), nn.Conv2d(4, 4, 1, groups=2)
        self.norm_before, self.dropout, self.flatten = trained(nn.BatchNorm2d(4)), nn.Dropout(), nn.Flatten()
        self.linear, self.norm_of_linear = nn.Linear(4 * 36, 8), trained(nn.BatchNorm1d(8))
        self.rows, self.relu = nn.Linear(8, 5), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.conv(x)))
        shared = self.shared(x)
        x = self.relu(self.norm_of_shared(shared)) + shared
        x = self.relu(self.padded(self.norm_before_padding(x)))
        x = self.relu(self.grouped(self.norm_before_groups(x)))
        x = self.norm_of_linear(self.linear(self.flatten(self.dropout(self.norm_before(x)))))
        rows: Tensor = self.rows(self.relu(x))
        return rows


def test_a_simplified_network_computes_the_same() -> None:
    torch.manual_seed(0)
    network = Branches().double().eval().requires_grad_(False)
    simplified = fx.symbolic_trace(copy.deepcopy(network))
    Trace(simplified).run(random(1, 3, 6, 6))
    simplify(simplified)

    assert_same_both_ways(simplified, network, random(2, 3, 6, 6))
    kinds = [type(module) for module in simplified.children()]
    assert kinds.count(Affine) == 3  # of a shared result, before padding, before groups
    assert not {nn.BatchNorm1d, nn.BatchNorm2d, nn.Linear, nn.Dropout} & set(kinds)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_larger_half_and_its_gradient_are_those_of_a_maximum(dtype: torch.dtype) -> None:
    """Exactly: both copy numbers, and no two of these are equal."""
    x = distinct(2, 8, 4, 4, dtype=dtype).requires_grad_()
    weight = random(2, 4, 4, 4, seed=1).to(dtype)
    ours, theirs = larger_half(x), torch.maximum(*x.chunk(2, dim=1))
    assert torch.equal(ours, theirs)
    gradients = [torch.autograd.grad((y * weight).sum(), x)[0] for y in (ours, theirs)]
    assert torch.equal(*gradients)


def test_of_equal_halves_the_first_has_the_gradient() -> None:
    x = torch.ones(1, 2, 1, 1, requires_grad=True)
    (gradient,) = torch.autograd.grad(larger_half(x).sum(), x)
    assert gradient.flatten().tolist() == [1, 0]
