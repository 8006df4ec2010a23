"""The optimiser's state: the cloaks of a batch of faces, and projected gradient steps inside the visibility budget.

A cloak is a warp of the face and a delta that is added to the warped face. The projection after every step caps the
smooth colour shift of the delta, then scales it down to the DSSIM limit; both are estimated against the face as it was,
and corrected by exact measurements. No control point of the warp is moved beyond its limit.

Axes: N faces, C channels, S side of the square canvas, R side of the square around the face region, P side of a chip, K
control points of a warp per row and per column.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fawkes_engine.cloak.subjects import Subject, Subjects, total
from fawkes_engine.cloak.views import jittered, view
from fawkes_engine.extractors import Extractor
from fawkes_engine.face.align import sample_chips
from fawkes_engine.face.canvas import REGION_GROWTH
from fawkes_engine.image.filters import gaussian_blur, product_of_each
from fawkes_engine.image.visibility import SSIM_SIGMA
from fawkes_engine.image.warp import POINTS, without_similarity
from fawkes_engine.modes import Budget

LARGEST_CHANGE = 20 / 255  # per channel and pixel: more draws shadows on the eyelids of large faces
_FIRST_STEP, _LAST_STEP = 0.15, 0.03  # step size relative to the cloak's norm, on a cosine schedule
_FIRST_MOVE, _LAST_MOVE = 0.3, 0.05  # the same for control points, relative to their limit
_NARROWEST = 0.65  # width, in heights of the face, from which on a region counts as that of a whole face
_MOMENTUM = 0.8
_TYPICAL_CHANGE = 5 / 255  # per channel: the first steps are relative to a cloak of this size
_COLOUR_AIM = 0.95  # share of the colour limits the loop uses, the rest is for what the encoding adds
# Colour changes are more visible than luminance changes, and recognisers hardly use them: their gradient is scaled so.
_CHROMA = 0.15
# SSIM penalises variation within its windows, so a change as smooth as a window is nearly free; it also survives
# resizing. The gradient therefore has its own blur added, with this weight (1, 3 and 10 were tried).
_SMOOTH = 3


@dataclass(slots=True)
class CloakState:
    """The cloaks of faces of equal canvas size, and all else that the steps change; each tensor's first axis is N.

    A delta is stored as the square around its region, outside which it is 0.
    """

    faces: Subjects
    delta: Tensor  # (N, 3, R, R)
    momentum: Tensor  # (N, 3, R, R)
    points: Tensor  # (N, 2, K, K), control points of the warp, px of the canvas
    points_momentum: Tensor  # (N, 2, K, K)
    points_limit: Tensor  # (N, 1, 1, 1), px
    alignments: list[torch.Generator]  # for alignment jitter, on the CPU
    noise: list[torch.Generator]  # on the device
    dssim_limit: Tensor  # (N,), like the colour limits: the part of the budget that the loop may use
    colour_mean_limit: Tensor
    colour_p99_limit: Tensor
    best: Tensor  # (N, 3, R, R)
    best_points: Tensor  # (N, 2, K, K)
    best_score: Tensor  # (N,)
    best_step: list[int]
    done: Tensor  # (N,), bool

    @classmethod
    def start(cls, subjects: Sequence[Subject], budget: Budget) -> CloakState:
        """Return the initial state, without cloaks; the canvases must have equal size."""
        faces = Subjects.of(subjects)
        count, device = len(subjects), faces.canvas.device
        points = torch.zeros(count, 2, POINTS, POINTS, device=device)
        farthest_px = [budget.warp * _whole_height_px(s) for s in subjects]
        return cls(
            faces=faces,
            delta=torch.zeros_like(faces.clean).requires_grad_(),
            momentum=torch.zeros_like(faces.clean),
            points=points.clone().requires_grad_(),
            points_momentum=points.clone(),
            points_limit=torch.tensor(farthest_px, device=device).view(-1, 1, 1, 1),
            alignments=[torch.Generator().manual_seed(s.seed) for s in subjects],
            noise=[torch.Generator(device).manual_seed(s.seed) for s in subjects],
            dssim_limit=torch.tensor(
                [_left(budget, max(s.encoding.dssim, s.encoding.dssim_224)) for s in subjects], device=device
            ),
            colour_mean_limit=torch.full((count,), _COLOUR_AIM * budget.colour_mean, device=device),
            colour_p99_limit=torch.full((count,), _COLOUR_AIM * budget.colour_p99, device=device),
            best=torch.zeros_like(faces.clean),
            best_points=points,
            best_score=torch.full((count,), -math.inf, device=device),
            best_step=[0] * count,
            done=torch.zeros(count, dtype=torch.bool, device=device),
        )

    def viewed(self, extractor: Extractor, view_number: int) -> Tensor:
        """Chips (N, 3, P, P) of the cloaked faces in a view, with new alignment jitter each time."""
        seen = view(view_number, self.cloaked(), self.noise)
        transforms = [
            jittered(s.onto_canvas[extractor.name], extractor.chip_px, g)
            for s, g in zip(self.faces.each, self.alignments, strict=True)
        ]
        return sample_chips(seen, transforms, extractor.chip_px)

    def cloaked(self) -> Tensor:
        """The canvases with their cloaks, (N, 3, S, S)."""
        return (self.faces.warped(self.points) + self.faces.whole(self.delta)).clamp(0, 1)

    def dssim(self) -> Tensor:
        """DSSIM of each face region at working size, (N,)."""
        return self.faces.dssim(self.delta)

    @torch.no_grad()
    def descend(self, gradient: Tensor, *, step: int, of: int) -> None:
        """One gradient step with momentum, preconditioned in the metric of DSSIM, then the projection.

        For a small change d, DSSIM grows as the sum of v^2 / preconditioner, where v is how d varies within a window.
        At equal cost the direction of steepest descent is about preconditioner * (gradient + _SMOOTH * its blur): the
        cloak prefers textured areas, spares smooth skin, and is no finer than necessary.
        """
        mask, preconditioner = self.faces.mask, self.faces.preconditioner
        share = _annealed(_FIRST_STEP, _LAST_STEP, step, of)
        gradient = gradient * mask
        grey = gradient.mean(dim=1, keepdim=True)
        gradient = grey + _CHROMA * (gradient - grey)
        self.faces.keep_to_tones(gradient)
        gradient = gradient + _SMOOTH * gaussian_blur(gradient, SSIM_SIGMA)
        self.momentum.mul_(_MOMENTUM).add_(gradient / _length(gradient**2 * preconditioner))
        typical = _TYPICAL_CHANGE * _length(mask.expand_as(self.delta))
        size = share * torch.maximum(_length(self.delta**2 / preconditioner), typical)
        self.delta -= size * preconditioner * self.momentum / _length(self.momentum**2 * preconditioner)
        self.project()

    @torch.no_grad()
    def move(self, gradient: Tensor, *, step: int, of: int) -> None:
        """One gradient step of the control points with momentum, then the projection onto their limit."""
        share = _annealed(_FIRST_MOVE, _LAST_MOVE, step, of)
        self.points_momentum.mul_(_MOMENTUM).add_(gradient / _length(gradient**2))
        per_point = self.points_momentum * (POINTS * math.sqrt(2) / _length(self.points_momentum**2))
        moved = without_similarity(self.points - share * self.points_limit * per_point)
        length = moved.norm(dim=1, keepdim=True).clamp(min=1e-9)
        self.points.copy_(moved * (self.points_limit / length).clamp(max=1))

    @torch.no_grad()
    def project(self) -> None:
        """Project the deltas into the budget."""
        delta, faces = self.delta, self.faces
        faces.keep_to_tones(delta)
        delta.clamp_(-LARGEST_CHANGE, LARGEST_CHANGE).mul_(faces.mask)
        smooth = product_of_each(delta, faces.blurs)
        shift = faces.colour_shift(smooth)
        keep = (self.colour_p99_limit.view(-1, 1, 1, 1) / shift.clamp(min=1e-6)).clamp(max=1)
        mean = total(shift * keep * faces.region_weight)
        keep *= (self.colour_mean_limit / mean.clamp(min=1e-6)).clamp(max=1).view(-1, 1, 1, 1)
        delta.sub_(smooth * (1 - keep)).mul_(faces.mask)
        delta.copy_((faces.clean + delta).clamp(0, 1) - faces.clean)
        delta.mul_((self.dssim_limit / self.dssim().clamp(min=1e-9)).clamp(max=1).sqrt().view(-1, 1, 1, 1))

    @torch.no_grad()
    def calibrate(self, budget: Budget) -> None:
        """Correct the limits by the exact visibility of the current cloaks once encoded, at native size and 224 px."""
        deltas = self.faces.whole(self.delta)
        for i, (now, subject) in enumerate(zip(self.dssim().tolist(), self.faces.each, strict=True)):
            exact, alone = subject.visibility_of(deltas[i], self.points[i].detach()), subject.encoding
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
        self.best_points[better] = self.points.detach()[better]
        self.best_score[better] = score[better]
        self.best_step = [steps if b else s for b, s in zip(better.tolist(), self.best_step, strict=True)]
        self.done |= done


def _annealed(first: float, last: float, step: int, of: int) -> float:
    """Step size on a cosine schedule that falls from the first to the last."""
    return last + (first - last) * (1 + math.cos(math.pi * step / of)) / 2


def _whole_height_px(subject: Subject) -> float:
    """Height of a face; of one that the photo's edge cuts, that of a whole face with its region, px of the canvas.

    The control points of a small region lie close together: moved as far as those of a whole face, they distort it.
    """
    x0, y0, x1, y1 = subject.region
    return min(subject.height_px, (x1 - x0) / _NARROWEST, (y1 - y0) / REGION_GROWTH)


def _left(budget: Budget, encoding_dssim: float) -> float:
    """What the encoding leaves of the DSSIM budget, but at least a tenth of it."""
    return max(budget.dssim - encoding_dssim, 0.1 * budget.dssim)


def _length(squares: Tensor) -> Tensor:
    """L2 norm of each image, from its squares: (N, C, S, S) -> (N, 1, 1, 1), never 0."""
    return total(squares).sqrt().clamp(min=1e-12).view(-1, 1, 1, 1)
