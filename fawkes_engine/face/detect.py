"""Face detection: what a detection is, and how a detector searches large and turned photos."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from fawkes_engine.face.align import Similarity

Pixels = npt.NDArray[np.uint8]
Box = tuple[float, float, float, float]

# Photos are downscaled to this long side, but at most halved, so that 40 px faces keep 20 px.
_REDUCED_LONG_SIDE_PX = 1600
_LARGEST_REDUCTION = 0.5
# A larger copy would need gigabytes, so it is searched in tiles. Faces larger than the overlap are found at half the
# scale.
_TILE_PX, _OVERLAP_PX = 2048, 256


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

    def turned(self, pixels: Pixels, turns: int, scale: float) -> list[Face]:
        """Detect in the photo rotated left by quarter turns; faces are in the coordinates of the unrotated photo."""
        rotated = np.ascontiguousarray(np.rot90(pixels, turns))
        here, there = (complex(p.shape[1] - 1, p.shape[0] - 1) / 2 for p in (pixels, rotated))
        back = Similarity(1j**turns, here - 1j**turns * there)
        return [face.moved(back) for face in self.at_scale(rotated, scale)]

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


def _reduced(pixels: Pixels, scale: float) -> Image.Image:
    image = Image.fromarray(pixels)
    if scale == 1.0:
        return image
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
