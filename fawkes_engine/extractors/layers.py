"""Layers of a frozen network with cheap forward and backward passes.

Every optimiser step passes a recogniser forward and backward. PyTorch's own BatchNorm and PReLU compute gradients of
their weights in the backward pass even if they are not needed.

Axes: N images, C channels, H rows, W columns, D size of the embedding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d
Layer = TypeVar("Layer", bound=nn.Module)


def replace_layers(network: nn.Module, kind: type[Layer], by: Callable[[Layer], nn.Module]) -> None:
    """Replace each layer of a kind by another one, which may wrap it."""
    for parent in list(network.modules()):
        for name, layer in parent.named_children():
            if isinstance(layer, kind):
                setattr(parent, name, by(layer))


def as_convolution(linear: nn.Linear, rows: int, columns: int) -> nn.Conv2d:
    """Return a linear layer over flattened maps as a convolution: (N, C, rows, columns) -> (N, D, 1, 1).

    oneDNN sums a convolution in the same order for any N from two on, unlike libraries for matrix products; and over
    1024 maps of 7 x 7 it takes a third of the time.
    """
    channels = linear.in_features // (rows * columns)
    conv = nn.Conv2d(channels, linear.out_features, (rows, columns), bias=linear.bias is not None)
    conv.weight.data = linear.weight.data.view_as(conv.weight)
    if conv.bias is not None:
        conv.bias.data = linear.bias.data
    return conv.eval()


def scale_and_shift(norm: BatchNorm) -> tuple[Tensor, Tensor]:
    """A trained BatchNorm's scale and shift, x * scale + shift, each (C,)."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight.data * torch.rsqrt(norm.running_var + norm.eps)
    return scale, norm.bias.data - norm.running_mean * scale


class Affine(nn.Module):
    """x * scale + shift per channel: a BatchNorm that cannot be folded into a convolution."""

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
    """PReLU as a product with each value's slope, forward and backward; torch's own takes more than twice as long."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: Tensor) -> Tensor:  # noqa: ANN401
        slopes = _by_sign(x, slope.view(-1, *[1] * (x.dim() - 2)))
        ctx.save_for_backward(slopes)
        return x * slopes

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        (slopes,) = ctx.saved_tensors
        return gradient * slopes, None


def _by_sign(x: Tensor, slope: Tensor) -> Tensor:
    """`slope` where the sign bit of x is set, else 1."""
    bits = _negative(x)
    one = torch.ones_like(slope).view(bits.dtype)
    bits &= slope.view(bits.dtype) ^ one
    bits ^= one
    return bits.view(x.dtype)


def larger_half(x: Tensor) -> Tensor:
    """The larger of channels k and C + k, (N, 2C, H, W) -> (N, C, H, W); on ties the first gets the gradient."""
    return cast(Tensor, _LargerHalf.apply(x))


class _LargerHalf(torch.autograd.Function):
    """torch.maximum splits the gradient between equal values, in six passes: a third of LightCNN's time."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ANN401
        one, other = x.chunk(2, dim=1)
        ctx.save_for_backward(_negative(one - other))
        return torch.maximum(one, other)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ANN401
        (is_other,) = ctx.saved_tensors
        count, half, *sides = gradient.shape
        gradients = torch.empty(
            (count, 2 * half, *sides),
            dtype=gradient.dtype,
            device=gradient.device,
            memory_format=torch.channels_last,
        )
        to_one, to_other = gradients.view(is_other.dtype).chunk(2, dim=1)
        torch.bitwise_and(gradient.view(is_other.dtype), is_other, out=to_other)
        torch.bitwise_and(gradient.view(is_other.dtype), ~is_other, out=to_one)
        return gradients


def _negative(x: Tensor) -> Tensor:
    """Integer mask as wide as the floats x: all bits set where the sign bit is, else 0.

    An integer mask, since a boolean one takes up to 40 times as long with bfloat16 on a CPU.
    """
    integers = {2: torch.int16, 4: torch.int32, 8: torch.int64}[x.itemsize]
    return x.view(integers) >> 8 * x.itemsize - 1
