"""The optimiser's state: where the cloaks of some faces are, and steps downhill that stay in the visibility budget.

After every step a cloak is projected: the smooth colour shift is capped, then all of it is scaled until its DSSIM
holds.

Axes: N faces, C channels, S side of the square canvas, R side of the square around the face region, W of windows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fawkes_engine.cloak.views import jittered, view
from fawkes_engine.extractors import Extractor
from fawkes_engine.face.align import Similarity, sample_chips
from fawkes_engine.face.canvas import region_side
from fawkes_engine.image.filters import Banded, blur_matrix, gaussian_blur, product
from fawkes_engine.image.visibility import (
    COLOUR_BLUR,
    SSIM_C2,
    SSIM_SIGMA,
    SsimReference,
    Visibility,
    colour_metric,
)
from fawkes_engine.types import Budget

LARGEST_CHANGE = 20 / 255  # of a channel, at any pixel: more draws shadows on the lids of large faces
_FIRST_STEP, _LAST_STEP = 0.15, 0.03  # step length as a share of the cloak's own, falling along a cosine
_MOMENTUM = 0.8
_TYPICAL_CHANGE = 5 / 255  # of a channel: the first steps are measured against a cloak of this size
_COLOUR_AIM = 0.95  # share of the colour limits the loop uses, the rest is for what the encoding adds
# Tints show before shades do, and recognisers hardly look at them: colour moves by this share of what grey does.
_CHROMA = 0.15
# SSIM counts how a change varies within its windows, so what is as smooth as they are is nearly free; and it survives
# resizing. The way down therefore has this much of its own blur added (1, 3 and 10 were tried).
_SMOOTH = 3
# windows are 11 px wide: every second row and column of them tells the same for a third of the time
_SSIM_STRIDE = 2


@dataclass(frozen=True, slots=True)
class Subject:
    """One face, ready to be cloaked.

    canvas: (3, S, S) the face with its surroundings. mask: (1, S, S), 1 where the cloak may be, falling to 0 at the
    region's border. region: x0, y0, x1, y1 on the canvas, px. height_px: of the face box on the canvas.
    onto_canvas: extractor -> transform from its chip.
    clean_embedding: extractor -> unit embedding (D,), halfway between the face's and the mean of its person's.
    target: extractor -> unit embedding (D,) of the target; with extractors that have none the face is only pushed away.
    grey: the cloak must have no colour. seed: of every random choice for this face.
    encoding: what a person can see of the encoding alone. visibility_of: the same of a delta (3, S, S), once published.
    """

    canvas: Tensor
    mask: Tensor
    region: tuple[int, int, int, int]
    height_px: float
    onto_canvas: Mapping[str, Similarity]
    target: Mapping[str, Tensor]
    clean_embedding: Mapping[str, Tensor]
    grey: bool
    seed: int
    encoding: Visibility
    visibility_of: Callable[[Tensor], Visibility]


@dataclass(slots=True)
class CloakState:
    """The optimiser's state for faces whose canvases have one size; every tensor's first axis is N.

    A cloak is kept as the square around its region, outside which it is 0.
    """

    subjects: Sequence[Subject]
    clean_embedding: Mapping[str, Tensor]  # extractor -> (N, D)
    target: Mapping[str, Tensor]  # extractor -> (N, D)
    canvas: Tensor  # (N, 3, S, S)
    clean: Tensor  # (N, 3, R, R), of the canvas
    mask: Tensor  # (N, 1, R, R)
    delta: Tensor  # (N, 3, R, R), the cloak
    momentum: Tensor
    freedom: Tensor  # (N, 3, R, R), how much a pixel may change at equal DSSIM, 1 on average
    alignments: list[torch.Generator]  # on the CPU
    noise: list[torch.Generator]  # on the device
    reference: SsimReference
    window_weight: Tensor  # (N, 1, W, W), sums to 1 / 3 over the windows of a region that are compared
    blur: Banded  # (N, 1, R, R), blurs rows or columns as colours are compared
    colour: Tensor  # (N, 3, 3, R, R), see colour_metric
    region_weight: Tensor  # (N, 1, R, R), sums to 1
    dssim_limit: Tensor
    colour_mean_limit: Tensor
    colour_p99_limit: Tensor
    best: Tensor
    best_score: Tensor
    best_step: list[int]
    done: Tensor

    @classmethod
    def start(cls, subjects: Sequence[Subject], budget: Budget) -> CloakState:
        """No cloaks yet; the canvases have one size."""
        canvas = torch.stack([s.canvas for s in subjects])
        clean = _centre(canvas).contiguous()
        mask = _centre(torch.stack([s.mask for s in subjects])).contiguous()
        count, device = len(subjects), canvas.device
        blur = _colour_blur([s.height_px for s in subjects], clean.shape[3], device)
        weight = _region_weights(subjects, canvas.shape[3], device)
        # a window counts where its centre does, less the region's own border
        window = weight[:, :, 5:-5:_SSIM_STRIDE, 5:-5:_SSIM_STRIDE]
        return cls(
            subjects=subjects,
            clean_embedding={
                name: torch.stack([s.clean_embedding[name] for s in subjects])
                for name in subjects[0].clean_embedding
            },
            target={name: torch.stack([s.target[name] for s in subjects]) for name in subjects[0].target},
            canvas=canvas,
            clean=clean,
            mask=mask,
            delta=torch.zeros_like(clean).requires_grad_(),
            momentum=torch.zeros_like(clean),
            freedom=_freedom(canvas, mask),
            alignments=[torch.Generator().manual_seed(s.seed) for s in subjects],
            noise=[torch.Generator(device).manual_seed(s.seed) for s in subjects],
            reference=SsimReference(clean, _SSIM_STRIDE),
            window_weight=window / window.sum(dim=(2, 3), keepdim=True) / 3,
            blur=blur,
            # one by one: powers are rounded differently at the end of a vector, and where that is depends on N
            colour=torch.cat([colour_metric(smooth[None]) for smooth in product(clean, blur, blur)]),
            region_weight=weight / weight.sum(dim=(2, 3), keepdim=True),
            dssim_limit=torch.tensor(
                [_left(budget, max(s.encoding.dssim, s.encoding.dssim_224)) for s in subjects], device=device
            ),
            colour_mean_limit=torch.full((count,), _COLOUR_AIM * budget.colour_mean, device=device),
            colour_p99_limit=torch.full((count,), _COLOUR_AIM * budget.colour_p99, device=device),
            best=torch.zeros_like(clean),
            best_score=torch.full((count,), -math.inf, device=device),
            best_step=[0] * count,
            done=torch.zeros(count, dtype=torch.bool, device=device),
        )

    def viewed(self, extractor: Extractor, view_number: int) -> Tensor:
        """Chips of the cloaked faces in a view, aligned a little differently each time."""
        seen = view(view_number, self.cloaked(), self.noise)
        transforms = [
            jittered(s.onto_canvas[extractor.name], extractor.chip_px, g)
            for s, g in zip(self.subjects, self.alignments, strict=True)
        ]
        return sample_chips(seen, transforms, extractor.chip_px)

    def cloaked(self) -> Tensor:
        """The canvases with their cloaks, (N, 3, S, S)."""
        return (self.canvas + self.whole(self.delta)).clamp(0, 1)

    def whole(self, squares: Tensor) -> Tensor:
        """What lies in the squares around the regions (N, 3, R, R), on canvases that are 0 elsewhere (N, 3, S, S)."""
        missing = self.canvas.shape[3] - squares.shape[3]
        before, after = missing // 2, missing - missing // 2
        return F.pad(squares, (before, after, before, after))

    def chips(self, extractor: Extractor, canvases: Tensor) -> Tensor:
        """Chips of the faces on canvases (N, 3, S, S)."""
        transforms = [s.onto_canvas[extractor.name] for s in self.subjects]
        return sample_chips(canvases, transforms, extractor.chip_px)

    def dssim(self) -> Tensor:
        """DSSIM of each face region at working size, (N,)."""
        after = (self.clean + self.delta).clamp(0, 1)
        return _total(self.reference.dssim_map(after) * self.window_weight)

    @torch.no_grad()
    def descend(self, gradient: Tensor, *, step: int, of: int) -> None:
        """One step downhill with momentum, in the metric of DSSIM, then back into the budget.

        For a small change d, DSSIM grows as the sum of v^2 / freedom, v being how d varies within a window. At equal
        cost the steepest way down is about freedom * (gradient + _SMOOTH * its blur): the cloak goes where the picture
        is busy, leaves smooth skin alone, and is no finer than it need be.
        """
        share = _LAST_STEP + (_FIRST_STEP - _LAST_STEP) * (1 + math.cos(math.pi * step / of)) / 2
        gradient = gradient * self.mask
        grey = gradient.mean(dim=1, keepdim=True)
        gradient = grey + _CHROMA * (gradient - grey)
        gradient = gradient + _SMOOTH * gaussian_blur(gradient, SSIM_SIGMA)
        self.momentum.mul_(_MOMENTUM).add_(gradient / _length(gradient**2 * self.freedom))
        typical = _TYPICAL_CHANGE * _length(self.mask.expand_as(self.delta))
        size = share * torch.maximum(_length(self.delta**2 / self.freedom), typical)
        self.delta -= size * self.freedom * self.momentum / _length(self.momentum**2 * self.freedom)
        self._project()

    def _project(self) -> None:
        delta = self.delta
        for i, subject in enumerate(self.subjects):
            if subject.grey:
                delta[i] = delta[i].mean(dim=0, keepdim=True)
        delta.clamp_(-LARGEST_CHANGE, LARGEST_CHANGE).mul_(self.mask)
        smooth = product(delta, self.blur, self.blur)
        shift = torch.einsum("nijhw,njhw->nihw", self.colour, smooth).norm(dim=1, keepdim=True)
        keep = (self.colour_p99_limit.view(-1, 1, 1, 1) / shift.clamp(min=1e-6)).clamp(max=1)
        mean = _total(shift * keep * self.region_weight)
        keep *= (self.colour_mean_limit / mean.clamp(min=1e-6)).clamp(max=1).view(-1, 1, 1, 1)
        delta.sub_(smooth * (1 - keep)).mul_(self.mask)
        delta.copy_((self.clean + delta).clamp(0, 1) - self.clean)
        delta.mul_((self.dssim_limit / self.dssim().clamp(min=1e-9)).clamp(max=1).sqrt().view(-1, 1, 1, 1))

    @torch.no_grad()
    def calibrate(self, budget: Budget) -> None:
        """Correct the limits by what the current cloaks cost once encoded, at native size and at 224 px."""
        deltas = self.whole(self.delta)
        for i, (now, subject) in enumerate(zip(self.dssim().tolist(), self.subjects, strict=True)):
            exact, alone = subject.visibility_of(deltas[i]), subject.encoding
            limits = [
                now * _left(budget, fixed) / max(figure - fixed, 1e-6)
                for figure, fixed in ((exact.dssim, alone.dssim), (exact.dssim_224, alone.dssim_224))
            ]
            self.dssim_limit[i] = min(limits)
            for limit, figure, allowed in (
                (self.colour_mean_limit, exact.colour_mean, budget.colour_mean),
                (self.colour_p99_limit, exact.colour_p99, budget.colour_p99),
            ):
                limit[i] *= min(max(_COLOUR_AIM * allowed / max(figure, 1e-6), 0.7), 1.1)

    def keep_best(self, score: Tensor, done: Tensor, *, steps: int) -> None:
        """Keep each unfinished face's iterate if it is its best so far, and mark the finished ones."""
        better = (score > self.best_score) & ~self.done
        self.best[better] = self.delta.detach()[better]
        self.best_score[better] = score[better]
        self.best_step = [steps if b else s for b, s in zip(better.tolist(), self.best_step, strict=True)]
        self.done |= done


def _left(budget: Budget, encoding_dssim: float) -> float:
    """What the encoding leaves of the DSSIM budget, and a tenth of it where that is almost nothing."""
    return max(budget.dssim - encoding_dssim, 0.1 * budget.dssim)


def _colour_blur(heights_px: Sequence[float], side: int, device: torch.device) -> Banded:
    """The blur for faces of these heights. Its band fits the tallest one possible, whatever faces are in the batch."""
    matrices = [blur_matrix(side, COLOUR_BLUR * height_px) for height_px in heights_px]
    return Banded(torch.stack(matrices)[:, None].to(device), blur_matrix(side, COLOUR_BLUR * side))


def _freedom(canvas: Tensor, mask: Tensor) -> Tensor:
    """The inverse of what a squared change costs: SSIM divides it by the local variance (+ C2 / 2) of each window.

    canvas: (N, 3, S, S). mask: (N, 1, R, R). Returns (N, 3, R, R).
    """
    variance = (gaussian_blur(canvas**2, SSIM_SIGMA) - gaussian_blur(canvas, SSIM_SIGMA) ** 2).clamp(min=0)
    freedom = _centre(1 / gaussian_blur(1 / (variance + SSIM_C2 / 2), SSIM_SIGMA))
    average = _total(freedom * mask) / (3 * _total(mask))
    return freedom / average.view(-1, 1, 1, 1)


def _length(squares: Tensor) -> Tensor:
    """Root of the sum over each image: (N, C, S, S) -> (N, 1, 1, 1), never 0."""
    return _total(squares).sqrt().clamp(min=1e-12).view(-1, 1, 1, 1)


def _total(x: Tensor) -> Tensor:
    """Sum over each image (N, C, H, W) -> (N,); axis by axis, so that the order does not depend on N."""
    return x.sum(dim=3).sum(dim=2).sum(dim=1)


def _centre(x: Tensor) -> Tensor:
    """View of the square around the region: (N, C, S, S) -> (N, C, R, R)."""
    side = region_side(x.shape[3])
    start = (x.shape[3] - side) // 2
    return x[:, :, start : start + side, start : start + side]


def _region_weights(subjects: Sequence[Subject], canvas_side: int, device: torch.device) -> Tensor:
    """(N, 1, R, R): 1 inside each face region, 0 outside."""
    weight = torch.zeros(len(subjects), 1, canvas_side, canvas_side, device=device)
    for i, subject in enumerate(subjects):
        x0, y0, x1, y1 = subject.region
        weight[i, :, y0:y1, x0:x1] = 1
    return _centre(weight)
