"""MS-SSIM, a second measure of visibility: SSIM at several viewing distances at once."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from fawkes_engine.image.visibility import WINDOW, SsimReference, at_least_a_window

# Wang, Simoncelli, Bovik, "Multi-scale structural similarity for image quality assessment" (Asilomar 2003), from the
# native size to a sixteenth
_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


@torch.no_grad()
def ms_ssim(before: Tensor, after: Tensor) -> float:
    """Return MS-SSIM of two images (1, 3, H, W), RGB, [0, 1]: 1 = identical, mean of the three channels.

    Each scale halves the one before. A side under 176 px has room for fewer than five scales: those that fit are used,
    with renormalised weights.
    """
    before, after = at_least_a_window(before), at_least_a_window(after)
    count = min(len(_WEIGHTS), 1 + int(math.log2(min(before.shape[2:]) / WINDOW)))
    total = torch.ones(before.shape[1])
    for scale, weight in enumerate(_WEIGHTS[:count]):
        if scale:
            before, after = F.avg_pool2d(before, 2), F.avg_pool2d(after, 2)
        luminance, structure = SsimReference(before).terms(after)
        seen = (
            luminance * structure if scale == count - 1 else structure
        )  # luminance counts at the last one only
        total *= seen.mean(dim=(0, 2, 3)).clamp(min=0) ** (weight / sum(_WEIGHTS[:count]))
    return float(total.mean())
