"""Differentiable augmentations, called views: what may happen to a photo between the sync folder and a tracker.

A view depends only on its number, never on what else is in the batch, so that a photo's cloak does not depend on
its neighbours. Images are float32 RGB (N, 3, S, S) in [0, 1], S a multiple of 16.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor

from fawkes_engine.face.align import Similarity
from fawkes_engine.image.filters import gaussian_blur

# Alignment jitter (uniform, +-): trackers differ in their detectors, landmarks and templates.
_TURN_RAD = 0.15
_SCALE = 0.15
_SHIFT = 0.047  # of the chip's side


def jittered(onto_canvas: Similarity, chip_px: int, generator: torch.Generator) -> Similarity:
    """Return the chip-to-canvas transform, randomly rotated, scaled and shifted a little about the chip's centre."""
    turn, scale, right, down = (2 * torch.rand(4, generator=generator, dtype=torch.float64) - 1).tolist()
    centre = complex(chip_px, chip_px) / 2
    wobble = (1 + _SCALE * scale) * complex(math.cos(_TURN_RAD * turn), math.sin(_TURN_RAD * turn))
    shift = complex(right, down) * _SHIFT * chip_px
    return onto_canvas.after(Similarity(wobble, centre - wobble * centre + shift))


def view(number: int, canvases: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """Augment canvases (N, 3, S, S) with the view of this number.

    generators: one per face, on the canvases' device.
    """
    return _SCHEDULE[number % len(_SCHEDULE)](canvases, generators)


def _as_published(canvases: Tensor, _: Sequence[torch.Generator]) -> Tensor:
    return canvases


def _blurred(canvases: Tensor, _: Sequence[torch.Generator], *, sigma: float) -> Tensor:
    return gaussian_blur(canvases, sigma)


def _shrunk(canvases: Tensor, _: Sequence[torch.Generator], *, scale: float) -> Tensor:
    side = canvases.shape[3]
    small = F.interpolate(canvases, size=[round(side * scale)] * 2, mode="bilinear", antialias=True)
    return F.interpolate(small, size=[side, side], mode="bilinear")


def _noisy(canvases: Tensor, generators: Sequence[torch.Generator], *, sigma: float) -> Tensor:
    device = canvases.device
    noise = [torch.randn(canvases.shape[1:], generator=g, device=device) for g in generators]
    return canvases + sigma * torch.stack(noise)


def _recompressed(canvases: Tensor, _: Sequence[torch.Generator], *, quality: int) -> Tensor:
    return jpeg(canvases, quality)


_SCHEDULE: tuple[Callable[[Tensor, Sequence[torch.Generator]], Tensor], ...] = (
    _as_published,
    partial(_recompressed, quality=75),
    partial(_blurred, sigma=1.0),
    partial(_shrunk, scale=0.5),
    partial(_noisy, sigma=0.02),
    partial(_recompressed, quality=60),
)


def jpeg(images: Tensor, quality: int) -> Tensor:
    """Differentiable JPEG 4:2:0 at the given quality (1..100), (N, 3, S, S) in and out.

    Rounding is approximated by r(x) + (x - r(x))^3, whose gradient is not zero (Shin and Song, NeurIPS MLSEC 2017).
    """
    to_ycc, to_rgb = _ycc(images.device)
    y, cb, cr = torch.einsum("ij,njhw->nihw", to_ycc, images * 255).unbind(1)
    chroma = F.avg_pool2d(torch.stack([cb, cr], dim=1), 2)
    y = _quantised(y[:, None] - 128, _LUMA_TABLE, quality) + 128
    chroma = F.interpolate(_quantised(chroma, _CHROMA_TABLE, quality), scale_factor=2, mode="nearest")
    ycc = torch.cat([y, chroma], dim=1)
    return torch.einsum("ij,njhw->nihw", to_rgb, ycc) / 255


def _quantised(plane: Tensor, table: tuple[int, ...], quality: int) -> Tensor:
    """Quantise a plane (N, C, S, S) in 8 x 8 DCT blocks, as the Independent JPEG Group scales its tables."""
    dct, steps = _block_dct(plane.device), _steps(plane.device, table, quality)
    count, channels, side, _ = plane.shape
    blocks = plane.view(count, channels, side // 8, 8, side // 8, 8).transpose(3, 4)
    scaled = blocks.flatten(4) @ dct.T / steps  # (N, C, S / 8, S / 8, 64)
    rounded = scaled.detach().round()
    restored = ((rounded + (scaled - rounded) ** 3) * steps) @ dct
    return restored.view(blocks.shape).transpose(3, 4).reshape(plane.shape)


@lru_cache(maxsize=2)
def _ycc(device: torch.device) -> tuple[Tensor, Tensor]:
    """(3, 3) each: from RGB and back."""
    return torch.tensor(_RGB_TO_YCC, device=device), torch.tensor(_YCC_TO_RGB, device=device)


@lru_cache(maxsize=8)
def _steps(device: torch.device, table: tuple[int, ...], quality: int) -> Tensor:
    factor = 50 / quality if quality < 50 else 2 - quality / 50
    return (torch.tensor(table, dtype=torch.float32) * factor).round().clamp(1, 255).to(device)


@lru_cache(maxsize=2)
def _block_dct(device: torch.device) -> Tensor:
    """Orthonormal DCT-II of a block of 8 x 8 samples as one product, (64, 64), rows of a block one after another."""
    k, n = torch.arange(8)[:, None], torch.arange(8)[None]
    dct = torch.cos((2 * n + 1) * k * math.pi / 16) / 2
    dct[0] /= math.sqrt(2)
    return torch.kron(dct, dct).to(device)


_RGB_TO_YCC = (
    (0.299, 0.587, 0.114),
    (-0.168736, -0.331264, 0.5),
    (0.5, -0.418688, -0.081312),
)  # JFIF 1.02
_YCC_TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))
# ITU-T T.81, tables K.1 and K.2
# fmt: off
_LUMA_TABLE = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)
_CHROMA_TABLE = (
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99,
    24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99,
    *[99] * 32,
)
# fmt: on
