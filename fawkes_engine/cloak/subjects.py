"""A batch of faces to cloak: everything that stays constant during the optimisation.

Axes: N faces, C channels, S side of the square canvas, R side of the square around the face region, W windows a side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fawkes_engine.extractors import Extractor
from fawkes_engine.face.align import Similarity, sample_chips
from fawkes_engine.face.canvas import region_side
from fawkes_engine.image.filters import Banded, blur_matrix, gaussian_blur, product_of_each
from fawkes_engine.image.visibility import (
    COLOUR_BLUR,
    SSIM_C2,
    SSIM_SIGMA,
    SsimReference,
    Visibility,
    colour_metric,
)
from fawkes_engine.image.warp import displaced, displacements, splines

# windows are 11 px wide: every second row and column of them gives the same result in a third of the time
_SSIM_STRIDE = 2


@dataclass(frozen=True, slots=True)
class Subject:
    """One face, ready to be cloaked.

    canvas: (3, S, S) the face with its surroundings. mask: (1, S, S), 1 where the cloak may be, falling to 0 at the
    region's border. region: x0, y0, x1, y1 on the canvas, px. height_px: of the face box on the canvas.
    onto_canvas: extractor -> transform from its chip.
    clean_embedding: extractor -> unit embedding (D,), halfway between the face's own and the person's mean.
    target: extractor -> unit embedding (D,) of the target; with extractors that have none the face is only pushed away.
    directions: (3, S, S), the unit vectors along which a monochrome picture may change, None in colour.
    seed: of every random choice for this face.
    encoding: visibility of the encoding alone. visibility_of: the same for a cloak's delta (3, S, S) and
    control points (2, K, K), px of the canvas, once published.
    """

    canvas: Tensor
    mask: Tensor
    region: tuple[int, int, int, int]
    height_px: float
    onto_canvas: Mapping[str, Similarity]
    target: Mapping[str, Tensor]
    clean_embedding: Mapping[str, Tensor]
    directions: Tensor | None
    seed: int
    encoding: Visibility
    visibility_of: Callable[[Tensor, Tensor], Visibility]


@dataclass(frozen=True, slots=True)
class Subjects:
    """Faces of equal canvas size, as tensors whose first axis is N."""

    each: Sequence[Subject]
    clean_embedding: Mapping[str, Tensor]  # extractor -> (N, D)
    target: Mapping[str, Tensor]  # extractor -> (N, D)
    canvas: Tensor  # (N, 3, S, S)
    clean: Tensor  # (N, 3, R, R), of the canvas
    mask: Tensor  # (N, 1, R, R)
    preconditioner: Tensor  # (N, 3, R, R), inverse cost in DSSIM of a pixel's squared change, 1 on average
    reference: SsimReference
    window_weight: Tensor  # (N, 1, W, W), sums to 1 / 3 over the windows of a region that are compared
    blurs: Sequence[Banded]  # N of (R, R), which blur rows or columns as colours are compared
    colour: Tensor  # (N, 3, 3, R, R), see colour_metric
    region_weight: Tensor  # (N, 1, R, R), sums to 1
    directions: Mapping[int, Tensor]  # index of a monochrome face -> (3, R, R)
    row_splines: Tensor  # (N, R, K), of each region, see image.warp
    column_splines: Tensor  # (N, R, K)

    @classmethod
    def of(cls, subjects: Sequence[Subject]) -> Subjects:
        """Stack faces of equal canvas size."""
        canvas = torch.stack([s.canvas for s in subjects])
        clean = centre(canvas).contiguous()
        mask = centre(torch.stack([s.mask for s in subjects])).contiguous()
        blurs = [_colour_blur(s.height_px, clean.shape[3], canvas.device) for s in subjects]
        weight = _region_weights(subjects, canvas.shape[3], canvas.device)
        # a window counts if its centre is in the region; within 5 px of the square's border there are no centres
        window = weight[:, :, 5:-5:_SSIM_STRIDE, 5:-5:_SSIM_STRIDE]
        first = subjects[0]
        return cls(
            each=subjects,
            clean_embedding={
                name: torch.stack([s.clean_embedding[name] for s in subjects])
                for name in first.clean_embedding
            },
            target={name: torch.stack([s.target[name] for s in subjects]) for name in first.target},
            canvas=canvas,
            clean=clean,
            mask=mask,
            preconditioner=_preconditioner(canvas, mask),
            reference=SsimReference(clean, _SSIM_STRIDE),
            window_weight=window / window.sum(dim=(2, 3), keepdim=True) / 3,
            blurs=blurs,
            # one by one: powers are rounded differently at the end of a vector, whose position depends on N
            colour=torch.cat([colour_metric(smooth[None]) for smooth in product_of_each(clean, blurs)]),
            region_weight=weight / weight.sum(dim=(2, 3), keepdim=True),
            directions={
                i: centre(s.directions[None])[0] for i, s in enumerate(subjects) if s.directions is not None
            },
            row_splines=_splines(subjects, clean.shape[3], 1),
            column_splines=_splines(subjects, clean.shape[3], 0),
        )

    def keep_to_tones(self, change: Tensor) -> None:
        """Project a change (N, 3, R, R) in place, so that monochrome faces keep their tones."""
        for i, direction in self.directions.items():
            change[i] = direction * (direction * change[i]).sum(dim=0)

    def whole(self, squares: Tensor) -> Tensor:
        """Pad the squares around the regions (N, C, R, R) with 0 to the size of the canvases (N, C, S, S)."""
        missing = self.canvas.shape[3] - squares.shape[3]
        before, after = missing // 2, missing - missing // 2
        return F.pad(squares, (before, after, before, after))

    def chips(self, extractor: Extractor, canvases: Tensor) -> Tensor:
        """Chips of the faces on canvases (N, 3, S, S): (N, 3, P, P)."""
        transforms = [s.onto_canvas[extractor.name] for s in self.each]
        return sample_chips(canvases, transforms, extractor.chip_px)

    def warped(self, points: Tensor) -> Tensor:
        """Return the canvases (N, 3, S, S), warped by control points (N, 2, K, K), px."""
        by = displacements(points, self.row_splines, self.column_splines)
        return displaced(self.canvas, self.whole(by))

    def dssim(self, delta: Tensor) -> Tensor:
        """DSSIM of each face region at working size, (N,), with a cloak (N, 3, R, R)."""
        after = (self.clean + delta).clamp(0, 1)
        return total(self.reference.dssim_map(after) * self.window_weight)

    def colour_shift(self, smooth: Tensor) -> Tensor:
        """Approximate CIEDE2000, (N, 1, R, R), of a change (N, 3, R, R) that is blurred for colour comparison."""
        shift: Tensor = torch.einsum("nijhw,njhw->nihw", self.colour, smooth).norm(dim=1, keepdim=True)
        return shift


def centre(x: Tensor) -> Tensor:
    """View of the square around the region: (N, C, S, S) -> (N, C, R, R)."""
    side = region_side(x.shape[3])
    start = (x.shape[3] - side) // 2
    return x[:, :, start : start + side, start : start + side]


def total(x: Tensor) -> Tensor:
    """Sum over each image (N, C, H, W) -> (N,); axis by axis, so that the order does not depend on N."""
    return x.sum(dim=3).sum(dim=2).sum(dim=1)


def _colour_blur(height_px: float, side: int, device: torch.device) -> Banded:
    """The blur for a face of this height at working size."""
    return Banded(blur_matrix(side, COLOUR_BLUR * height_px).to(device))


def _preconditioner(canvas: Tensor, mask: Tensor) -> Tensor:
    """Inverse of SSIM's inverse-variance weight: SSIM divides a squared change by each window's variance (+ C2 / 2).

    canvas: (N, 3, S, S). mask: (N, 1, R, R). Returns (N, 3, R, R).
    """
    variance = (gaussian_blur(canvas**2, SSIM_SIGMA) - gaussian_blur(canvas, SSIM_SIGMA) ** 2).clamp(min=0)
    inverse_cost = centre(1 / gaussian_blur(1 / (variance + SSIM_C2 / 2), SSIM_SIGMA))
    average = total(inverse_cost * mask) / (3 * total(mask))
    return inverse_cost / average.view(-1, 1, 1, 1)


def _splines(subjects: Sequence[Subject], side: int, axis: int) -> Tensor:
    """(N, R, K); axis: 0 for columns, 1 for rows."""
    before = (subjects[0].canvas.shape[2] - side) // 2
    one_by_one = [splines(side, s.region[axis] - before, s.region[axis + 2] - before) for s in subjects]
    return torch.stack(one_by_one).to(subjects[0].canvas.device)


def _region_weights(subjects: Sequence[Subject], canvas_side: int, device: torch.device) -> Tensor:
    """(N, 1, R, R): 1 inside each face region, 0 outside."""
    weight = torch.zeros(len(subjects), 1, canvas_side, canvas_side, device=device)
    for i, subject in enumerate(subjects):
        x0, y0, x1, y1 = subject.region
        weight[i, :, y0:y1, x0:x1] = 1
    return centre(weight)
