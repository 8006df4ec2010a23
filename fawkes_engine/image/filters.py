"""Blurs and window means: separable filters, computed as products of pictures with banded matrices.

On a CPU these run at the speed of a matrix product, unlike one-channel convolutions; only the blocks on the band are
multiplied, which takes a third of the time of the full product.

Axes: N pictures, C channels, H rows, W columns. All is float32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, cast

import torch
from torch import Tensor

# Rows of a matrix that are multiplied at once on a CPU: 24, 32, 48, 64 and 96 were tried. A GPU prefers few products.
_BLOCK_ROWS = 48

_Blocks = list[tuple[slice, Tensor]]


class Banded:
    """A banded matrix (K, L), stored as blocks of rows, each cropped to its columns that are not 0."""

    def __init__(self, matrix: Tensor) -> None:
        """See the class."""
        self.blocks = _blocks(matrix)
        self.transposed = _blocks(matrix.T.contiguous())


def product(x: Tensor, rows: Banded, columns: Banded) -> Tensor:
    """Rows @ x @ columns^T for pictures (N, C, H, W), rows (H', H) and columns (W', W): (N, C, H', W')."""
    return cast(Tensor, _Product.apply(x, rows, columns))


def product_of_each(x: Tensor, matrices: Sequence[Banded]) -> Tensor:
    """Matrix @ x @ matrix^T of pictures (N, C, W, W) with a matrix (W', W) of each one's own: (N, C, W', W')."""
    return torch.cat([product(one[None], matrix, matrix) for one, matrix in zip(x, matrices, strict=True)])


def gaussian_blur(x: Tensor, sigma: float) -> Tensor:
    """Blur (N, C, H, W) with a Gaussian of `sigma` px, edges replicated."""
    rows, columns = (_blur(size, sigma, x.device) for size in x.shape[2:])
    return product(x, rows, columns)


def blur_matrix(size: int, sigma: float) -> Tensor:
    """Return the matrix (size, size) that blurs one axis with a Gaussian of `sigma` px, edges replicated."""
    positions = torch.arange(size)
    radius = math.ceil(4 * sigma)
    reach = torch.arange(-radius, radius + 1)
    taps = torch.exp(-(reach.float() ** 2) / (2 * max(sigma, 1e-3) ** 2))
    source = (positions[:, None] + reach).clamp(0, size - 1)
    return torch.zeros(size, size).scatter_add_(1, source, (taps / taps.sum()).expand(size, -1))


@lru_cache(maxsize=64)
def _blur(size: int, sigma: float, device: torch.device) -> Banded:
    matrix = blur_matrix(size, sigma)
    return Banded(matrix.to(device))


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: Banded, columns: Banded) -> Tensor:  # noqa: ANN401
        ctx.rows, ctx.columns = rows, columns
        return _multiplied(x, rows.blocks, columns.blocks)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN401
        return _multiplied(gradient, ctx.rows.transposed, ctx.columns.transposed), None, None


def _multiplied(x: Tensor, rows: _Blocks, columns: _Blocks) -> Tensor:
    # On a CPU one by one: the last bits of MKL's product of a batch depend on its size (AVX2, two threads).
    pictures = x[:, None] if x.device.type == "cpu" else [x]
    return torch.cat([_multiplied_at_once(some, rows, columns) for some in pictures])


def _multiplied_at_once(x: Tensor, rows: _Blocks, columns: _Blocks) -> Tensor:
    x = torch.cat([block @ x[..., here, :] for here, block in rows], dim=-2)
    return torch.cat([x[..., here] @ block.mT for here, block in columns], dim=-1)


def _blocks(matrix: Tensor) -> _Blocks:
    height = _BLOCK_ROWS if matrix.device.type == "cpu" else len(matrix)
    blocks = []
    for top in range(0, len(matrix), height):
        used = matrix[top : top + height].any(dim=0).nonzero().flatten().tolist()
        used = used or [0]  # the last rows of a transposed matrix, where no strided window ends
        here = slice(used[0], used[-1] + 1)
        blocks.append((here, matrix[top : top + height, here].contiguous()))
    return blocks
