"""Face detection: what a detection is, and how a detector searches large and turned photos."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from fawkes_engine.device import make_room
from fawkes_engine.face.align import Similarity
from fawkes_engine.photo.orientation import Region

Pixels = npt.NDArray[np.uint8]
Box = tuple[float, float, float, float]
Parts = Sequence[Region]  # of a photo

# Photos are downscaled to this long side, but at most halved, so that 40 px faces keep 20 px.
_REDUCED_LONG_SIDE_PX = 1600
_LARGEST_REDUCTION = 0.5
# A larger copy would need gigabytes, so it is searched in tiles. Faces larger than the overlap are found at half the
# scale.
_TILE_PX, _OVERLAP_PX = 2048, 256
# A part that is searched alone gets a margin of so many px of the copy, enough for faces of up to half of that. Larger
# ones are found in a coarser copy of the whole, of this share of the scale. Windows begin where a detector's coarsest
# map has a pixel, so that it sees them as in the whole; where they cover most of a copy, all of it is searched.
_AROUND_PX, _COARSER = 128, 0.25
_GRID_PX = 32
_MOST_IN_WINDOWS = 0.8


@dataclass(frozen=True, slots=True)
class Face:
    """One detection in the upright photo.

    box: x0, y0, x1, y1 in px, may reach outside the photo. landmarks: (5, 2) px, left eye, right eye, nose
    tip, left and right mouth corner as seen in the picture. confidence: 0..1.
    """

    box: Box
    landmarks: npt.NDArray[np.float64]
    confidence: float

    @property
    def height_px(self) -> int:
        """Height of the box in native pixels."""
        return round(self.box[3] - self.box[1])

    def moved(self, transform: Similarity) -> Face:
        """Return the face after a transform made of quarter turns, scaling and translation."""
        points = np.concatenate([np.reshape(self.box, (2, 2)), self.landmarks])
        moved = transform.turn * (points[:, 0] + 1j * points[:, 1]) + transform.shift
        (x0, x1), (y0, y1) = np.sort(moved.real[:2]), np.sort(moved.imag[:2])
        landmarks = np.stack([moved.real[2:], moved.imag[2:]], axis=1)
        return Face((float(x0), float(y0), float(x1), float(y1)), landmarks, self.confidence)

    def overlaps(self, other: Face) -> bool:
        """Whether both boxes show the same face: intersection over the smaller area above one half."""
        width = min(self.box[2], other.box[2]) - max(self.box[0], other.box[0])
        height = min(self.box[3], other.box[3]) - max(self.box[1], other.box[1])
        smaller = min(area(self.box), area(other.box))
        return width > 0 and height > 0 and width * height > 0.5 * smaller

    def touches(self, parts: Parts) -> bool:
        """Whether the box reaches into any of these parts of the photo."""
        left, top, right, bottom = self.box
        return any(left < x1 and x0 < right and top < y1 and y0 < bottom for x0, y0, x1, y1 in parts)


class FaceDetector(ABC):
    """A detector of upright faces; what is common to all of them is how they are led over a photo.

    name: what reports call it.
    """

    name: str

    @abstractmethod
    def _on_copy(self, copy: Image.Image, scale: float) -> list[Face]:
        """Find faces in a copy of a photo, in the pixels of that copy; scale: of the copy, at most 1."""

    def detect(self, pixels: Pixels) -> list[Face]:
        """Find upright faces of 40 px and more in a photo (H, W, 3) uint8, largest first."""
        return self.at_scale(pixels, usual_scale(pixels))

    def turned(self, pixels: Pixels, turns: int, scale: float, parts: Parts | None = None) -> list[Face]:
        """Detect in the photo rotated left by quarter turns; faces are in the coordinates of the unrotated photo.

        parts: where alone faces are wanted, None for the whole photo.
        """
        rotated = np.ascontiguousarray(np.rot90(pixels, turns))
        here, there = (complex(p.shape[1] - 1, p.shape[0] - 1) / 2 for p in (pixels, rotated))
        back = Similarity(1j**turns, here - 1j**turns * there)
        if parts is None:
            found = self.at_scale(rotated, scale)
        else:
            found = self.near(rotated, scale, [_rotated(part, turns, pixels) for part in parts])
        return [face.moved(back) for face in found]

    def at_scale(self, pixels: Pixels, scale: float) -> list[Face]:
        """Detect on a downscaled copy; a large one in tiles, with faces too large for a tile found at half scale."""
        if pixels.shape[0] * pixels.shape[1] * scale**2 <= _TILE_PX**2:
            return self._at_once(pixels, scale)
        found = self.at_scale(pixels, scale / 2)
        for rows in _tiles(pixels.shape[0], scale):
            for columns in _tiles(pixels.shape[1], scale):
                place = Similarity(1, complex(columns.start, rows.start))
                found += [face.moved(place) for face in self._at_once(pixels[rows, columns], scale)]
        return distinct(found)

    def near(self, pixels: Pixels, scale: float, parts: Parts) -> list[Face]:
        """Return what `at_scale` finds that touches these parts, by searching little more than them.

        Small faces are found in windows of the same copy, large ones in a coarser copy of the whole.
        """
        height, width = (round(side * scale) for side in pixels.shape[:2])
        windows = _windows(parts, scale, width, height)
        searched = sum(area(window) for window in windows)
        if searched > _MOST_IN_WINDOWS * width * height or any(area(w) > _TILE_PX**2 for w in windows):
            return [face for face in self.at_scale(pixels, scale) if face.touches(parts)]
        found = self.near(pixels, scale / 2, parts) if width * height > _TILE_PX**2 else []
        copy = _reduced(pixels, scale)
        for window in windows:
            place = Similarity(1 / scale, complex(*window[:2]) / scale)
            whole = (
                face for face in self._on_copy(copy.crop(window), scale) if not _is_cut(face, window, copy)
            )
            found += [face.moved(place) for face in whole]
        found += self.at_scale(pixels, _COARSER * scale)
        return [face for face in distinct(found) if face.touches(parts)]

    def _at_once(self, pixels: Pixels, scale: float) -> list[Face]:
        enlarging = Similarity(1 / scale, 0)
        found = [face.moved(enlarging) for face in self._on_copy(_reduced(pixels, scale), scale)]
        return sorted(found, key=lambda face: area(face.box), reverse=True)


def usual_scale(pixels: Pixels) -> float:
    """Scale of the copy of a photo (H, W, 3) that is searched, at most 1."""
    long_side_px: int = max(pixels.shape[:2])
    return min(1.0, max(_LARGEST_REDUCTION, _REDUCED_LONG_SIDE_PX / long_side_px))


def distinct(found: Sequence[Face]) -> list[Face]:
    """Keep the most confident of overlapping detections (non-maximum suppression); largest first."""
    kept: list[Face] = []
    for face in sorted(found, key=lambda face: face.confidence, reverse=True):
        if not any(face.overlaps(other) for other in kept):
            kept.append(face)
    return sorted(kept, key=lambda face: area(face.box), reverse=True)


def area(box: Box) -> float:
    """Area of a box, px²."""
    return (box[2] - box[0]) * (box[3] - box[1])


def _tiles(length: int, scale: float) -> Iterator[slice]:
    """Cut one side of a photo, px, into overlapping tiles."""
    side, step = round(_TILE_PX / scale), round((_TILE_PX - _OVERLAP_PX) / scale)
    return (
        slice(start, min(start + side, length))
        for start in range(0, max(1, length - round(_OVERLAP_PX / scale)), step)
    )


def _windows(parts: Parts, scale: float, width: int, height: int) -> list[Region]:
    """Return the windows around parts of a photo, in its copy of this scale, width and height; neighbours share one."""
    windows: list[Region] = []
    for part in parts:
        x0, y0, x1, y1 = (side * scale for side in part)
        left, top = (max(0, math.floor(low - _AROUND_PX) // _GRID_PX * _GRID_PX) for low in (x0, y0))
        right, bottom = math.ceil(x1 + _AROUND_PX), math.ceil(y1 + _AROUND_PX)
        one = (left, top, min(width, right), min(height, bottom))
        while other := next((two for two in windows if area(_hull(one, two)) <= area(one) + area(two)), None):
            windows.remove(other)
            one = _hull(one, other)
        windows.append(one)
    return windows


def _hull(one: Region, other: Region) -> Region:
    (left, top), (right, bottom) = map(min, one[:2], other[:2]), map(max, one[2:], other[2:])
    return left, top, right, bottom


def _is_cut(face: Face, window: Box, copy: Image.Image) -> bool:
    """Whether a face found in a window of a copy reaches out of it into the rest: there may be more of it."""
    x0, y0, x1, y1 = window
    left, top, right, bottom = face.box
    return (
        (left < 0 < x0)
        or (top < 0 < y0)
        or (right > x1 - x0 and x1 < copy.width)
        or (bottom > y1 - y0 and y1 < copy.height)
    )


def _rotated(part: Region, turns: int, pixels: Pixels) -> Region:
    """Return where a part of a photo (H, W, 3) lies once the photo is rotated left by quarter turns."""
    height, width = pixels.shape[:2]
    for _ in range(turns % 4):
        x0, y0, x1, y1 = part
        part = (y0, width - x1, y1, width - x0)
        width, height = height, width
    return part


def _reduced(pixels: Pixels, scale: float) -> Image.Image:
    """Return a copy of this scale, with room for a network that goes over it."""
    make_room(pixels.size)
    image = Image.fromarray(pixels)
    if scale < 1.0:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
        make_room(pixels.size)
    return image
