"""A warp: a smooth displacement of a face's points, the part of a cloak that leaves no stain.

The displacement is a sum of uniform cubic B-splines (Unser, IEEE Signal Processing Magazine 16(6), 1999), one per
control point, whose supports lie inside the region. So no point moves farther than the farthest control point does,
nothing folds or tears, at the region's border the picture stays as it is, and one set of control points displaces the
picture alike at every size.

Axes: N pictures, C channels, H rows, W columns, K control points per row and per column.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

POINTS = 8  # K; six move the same faces less far from their owners (RESULTS)
_SAMPLES = 64  # per axis, where displacements are measured: six per control point
_MARGIN = 3  # px around a resampled piece: what bicubic interpolation reads, and one for rounding


def splines(count: int, start: float, end: float) -> Tensor:
    """Weights (count, K) of the control points at the pixels 0 to count - 1 of an axis, for a region start..end, px."""
    spacing = (end - start) / (POINTS + 3)
    centres = start + spacing * torch.arange(2, POINTS + 2)
    away = ((torch.arange(count) + 0.5)[:, None] - centres).abs() / spacing
    near = 2 / 3 - away**2 + away**3 / 2
    far = (2 - away).clamp(min=0) ** 3 / 6
    return torch.where(away < 1, near, far)


def displacements(points: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Displacements (N, 2, H, W), right and down, of control points (N, 2, K, K); px.

    rows, columns: the splines of each picture's, (N, H, K) and (N, W, K).
    """
    # one by one: a batched product may add up in another order
    return torch.stack([r @ one @ c.T for one, r, c in zip(points, rows, columns, strict=True)])


def displaced(pictures: Tensor, by: Tensor) -> Tensor:
    """Pictures (N, C, H, W) whose pixels show what lies `by` (N, 2, H, W), px, beside them; edges are replicated."""
    return _sampled(pictures, by, 0, 0)


def warped(picture: Tensor, points: Tensor, region: tuple[int, int, int, int]) -> Tensor:
    """Return the region (C, H, W) of a picture (C, height, width), warped by control points (2, K, K), px.

    region: x0, y0, x1, y1. Where nothing moves, values stay as they are but for rounding.
    """
    x0, y0, x1, y1 = region
    rows, columns = (splines(end - start, 0, end - start)[None] for start, end in ((y0, y1), (x0, x1)))
    by = displacements(points[None], rows, columns)
    reach = _MARGIN + int(by.abs().max())
    left, top = max(0, x0 - reach), max(0, y0 - reach)
    piece = picture[:, top : y1 + reach, left : x1 + reach]
    return _sampled(piece[None], by, x0 - left, y0 - top)[0]


def farthest(points: Tensor) -> float:
    """Return how far control points (2, K, K) move the point that is moved farthest, in their unit."""
    axis = splines(_SAMPLES, 0, _SAMPLES)[None]
    return float(displacements(points[None], axis, axis).norm(dim=1).max())


def random_points(moved: float, generator: torch.Generator) -> Tensor:
    """Control points (2, K, K) of a random warp that moves the farthest point so far.

    All are moved about alike far, as most of a cloak's are: the mean point moves 0.29 of `moved` (a cloak's: 0.31).
    """
    directions = F.normalize(torch.randn(1, 2, POINTS, POINTS, generator=generator), dim=1)
    points = without_similarity(directions)[0]
    return points * (moved / farthest(points))


def without_similarity(points: Tensor) -> Tensor:
    """Control points (N, 2, K, K) without the shift, turn and scaling that all share, which alignment undoes."""
    basis = _similarities(points.device)
    # products one by one: how a matrix product adds up may depend on how many there are
    shares = (points.flatten(1)[:, :, None] * basis).sum(dim=1, keepdim=True)
    return points - (shares * basis).sum(dim=2).view(points.shape)


@lru_cache(maxsize=2)
def _similarities(device: torch.device) -> Tensor:
    """Orthonormal basis (2 * K * K, 4) of the shifts, turn and scaling of the control points."""
    place = torch.arange(POINTS) - (POINTS - 1) / 2
    down, right = torch.meshgrid(place, place, indexing="ij")
    one, none = torch.ones_like(right), torch.zeros_like(right)
    columns = [
        torch.stack(pair).flatten() for pair in ((one, none), (none, one), (right, down), (-down, right))
    ]
    return torch.stack([column / column.norm() for column in columns], dim=1).to(device)


def _sampled(pictures: Tensor, by: Tensor, left: int, top: int) -> Tensor:
    """Sample a part of pictures (N, C, H, W), its corner at left, top, at its pixels + by (N, 2, h, w), px; bicubic."""
    height, width = pictures.shape[2:]
    rows, columns = (torch.arange(size, device=by.device) for size in by.shape[2:])
    down, right = torch.meshgrid(rows + top, columns + left, indexing="ij")
    at = (2 * (right + by[:, 0]) / (width - 1) - 1, 2 * (down + by[:, 1]) / (height - 1) - 1)
    grid = torch.stack(at, dim=-1)
    return F.grid_sample(pictures, grid, mode="bicubic", padding_mode="border", align_corners=True)
