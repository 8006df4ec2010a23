"""LightCNN-29, whose max-feature-map layers keep the larger of each two channels (Wu et al., IEEE TIFS 13(11), 2018).

The fourth network of its authors' repository, for RGB: 128 px, 256 values, no classifier.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fawkes_engine.errors import WeightsError
from fawkes_engine.extractors import checkpoint
from fawkes_engine.extractors.base import ARCFACE_CHIP_PX, ARCFACE_TEMPLATE, Extractor
from fawkes_engine.extractors.layers import as_convolution, larger_half

CHIP_PX = 128
# Its package crops to MTCNN's box. Of 15 crops around ArcFace's landmarks this is among the best: 99.8 % true accepts
# at 0.1 % false accepts on 400 photos of 20 LFW people, 94.5 % at 0.7 of the scale (centred 10 px higher).
_TEMPLATE = (ARCFACE_TEMPLATE - ARCFACE_CHIP_PX / 2) * (CHIP_PX / ARCFACE_CHIP_PX) + (
    CHIP_PX / 2,
    CHIP_PX / 2 - 4,
)
_BLOCKS = (1, 2, 3, 4)  # residual blocks in each of the four stages
_LAST_SIDE = 8  # of the maps that the last layer takes


def load(name: str, weights: Path, mean: Tensor, device: torch.device) -> Extractor:
    """Load the extractor.

    name: what it is called in targets and reports. weights: a checkpoint of PyTorch. mean: (256,) or a scalar, the
    embedding of the average stranger.

    Raises:
        WeightsError: the file cannot be read, is damaged, or belongs to another network.
    """
    held = checkpoint.read(weights, "LightCNN")
    try:
        state = {key.removeprefix("module."): value for key, value in held["state_dict"].items()}
        network = LightCNN(state).to(device).to(memory_format=torch.channels_last)
    except (AttributeError, KeyError, RuntimeError, TypeError) as error:
        raise WeightsError(
            f"{weights} does not hold the weights of LightCNN-29 V4: fetch it again"
        ) from error
    return Extractor(name, CHIP_PX, _TEMPLATE, network, mean)


class LightCNN(nn.Module):
    """RGB chips (N, 3, 128, 128), [0, 1] -> raw embeddings (N, 256)."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        """state: of the network as published. Raises RuntimeError if it belongs to another."""
        super().__init__()
        self.conv1 = _Larger(3, 48)
        self.block1, self.conv2 = _blocks(_BLOCKS[0], 48), _Larger(48, 96)
        self.block2, self.conv3 = _blocks(_BLOCKS[1], 96), _Larger(96, 192)
        self.block3, self.conv4 = _blocks(_BLOCKS[2], 192), _Larger(192, 128)
        self.block4, self.conv5 = _blocks(_BLOCKS[3], 128), _Larger(128, 128)
        linear = nn.Linear(128 * _LAST_SIDE**2, 256)
        self.fc: nn.Module = linear
        self.load_state_dict(state)
        self.fc = as_convolution(linear, _LAST_SIDE, _LAST_SIDE)
        self.eval().requires_grad_(False)

    def forward(self, chips: Tensor) -> Tensor:
        """See the class."""
        x = _reduced(self.conv1(chips))
        x = _reduced(self.conv2(self.block1(x)))
        x = _reduced(self.conv3(self.block2(x)))
        x = self.block4(self.conv4(self.block3(x)))
        embeddings: Tensor = self.fc(_reduced(self.conv5(x)))
        return embeddings.flatten(1)


class _Larger(nn.Module):
    """Max-feature-map: computes twice the channels and keeps the larger value of each pair."""

    def __init__(self, channels: int, passed: int) -> None:
        super().__init__()
        self.filter = nn.Conv2d(channels, 2 * passed, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return larger_half(self.filter(x))


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = _Larger(channels, channels), _Larger(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        changed: Tensor = self.conv2(self.conv1(x))
        return changed + x


def _blocks(count: int, channels: int) -> nn.Sequential:
    return nn.Sequential(*(_Residual(channels) for _ in range(count)))


def _reduced(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 2) + F.avg_pool2d(x, 2)
