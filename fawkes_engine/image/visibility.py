"""Visibility of a cloak to a person: SSIM for structure, CIEDE2000 for smooth colour.

SSIM is blind to smooth colour shifts, so a budget needs both. Axes: N faces, C channels, H rows, W columns.
All images are float32 RGB (N, 3, H, W) in [0, 1].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from fawkes_engine.image.filters import Banded, gaussian_blur, product
from fawkes_engine.modes import Budget

PAPER_FACE_PX = 224  # the face size at which the paper states its budget (Shan et al. 2020, section 5)
COLOUR_BLUR = (
    0.015  # standard deviation of the blur before colours are compared, as a share of the face height
)
WINDOW, SSIM_SIGMA = 11, 1.5  # SSIM's Gaussian window (Wang et al. 2004)
_TILE = 512  # windows per side that are compared at once
_C1, SSIM_C2 = 0.01**2, 0.03**2  # its constants for a data range of 1


@dataclass(frozen=True, slots=True)
class Visibility:
    """One face's figures, in the units of `Budget`."""

    dssim: float
    dssim_224: float
    colour_mean: float
    colour_p99: float

    def share_of(self, budget: Budget) -> float:
        """Return the largest of the four figures as a share of its limit: at most 1 is inside the budget."""
        return max(
            self.dssim / budget.dssim,
            self.dssim_224 / budget.dssim,
            self.colour_mean / budget.colour_mean,
            self.colour_p99 / budget.colour_p99,
        )


def measure(before: Tensor, after: Tensor, face_height_px: float) -> Visibility:
    """Compare one face region (1, 3, H, W) before and after cloaking; face_height_px sets the colour blur.

    A region smaller than SSIM's window is padded by replicating its edge.
    """
    before, after = at_least_a_window(before), at_least_a_window(after)
    scale = PAPER_FACE_PX / before.shape[2]
    small_before, small_after = (_resized(x, scale) for x in (before, after))
    sigma = COLOUR_BLUR * face_height_px * scale  # at the smaller size: the blur makes both equal
    shift = ciede2000(
        lab(gaussian_blur(small_before, sigma)).flatten(2), lab(gaussian_blur(small_after, sigma)).flatten(2)
    )
    return Visibility(
        dssim=mean_dssim(before, after),
        dssim_224=mean_dssim(small_before, small_after),
        colour_mean=float(shift.mean()),
        colour_p99=float(torch.quantile(shift.flatten()[:: 1 + shift.numel() // 1_000_000], 0.99)),
    )


def dssim_map(before: Tensor, after: Tensor) -> Tensor:
    """(1 - SSIM) / 2 per window (N, 3, H-10, W-10), fully covered windows only, as scikit-image averages it."""
    return SsimReference(before).dssim_map(after)


def mean_dssim(before: Tensor, after: Tensor) -> float:
    """Mean of `dssim_map` for images (1, 3, H, W), tile by tile: a large face would need gigabytes at once."""
    windows = [side - WINDOW + 1 for side in before.shape[2:]]
    total = 0.0
    for top in range(0, windows[0], _TILE):
        for left in range(0, windows[1], _TILE):
            reach = _TILE + WINDOW - 1
            piece = (..., slice(top, top + reach), slice(left, left + reach))
            total += float(dssim_map(before[piece], after[piece]).sum(dtype=torch.float64))
    return total / (before.shape[1] * windows[0] * windows[1])


class SsimReference:
    """SSIM against fixed images: their window means and variances are computed once."""

    def __init__(self, before: Tensor, stride: int = 1) -> None:
        """stride: of the windows that are compared, in rows and columns."""
        self._before = before
        self._stride = stride
        self._mean = _window_mean(before, stride)
        self._variance = _window_mean(before * before, stride) - self._mean**2

    def dssim_map(self, after: Tensor) -> Tensor:
        """(1 - SSIM) / 2 of `after` (N, 3, H, W) per window: (N, 3, H-10, W-10), 0 = identical, at most 1."""
        luminance, structure = self.terms(after)
        return (1 - luminance * structure) / 2

    def terms(self, after: Tensor) -> tuple[Tensor, Tensor]:
        """Both factors of SSIM per window, each as `dssim_map`: luminance, and contrast times structure."""
        mean = _window_mean(after, self._stride)
        variance = _window_mean(after * after, self._stride) - mean**2
        covariance = _window_mean(self._before * after, self._stride) - self._mean * mean
        luminance = (2 * self._mean * mean + _C1) / (self._mean**2 + mean**2 + _C1)
        structure = (2 * covariance + SSIM_C2) / (self._variance + variance + SSIM_C2)
        return luminance, structure


def lab(rgb: Tensor) -> Tensor:
    """Convert sRGB in [0, 1] to CIE L*a*b*, D65 (IEC 61966-2-1), both (N, 3, ...)."""
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb.clamp(min=0.0) + 0.055) / 1.055) ** 2.4)
    xyz = torch.einsum("ij,nj...->ni...", torch.tensor(_RGB_TO_XYZ).to(rgb), linear)
    f = torch.where(xyz > 0.008856, xyz.clamp(min=1e-6) ** (1 / 3), 7.787 * xyz + 16 / 116)
    fx, fy, fz = f.unbind(1)
    return torch.stack([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)], dim=1)


# sRGB primaries, each row divided by the D65 white point (0.95047, 1, 1.08883)
_RGB_TO_XYZ = (
    (0.412453 / 0.95047, 0.357580 / 0.95047, 0.180423 / 0.95047),
    (0.212671, 0.715160, 0.072169),
    (0.019334 / 1.08883, 0.119193 / 1.08883, 0.950227 / 1.08883),
)


def ciede2000(one: Tensor, other: Tensor) -> Tensor:
    """CIEDE2000 colour difference of L*a*b* (N, 3, K) -> (N, K); 1 is about the smallest visible difference.

    Formula: Sharma, Wu, Dalal, Color Research & Application 30(1), 2005.
    """
    (l1, a1, b1), (l2, a2, b2) = one.unbind(1), other.unbind(1)
    grown = 1 + _chroma_growth((torch.hypot(a1, b1) + torch.hypot(a2, b2)) / 2)
    a1, a2 = a1 * grown, a2 * grown
    c1, c2 = torch.hypot(a1, b1), torch.hypot(a2, b2)
    h1, h2 = torch.atan2(b1, a1) % (2 * math.pi), torch.atan2(b2, a2) % (2 * math.pi)
    turn = (h2 - h1 + math.pi) % (2 * math.pi) - math.pi
    hue_step = 2 * torch.sqrt(c1 * c2) * torch.sin(turn / 2)
    hue = torch.where((h2 - h1).abs() > math.pi, (h1 + h2) / 2 + math.pi, (h1 + h2) / 2)
    hue = torch.where(c1 * c2 == 0, h1 + h2, hue)
    s_l, s_c, s_h = _weights((l1 + l2) / 2, (c1 + c2) / 2, hue)
    rotation = -torch.sin(
        2 * math.radians(30) * torch.exp(-(((torch.rad2deg(hue) % 360 - 275) / 25) ** 2))
    ) * (2 * torch.sqrt(_saturation7((c1 + c2) / 2)))
    lightness, chroma, hue_part = (l2 - l1) / s_l, (c2 - c1) / s_c, hue_step / s_h
    squared = lightness**2 + chroma**2 + hue_part**2 + rotation * chroma * hue_part
    return torch.sqrt(squared.clamp(min=0.0))


def colour_metric(before: Tensor) -> Tensor:
    """Linearise CIEDE2000 around images (N, 3, H, W): matrices A (N, 3, 3, H, W), |A d| is its value for a small d.

    The rotation term for blues is left out: skin has none, and the exact formula decides at the end.
    """
    h = 1e-3  # central differences: exact to 1e-4 here, and far shorter than the derivative of `lab`
    steps = torch.eye(3, device=before.device).view(3, 1, 3, 1, 1) * h
    jacobian = torch.stack([(lab(before + s) - lab(before - s)) / (2 * h) for s in steps], dim=2)
    lightness, a, b = lab(before).unbind(1)
    grown = 1 + _chroma_growth(torch.hypot(a, b))
    a = a * grown
    chroma = torch.hypot(a, b).clamp(min=1e-3)
    s_l, s_c, s_h = _weights(lightness, chroma, torch.atan2(b, a))
    d_l, d_a, d_b = jacobian.unbind(1)  # each (N, 3, H, W): the change per unit of R, G, B
    d_a = d_a * grown[:, None]
    along = (a[:, None] * d_a + b[:, None] * d_b) / chroma[:, None]
    around = (a[:, None] * d_b - b[:, None] * d_a) / chroma[:, None]
    return torch.stack([d_l / s_l[:, None], along / s_c[:, None], around / s_h[:, None]], dim=1)


def _chroma_growth(chroma: Tensor) -> Tensor:
    return 0.5 * (1 - torch.sqrt(_saturation7(chroma)))


def _saturation7(chroma: Tensor) -> Tensor:
    power = chroma**7
    return power / (power + 25.0**7)


def _weights(lightness: Tensor, chroma: Tensor, hue: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """CIEDE2000's S_L, S_C and S_H; hue in radians."""
    off = (lightness - 50) ** 2
    t = (
        1
        - 0.17 * torch.cos(hue - math.radians(30))
        + 0.24 * torch.cos(2 * hue)
        + 0.32 * torch.cos(3 * hue + math.radians(6))
        - 0.20 * torch.cos(4 * hue - math.radians(63))
    )
    return 1 + 0.015 * off / torch.sqrt(20 + off), 1 + 0.045 * chroma, 1 + 0.015 * chroma * t


def _window_mean(x: Tensor, stride: int) -> Tensor:
    """Gaussian mean of full 11 x 11 windows: (N, C, H, W) -> (N, C, H-10, W-10), or every stride-th of these."""
    rows, columns = (_windows(size, stride, x.device) for size in x.shape[2:])
    return product(x, rows, columns)


@lru_cache(maxsize=64)
def _windows(size: int, stride: int, device: torch.device) -> Banded:
    taps = torch.exp(-((torch.arange(WINDOW) - WINDOW // 2) ** 2) / (2 * SSIM_SIGMA**2))
    starts = range(0, size - WINDOW + 1, stride)
    matrix = torch.zeros(len(starts), size)
    for row, start in enumerate(starts):
        matrix[row, start : start + WINDOW] = taps / taps.sum()
    return Banded(matrix.to(device))


def _resized(x: Tensor, scale: float) -> Tensor:
    size = [max(WINDOW, round(side * scale)) for side in x.shape[2:]]
    return F.interpolate(x, size=size, mode="bilinear", antialias=scale < 1, align_corners=False)


def at_least_a_window(x: Tensor) -> Tensor:
    """Pad images (N, 3, H, W) that are smaller than SSIM's window by replicating their edges."""
    missing = [max(0, WINDOW - side) for side in x.shape[2:]]
    return F.pad(x, (0, missing[1], 0, missing[0]), mode="replicate") if any(missing) else x
