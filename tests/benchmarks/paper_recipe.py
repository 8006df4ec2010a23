"""The paper's recipe as a baseline: Adam, 1000 iterations, the face at 224 px, DSSIM as a penalty.

    python -m tests.benchmarks.speedup --data DIR/faces

Constants are those of the authors' research code of June 2020 (Shawn-Shan/fawkes, 12dd56e): the cloak m lives in tanh
space, and Adam (0.1, halved after each third) descends on

    1e5 * max(DSSIM - 0.007, 0)^2 + sum over extractors of |f(x') - target| / |target|

One face at a time, through the engine's own recognisers in float32. Two differences favour the recipe: the chips are
aligned, and the budget applies to the face region alone, where the recognisers look.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from fawkes_engine.extractors import Extractor
from fawkes_engine.face.align import sample_chips
from fawkes_engine.face.canvas import Canvas
from fawkes_engine.face.detect import Face, Pixels
from fawkes_engine.image.visibility import PAPER_FACE_PX

ITERATIONS = 1000
_LEARNING_RATE = 0.1
_PENALTY = 1e5
_INSIDE = 2 - 1e-6  # keeps arctanh finite
_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2


def cloak(
    pixels: Pixels,
    face: Face,
    extractors: Sequence[Extractor],
    targets: Mapping[str, Tensor],
    *,
    dssim_limit: float,
    iterations: int = ITERATIONS,
) -> Pixels:
    """Return a photo (H, W, 3) whose face is cloaked. targets: extractor -> (D,) unit vector."""
    canvas = Canvas.around(face, pixels)
    x0, _, x1, _ = canvas.region
    canvas = replace(canvas, side=round(PAPER_FACE_PX / (x1 - x0) * canvas.native_side))
    clean = canvas.cut(pixels)[None]
    left, top, right, bottom = canvas.canvas_region()
    region = clean[..., top:bottom, left:right]
    w = torch.arctanh((region - 0.5) * _INSIDE)
    m = torch.zeros_like(w).requires_grad_()
    optimiser = torch.optim.Adam([m], lr=_LEARNING_RATE)
    halved = torch.optim.lr_scheduler.StepLR(optimiser, max(1, math.ceil(iterations / 3)), gamma=0.5)
    onto = {e.name: [canvas.onto_canvas(e.onto_photo(face))] for e in extractors}
    around = (left, clean.shape[3] - right, top, clean.shape[2] - bottom)
    for _ in range(iterations):
        after = torch.tanh(w + m) / _INSIDE + 0.5
        cloaked = clean + F.pad(after - region, around)
        loss = _PENALTY * (dssim(region, after) - dssim_limit).clamp(min=0) ** 2
        for e in extractors:
            embedding = e.embed(sample_chips(cloaked, onto[e.name], e.chip_px))[0]
            loss = loss + (embedding - targets[e.name]).norm()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        halved.step()
    after = (torch.tanh(w + m) / _INSIDE + 0.5).detach()
    result = pixels.copy()
    canvas.add(F.pad(after - region, around)[0], result)
    return result


def dssim(before: Tensor, after: Tensor) -> Tensor:
    """Mean of (1 - SSIM) / 2 over images (1, 3, H, W) by convolution with SSIM's window, the straightforward way."""
    taps = torch.exp(-((torch.arange(_WINDOW) - _WINDOW // 2) ** 2) / (2 * _SIGMA**2))
    window = torch.outer(taps, taps)
    kernel = (window / window.sum()).expand(3, 1, _WINDOW, _WINDOW)
    mean_b, mean_a = F.conv2d(before, kernel, groups=3), F.conv2d(after, kernel, groups=3)
    variance_b = F.conv2d(before * before, kernel, groups=3) - mean_b**2
    variance_a = F.conv2d(after * after, kernel, groups=3) - mean_a**2
    covariance = F.conv2d(before * after, kernel, groups=3) - mean_b * mean_a
    luminance = (2 * mean_b * mean_a + _C1) / (mean_b**2 + mean_a**2 + _C1)
    structure = (2 * covariance + _C2) / (variance_b + variance_a + _C2)
    return ((1 - luminance * structure) / 2).mean()
