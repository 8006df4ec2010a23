"""Surrogates in bfloat16, for the optimiser alone: half the time on CPUs that multiply in it, and the same cloaks.

bfloat16 has float32's range and 8 bits of precision, as many as a pixel. Gradients keep a cosine of 0.95 and more to
those of float32 (measured on dlib, SFace and FaceNet). What is measured and verified stays float32.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
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
        # oneDNN has no fast way back through strided depthwise ones in bfloat16: 20 times float32's time (measured)
        slow = convolution.groups > 1 and max(convolution.stride) > 1
        self.dtype = torch.float32 if slow else torch.bfloat16
        self.inner = convolution.to(self.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """X (N, C, H, W), float32 or bfloat16 -> (N, C', H', W') bfloat16."""
        y: Tensor = self.inner(x.to(self.dtype))
        return y.to(torch.bfloat16)
