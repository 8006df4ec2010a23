"""Convolutions in float32 that give a face the same bits alone and among any number of others.

PyTorch gives some convolutions to oneDNN and some to its own code, by the number of images, and the two add up in
different orders: its own code gets small maps of a single image, and on one thread filters of 1 x 1 for fewer than 16.
oneDNN adds up the gradient of a single picture otherwise, too (dlib's first layer on two threads). So here pictures and
small maps of a single image pass twice, and 16 images in halves. With AVX2, on one thread and on two, nothing else
depends on the number, so that a face alone need not pass whole networks twice. On three and more, other layers were
found to add up otherwise (SFace's last one on three, dlib's gradient on six).
"""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import Tensor, nn

from fawkes_engine.device import SMALL_IMAGE
from fawkes_engine.extractors.base import Extractor
from fawkes_engine.extractors.layers import replace_layers

_SMALL_FILTER_PX = 3  # as `SMALL_IMAGE`
_COLOURS = 3
_MOST_THREADS = 2
_MANY = 16  # images from which on oneDNN gets filters of 1 x 1 on one thread, too


def is_possible(device: torch.device) -> bool:
    """Whether this makes a face's bits the same: with AVX2 alone (AVX-512's orders differ), on up to two threads."""
    able = torch.cpu.get_capabilities()
    has_avx2_alone = bool(able.get("avx2") and not able.get("avx512_f"))
    return device.type == "cpu" and has_avx2_alone and torch.get_num_threads() <= _MOST_THREADS


def equal_alone(extractor: Extractor) -> Extractor:
    """Return an extractor with the same weights, in the same memory, whose chips need not come in pairs."""
    weights = (*extractor.network.parameters(), *extractor.network.buffers())
    network = copy.deepcopy(extractor.network, {id(weight): weight for weight in weights})
    replace_layers(network, nn.Conv2d, _convolution)
    return replace(extractor, network=network, in_pairs=False)


def _convolution(convolution: nn.Conv2d) -> nn.Module:
    may_be_own = convolution.groups == 1 and min(convolution.kernel_size) <= _SMALL_FILTER_PX
    takes_pictures = convolution.in_channels == _COLOURS
    return _SameForAnyNumber(convolution) if may_be_own or takes_pictures else convolution


class _SameForAnyNumber(nn.Module):
    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.inner = convolution
        self.is_pointwise = convolution.kernel_size == (1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """X (N, C, H, W) -> (N, C', H', W')."""
        if len(x) == 1 and (x.numel() <= SMALL_IMAGE or x.shape[1] == _COLOURS):
            twice: Tensor = self.inner(torch.cat([x, x]))
            return twice[:1]
        if len(x) >= _MANY and self.is_pointwise:
            return torch.cat([self.inner(part) for part in torch.split(x, _MANY // 2)])
        whole: Tensor = self.inner(x)
        return whole
