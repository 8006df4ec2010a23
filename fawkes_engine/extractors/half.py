"""Surrogates in bfloat16, for the optimiser alone: half the time on CPUs that multiply in it, and the same cloaks.

bfloat16 has float32's range and 8 bits of precision, as many as a pixel. Gradients keep a cosine of 0.95 and more to
those of float32 (measured on dlib, SFace and FaceNet). What is measured and verified stays float32.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fawkes_engine.extractors.base import Extractor
from fawkes_engine.extractors.layers import replace_layers


def is_faster(device: torch.device) -> bool:
    """Say whether a device multiplies in bfloat16; asked of CPUs only, as on GPUs nothing was measured."""
    if device.type != "cpu":
        return False
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def in_bfloat16(extractor: Extractor) -> Extractor:
    """Return a copy of an extractor whose convolutions work in bfloat16; its embeddings stay float32."""
    network = copy.deepcopy(extractor.network)
    replace_layers(network, nn.Conv2d, _Convolution)
    return replace(extractor, network=network)


class _Convolution(nn.Module):
    """A convolution whose input is rounded to bfloat16, and whose result is bfloat16."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        # one that strides and that `_Depthwise` cannot take stays float32
        is_fast = convolution.groups == 1 or max(convolution.stride) == 1
        if _Depthwise.can_be(convolution):
            convolution, is_fast = _Depthwise(convolution), True
        self.dtype = torch.bfloat16 if is_fast else torch.float32
        self.inner = convolution.to(self.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """X (N, C, H, W), float32 or bfloat16 -> (N, C', H', W') bfloat16."""
        y: Tensor = self.inner(x.to(self.dtype))
        return y.to(torch.bfloat16)


class _Depthwise(nn.Conv2d):
    """A convolution of each channel with a kernel of its own, whose way back is one more such convolution.

    oneDNN's own way back in bfloat16 takes 1.5 to 3 times as long, and with strides 20 to 100 times.
    """

    def __init__(self, like: nn.Conv2d) -> None:
        channels = like.in_channels
        super().__init__(channels, channels, 1, groups=channels)
        self.kernel_size, self.stride, self.padding = like.kernel_size, like.stride, like.padding
        self.weight, self.bias = like.weight, like.bias

    @staticmethod
    def can_be(convolution: nn.Conv2d) -> bool:
        """Say whether a convolution is one of these."""
        return (
            convolution.groups == convolution.in_channels == convolution.out_channels
            and convolution.dilation == (1, 1)
            and convolution.padding_mode == "zeros"
            and all(p < k for p, k in zip(_padding(convolution), convolution.kernel_size, strict=True))
        )

    def forward(self, x: Tensor) -> Tensor:
        """X (N, C, H, W) -> (N, C, H', W')."""
        return cast(Tensor, _FrozenDepthwise.apply(x, self))


class _FrozenDepthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: _Depthwise) -> Tensor:  # noqa: ANN401
        ctx.layer, ctx.shape = layer, x.shape
        return F.conv2d(x, layer.weight, layer.bias, layer.stride, layer.padding, groups=layer.groups)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        layer: _Depthwise = ctx.layer
        (height, width), (down, right) = layer.kernel_size, _padding(layer)
        if max(layer.stride) > 1:  # as if it had not strided, and nobody had looked at what lies between
            rows, columns = ctx.shape[2] + 2 * down - height + 1, ctx.shape[3] + 2 * right - width + 1
            strided, size = gradient, (*gradient.shape[:2], rows, columns)
            gradient = torch.empty(size, dtype=strided.dtype, memory_format=torch.channels_last).zero_()
            gradient[:, :, :: layer.stride[0], :: layer.stride[1]] = strided
        padding = height - 1 - down, width - 1 - right
        return F.conv2d(gradient, layer.weight.flip(2, 3), None, 1, padding, groups=layer.groups), None


def _padding(convolution: nn.Conv2d) -> tuple[int, int]:
    assert not isinstance(
        convolution.padding, str
    )  # 'same' and 'valid' are for those who write networks in Python
    rows, columns = convolution.padding
    return rows, columns
