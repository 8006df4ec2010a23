"""Face alignment: the similarity transform onto a recogniser's template, and the aligned chip cut out with it.

A similarity transform of the plane is a pair of complex numbers: it maps z = x + iy to turn * z + shift, where
|turn| is the scale and its angle the rotation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Similarity:
    """z -> turn * z + shift, on complex pixel positions x + iy."""

    turn: complex
    shift: complex

    @classmethod
    def fit(cls, source: npt.NDArray[np.float64], destination: npt.NDArray[np.float64]) -> Similarity:
        """Least-squares similarity from source points (K, 2) to destination points (K, 2), no mirroring."""
        z, w = (points[:, 0] + 1j * points[:, 1] for points in (source, destination))
        z_centred, w_centred = z - z.mean(), w - w.mean()
        turn = complex((z_centred.conj() @ w_centred) / (z_centred.conj() @ z_centred).real)
        return cls(turn, complex(w.mean()) - turn * complex(z.mean()))

    def after(self, first: Similarity) -> Similarity:
        """Return the transform that applies `first`, then this one."""
        return Similarity(self.turn * first.turn, self.turn * first.shift + self.shift)

    def inverse(self) -> Similarity:
        """Return the transform that leads back."""
        return Similarity(1 / self.turn, -self.shift / self.turn)


def sample_chips(canvases: Tensor, onto_canvas: Sequence[Similarity], chip_px: int) -> Tensor:
    """Cut an aligned chip (N, 3, chip_px, chip_px) out of each canvas (N, 3, S, S), bilinear."""
    half_chip, half_canvas = (chip_px - 1) / 2, (canvases.shape[3] - 1) / 2
    rows = []
    for transform in onto_canvas:  # grid_sample counts from -1 to 1 on both sides
        turn = transform.turn * half_chip / half_canvas
        shift = (transform.turn * complex(half_chip, half_chip) + transform.shift) / half_canvas - (1 + 1j)
        rows.append([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])
    grid = F.affine_grid(
        _sent(torch.tensor(rows, dtype=torch.float32), canvases.device),
        [len(rows), 3, chip_px, chip_px],
        align_corners=True,
    )
    return F.grid_sample(canvases, grid, padding_mode="border", align_corners=True)


def _sent(x: Tensor, device: torch.device) -> Tensor:
    """Move a CPU tensor to a device, without waiting for a graphics card's pending work."""
    return x if device.type == "cpu" else x.pin_memory().to(device, non_blocking=True)
