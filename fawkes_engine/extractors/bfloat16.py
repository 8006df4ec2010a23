"""Surrogates in bfloat16, for the optimiser only: half the time on CPUs that multiply in it, and the same cloaks.

bfloat16 has float32's range and 8 bits of precision, as many as a pixel. Gradients keep a cosine of 0.95 and more to
those of float32 (measured on dlib, SFace and FaceNet). Measurement and verification stay in float32.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from fawkes_engine.extractors.base import Extractor
from fawkes_engine.extractors.layers import replace_layers

_PIECE_BYTES = 8 << 20  # of float32


def is_faster(device: torch.device) -> bool:
    """Whether bfloat16 is faster on a device; only on CPUs, since GPUs were not measured.

    The CPU must support it, and oneDNN be allowed to use it: `ONEDNN_MAX_CPU_ISA` can limit oneDNN to less than the
    CPU supports, and without oneDNN PyTorch's own convolutions in bfloat16 are slower than those in float32.
    """
    if device.type != "cpu":
        return False
    able = torch.cpu.get_capabilities()
    has_instructions = able.get("avx512_bf16") or able.get("amx_bf16")
    return bool(has_instructions and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def in_bfloat16(extractor: Extractor) -> Extractor:
    """Return a copy of an extractor whose convolutions work in bfloat16; its embeddings stay float32."""
    network = copy.deepcopy(extractor.network)
    replace_layers(network, nn.Conv2d, _convolution)
    return replace(extractor, network=network)


def _convolution(convolution: nn.Conv2d) -> nn.Module:
    # oneDNN's backward pass of strided depthwise convolutions in bfloat16 takes 20 times float32's time (measured)
    if convolution.groups > 1 and max(convolution.stride) > 1:
        return _InFloat32(convolution)
    return _InBfloat16(convolution)


class _InBfloat16(nn.Module):
    """A convolution whose input is rounded to bfloat16, and whose result is bfloat16."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.inner = convolution.to(torch.bfloat16)

    def forward(self, x: Tensor) -> Tensor:
        """X (N, C, H, W), float32 or bfloat16 -> (N, C', H', W') bfloat16."""
        y: Tensor = self.inner(x.to(torch.bfloat16))
        return y


class _InFloat32(nn.Module):
    """A convolution in float32 between layers in bfloat16, a few images at a time."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.inner = convolution

    def forward(self, x: Tensor) -> Tensor:
        """X (N, C, H, W) bfloat16 -> (N, C', H', W') bfloat16."""
        return cast(Tensor, _Piecewise.apply(x, self.inner))


class _Piecewise(torch.autograd.Function):
    """Small float32 pieces stay in a core's cache, and need no new memory from the system."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, convolution: nn.Conv2d) -> Tensor:  # noqa: ANN401
        ctx.convolution, ctx.shape = convolution, x.shape
        pieces = torch.split(x, _together(x.shape))
        return torch.cat([convolution(piece.float()).to(x.dtype) for piece in pieces])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        of_input = torch.empty(ctx.shape, dtype=gradient.dtype, memory_format=torch.channels_last)
        count = _together(ctx.shape)
        for piece, target in zip(torch.split(gradient, count), torch.split(of_input, count), strict=True):
            target.copy_(_gradient(ctx.convolution, piece.float(), target.shape))
        return of_input, None


def _together(shape: torch.Size) -> int:
    """How many images of a batch (N, C, H, W) make one piece."""
    return max(1, _PIECE_BYTES // (4 * shape[1:].numel()))


def _gradient(convolution: nn.Conv2d, gradient: Tensor, shape: torch.Size) -> Tensor:
    """The gradient with respect to a convolution's input of this shape, from that of its output."""
    like = torch.empty(shape, memory_format=torch.channels_last)  # never read, only gives shape and layout
    of_input, _, _ = torch.ops.aten.convolution_backward(
        gradient,
        like,
        convolution.weight,
        None,
        convolution.stride,
        convolution.padding,
        convolution.dilation,
        transposed=False,
        output_padding=[0, 0],
        groups=convolution.groups,
        output_mask=[True, False, False],
    )
    return cast(Tensor, of_input)
