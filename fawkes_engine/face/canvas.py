"""The canvas: a square crop of a photo around one face, at working size and in sRGB, and the mapping back.

Face regions up to 224 px are cloaked at native size, larger ones are downscaled to that: a tracker sees no more,
and a delta found at 224 px stays smooth when upscaled. Axes: C channels, S side, H, W.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from fawkes_engine.face.align import Similarity
from fawkes_engine.face.detect import Box, Face, Pixels
from fawkes_engine.image.filters import Banded, product
from fawkes_engine.image.visibility import PAPER_FACE_PX, Visibility, measure
from fawkes_engine.image.warp import warped
from fawkes_engine.photo.colour import ColourSpace
from fawkes_engine.photo.monochrome import Tone

REGION_GROWTH = 1.3  # the region is the detection box grown by 15 % of its size on each side
CONTEXT_GROWTH = 1.8  # the canvas is this many box sizes wide, enough for every extractor's chip
_SIDE_STEP = 32  # canvases come in few sizes, so that faces share batches
_FEATHER = 0.08  # of the region's side: the cloak fades out over this width, so no seam shows
_BLOCK = 8  # JPEG's block side
_BAND = 256  # rows converted at a time; bounds memory


@dataclass(frozen=True, slots=True)
class Canvas:
    """Where one face's canvas lies in its photo.

    left, top: of the square in the photo, px, may be negative. native_side: its side in the photo, px.
    side: S, its side at working size. region: x0, y0, x1, y1 of the pixels a cloak may change, in the photo.
    colour: colour space of the photo's pixels, None for sRGB. tone: of a face in a monochrome picture, whose cloak must
    keep to it.
    """

    left: int
    top: int
    native_side: int
    side: int
    region: tuple[int, int, int, int]
    colour: ColourSpace | None
    tone: Tone | None = None

    @classmethod
    def around(cls, face: Face, pixels: Pixels, colour: ColourSpace | None = None) -> Canvas:
        """Place the canvas of a face in a photo (H, W, 3)."""
        x0, y0, x1, y1 = face.box
        box_side = max(x1 - x0, y1 - y0)
        scale = min(1.0, PAPER_FACE_PX / (REGION_GROWTH * box_side))
        side = math.ceil(CONTEXT_GROWTH * box_side * scale / _SIDE_STEP) * _SIDE_STEP
        native_side = round(side / scale)
        return cls(
            left=round((x0 + x1 - native_side) / 2),
            top=round((y0 + y1 - native_side) / 2),
            native_side=native_side,
            side=side,
            region=region_of(face.box, pixels),
            colour=colour,
        )

    def seen_from(self, left: int, top: int) -> Canvas:
        """Return the same canvas in the coordinates of a crop of the photo that starts at left, top."""
        x0, y0, x1, y1 = self.region
        return replace(
            self,
            left=self.left - left,
            top=self.top - top,
            region=(x0 - left, y0 - top, x1 - left, y1 - top),
        )

    @property
    def scale(self) -> float:
        """Canvas pixels per photo pixel, at most 1."""
        return self.side / self.native_side

    def onto_canvas(self, photo_points: Similarity) -> Similarity:
        """Turn a transform into photo pixels into one into canvas pixels (both count pixel centres)."""
        half = complex(0.5, 0.5)
        shift = (half - complex(self.left, self.top)) * self.scale - half
        return Similarity(complex(self.scale), shift).after(photo_points)

    def canvas_region(self) -> tuple[int, int, int, int]:
        """Return the region in canvas pixels: x0, y0, x1, y1."""
        x0, y0, x1, y1 = self.region
        return (
            max(0, round((x0 - self.left) * self.scale)),
            max(0, round((y0 - self.top) * self.scale)),
            min(self.side, round((x1 - self.left) * self.scale)),
            min(self.side, round((y1 - self.top) * self.scale)),
        )

    def mask(self) -> Tensor:
        """(1, S, S): 1 inside the region, 0 outside, a raised cosine between."""
        x0, y0, x1, y1 = self.canvas_region()
        position = torch.arange(self.side) + 0.5
        columns, rows = (
            _ramp(torch.minimum(position - start, end - position) / (_FEATHER * (end - start)))
            for start, end in ((x0, x1), (y0, y1))
        )
        return (rows[:, None] * columns[None])[None]

    def cut(self, pixels: Pixels) -> Tensor:
        """(3, S, S) float32 sRGB in [0, 1] from a photo (H, W, 3) uint8; edges are replicated beyond its border."""
        rows = np.clip(np.arange(self.top, self.top + self.native_side), 0, pixels.shape[0] - 1)
        columns = np.clip(np.arange(self.left, self.left + self.native_side), 0, pixels.shape[1] - 1)
        native = in_srgb(pixels[rows[:, None], columns], self.colour)
        if self.side == self.native_side:
            return to_tensor(native)
        # one channel at a time: a large face would need gigabytes otherwise
        return torch.cat([self._reduced(native[..., c : c + 1]) for c in range(3)])

    def warp(self, points: Tensor, pixels: Pixels) -> None:
        """Warp a photo (H, W, 3) uint8 in place by control points (2, K, K), canvas px; only the region changes."""
        warp_region(points.cpu() / self.scale, self.region, pixels)

    def add(self, delta: Tensor, pixels: Pixels) -> None:
        """Add a delta (3, S, S) to a photo (H, W, 3) uint8 in place, rounded; only the region changes."""
        x0, y0, x1, y1 = self.region
        change = self._enlarged(delta.cpu())
        for start in range(0, y1 - y0, _BAND):
            part = change[start : start + _BAND] * 255
            band = pixels[y0:y1, x0:x1][start : start + _BAND]
            native = self.colour.change(band, part) if self.colour else part
            if self.tone:
                native = self.tone.change(band, native)
            band[:] = np.clip(np.rint(band + native), 0, 255).astype(np.uint8)

    def compare(
        self, before: Pixels, after: Pixels, face_height_px: float, device: torch.device
    ) -> Visibility:
        """Return the visibility, in the region, of a change to the photo (H, W, 3); measured on a device."""
        x0, y0, x1, y1 = self.region
        clean, cloaked = (
            to_tensor(in_srgb(pixels[y0:y1, x0:x1], self.colour))[None].to(device)
            for pixels in (before, after)
        )
        return measure(clean, cloaked, face_height_px)

    def directions(self, canvas: Tensor) -> Tensor | None:
        """Return unit vectors (3, S, S) along which a canvas (3, S, S) keeps to its tone, None if it is in colour."""
        if self.tone is None:
            return None
        return torch.from_numpy(
            self.tone.directions(canvas.permute(1, 2, 0).numpy() * 255, self.colour)
        ).permute(2, 0, 1)

    def keeps_tone(self, before: Pixels, after: Pixels) -> bool:
        """Whether a change to the photo (H, W, 3) left the region as monochrome as it was, if it was."""
        x0, y0, x1, y1 = self.region
        if self.tone is None:
            return True
        return self.tone.strayed(before[y0:y1, x0:x1], after[y0:y1, x0:x1]) <= self.tone.tolerance

    def _reduced(self, channel: Pixels) -> Tensor:
        """(N, N, 1) uint8 of the photo -> (1, S, S) float32 in [0, 1]."""
        native = to_tensor(channel)[None]
        return F.interpolate(native, size=[self.side] * 2, mode="bilinear", antialias=True)[0]

    def _enlarged(self, delta: Tensor) -> npt.NDArray[np.float32]:
        """(3, S, S) -> (H, W, 3), the region at the photo's own size."""
        x0, y0, x1, y1 = self.region
        rows = _enlarging(self.side, self.native_side, y0 - self.top, y1 - self.top)
        columns = _enlarging(self.side, self.native_side, x0 - self.left, x1 - self.left)
        return product(delta[None], rows, columns)[0].permute(1, 2, 0).numpy()


@lru_cache(maxsize=64)
def _enlarging(side: int, native_side: int, start: int, end: int) -> Banded:
    """(end - start, side): matrix that upscales one axis to native_side, bicubic, and crops it to start..end."""
    whole = F.interpolate(torch.eye(side)[None, None], size=[native_side, side], mode="bicubic")
    return Banded(whole[0, 0, start:end])


def warp_region(points: Tensor, region: tuple[int, int, int, int], pixels: Pixels) -> None:
    """Warp a region of a photo (H, W, 3) uint8 in place by control points (2, K, K), px of the photo."""
    x0, y0, x1, y1 = region
    # one channel at a time: a large face would need gigabytes otherwise
    channels = [warped(torch.from_numpy(pixels[..., c]).float()[None], points, region) for c in range(3)]
    moved = torch.cat(channels).permute(1, 2, 0).numpy()
    pixels[y0:y1, x0:x1] = np.clip(np.rint(moved), 0, 255).astype(np.uint8)


def region_side(canvas_side: int) -> int:
    """Side R of the centred square that contains every face region of a canvas of this side."""
    return math.ceil(canvas_side * REGION_GROWTH / CONTEXT_GROWTH) + 1


def region_of(box: Box, pixels: Pixels) -> tuple[int, int, int, int]:
    """Return x0, y0, x1, y1 of the pixels that the cloak of a face may change, in its photo (H, W, 3)."""
    height, width = pixels.shape[:2]
    x0, y0, x1, y1 = box
    grow = (REGION_GROWTH - 1) / 2
    return (
        max(0, math.floor(x0 - grow * (x1 - x0))),
        max(0, math.floor(y0 - grow * (y1 - y0))),
        min(width, math.ceil(x1 + grow * (x1 - x0))),
        min(height, math.ceil(y1 + grow * (y1 - y0))),
    )


def blocks_around(region: tuple[int, int, int, int], pixels: Pixels) -> tuple[slice, slice]:
    """Rows and columns of the smallest crop of whole JPEG blocks of a photo (H, W, 3) that contains a region.

    At 4:4:4 JPEG blocks are independent, so that this crop is encoded exactly as within the whole photo.
    """
    height, width = pixels.shape[:2]
    x0, y0, x1, y1 = region
    return (
        slice(y0 // _BLOCK * _BLOCK, min(height, -(-y1 // _BLOCK) * _BLOCK)),
        slice(x0 // _BLOCK * _BLOCK, min(width, -(-x1 // _BLOCK) * _BLOCK)),
    )


def in_srgb(pixels: Pixels, colour: ColourSpace | None) -> Pixels:
    """Convert part of a photo (H, W, 3) uint8 to sRGB; colour: its colour space, None for sRGB."""
    return colour.to_srgb(pixels) if colour else pixels


def to_tensor(pixels: Pixels) -> Tensor:
    """(H, W, C) uint8 -> (C, H, W) float32 in [0, 1]."""
    return torch.tensor(pixels).permute(2, 0, 1).float().div_(255)


def _ramp(position: Tensor) -> Tensor:
    """0 below 0, 1 above 1, half a cosine between."""
    return (1 - torch.cos(position.clamp(0, 1) * math.pi)) / 2
