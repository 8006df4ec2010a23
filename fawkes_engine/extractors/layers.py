"""Layers of a frozen network that are cheap to pass through both ways.

A cloak passes through a recogniser forward and backward in each of its steps. PyTorch's own BatchNorm and PReLU
compute gradients of their weights on the way back even when nobody asks for them.

Axes: N images, C channels, H rows, W columns, D size of the embedding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d
Layer = TypeVar("Layer", bound=nn.Module)


def replace_layers(network: nn.Module, kind: type[Layer], by: Callable[[Layer], nn.Module]) -> None:
    """Put another layer in the place of each one of a kind, which it may keep inside."""
    for parent in list(network.modules()):
        for name, layer in parent.named_children():
            if isinstance(layer, kind):
                setattr(parent, name, by(layer))


def as_convolution(linear: nn.Linear, rows: int, columns: int) -> nn.Conv2d:
    """Return a linear layer over flattened maps as a convolution: (N, C, rows, columns) -> (N, D, 1, 1).

    oneDNN adds up a convolution in the same order for any N from two on, which a matrix product's libraries do
    not; and over 1024 maps of 7 x 7 it takes a third of the time.
    """
    channels = linear.in_features // (rows * columns)
    conv = nn.Conv2d(channels, linear.out_features, (rows, columns), bias=linear.bias is not None)
    conv.weight.data = linear.weight.data.view_as(conv.weight)
    if conv.bias is not None:
        conv.bias.data = linear.bias.data
    return conv.eval()


def scale_and_shift(norm: BatchNorm) -> tuple[Tensor, Tensor]:
    """What a BatchNorm does to its channels once it is trained: x * scale + shift, each (C,)."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight.data * torch.rsqrt(norm.running_var + norm.eps)
    return scale, norm.bias.data - norm.running_mean * scale


class Affine(nn.Module):
    """x * scale + shift per channel: what is left of a BatchNorm that no convolution can take in."""

    def __init__(self, norm: BatchNorm) -> None:
        super().__init__()
        shape = (-1, 1, 1) if isinstance(norm, nn.BatchNorm2d) else (-1,)
        scale, shift = scale_and_shift(norm)
        self.scale, self.shift = nn.Parameter(scale.view(shape)), nn.Parameter(shift.view(shape))

    def forward(self, x: Tensor) -> Tensor:
        """X (N, C, H, W), or (N, C) for a BatchNorm1d -> the same shape."""
        return torch.addcmul(self.shift, x, self.scale)


class PReLU(nn.Module):
    """x where it is positive, else slope * x; one slope per channel."""

    def __init__(self, slope: Tensor) -> None:
        """slope: (C,) or (1,), in any shape."""
        super().__init__()
        self.slope = nn.Parameter(slope.flatten())

    def forward(self, x: Tensor) -> Tensor:
        """X (N, C, ...) -> the same shape."""
        return cast(Tensor, _FrozenPReLU.apply(x, self.slope.to(x.dtype)))


class _FrozenPReLU(torch.autograd.Function):
    """PReLU without a gradient for its slopes, whose loop is not vectorised: nearly half of SFace's time."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: Tensor) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(x, slope)
        return F.prelu(x, slope)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        x, slope = ctx.saved_tensors
        passed: Tensor = torch.ops.aten.threshold_backward(gradient, x, 0)  # gradient where x > 0, else 0
        return passed.lerp_(gradient, slope.view(-1, *[1] * (x.dim() - 2))), None


def larger_half(x: Tensor) -> Tensor:
    """Of channels k and C + k the larger, (N, 2C, H, W) -> (N, C, H, W); of equal ones the first has the gradient."""
    return cast(Tensor, _LargerHalf.apply(x))


class _LargerHalf(torch.autograd.Function):
    """torch.maximum shares the gradient out among equal values, in six passes: a third of LightCNN's time."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ANN401
        one, other = x.chunk(2, dim=1)
        ctx.save_for_backward(one >= other)
        return torch.maximum(one, other)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ANN401
        (is_one,) = ctx.saved_tensors
        to_one = gradient * is_one
        return torch.cat([to_one, gradient - to_one], dim=1)
