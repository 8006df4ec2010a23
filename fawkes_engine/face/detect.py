"""Face detection, on a downscaled copy of the photo."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from facenet_pytorch import MTCNN
from PIL import Image

from fawkes_engine.face.align import Similarity

Pixels = npt.NDArray[np.uint8]
Box = tuple[float, float, float, float]

# Faces of 40 px must be found. P-Net's box sizes scatter by a quarter, so the search starts below that.
_SEARCH_FROM_PX = 30
# Photos are downscaled to this long side, but at most halved, so that 40 px faces keep 20 px.
_REDUCED_LONG_SIDE_PX = 1600
_LARGEST_REDUCTION = 0.5
_SURE = 0.99  # nearly all upright faces score higher; a sideways one looks like half a face, with less
# A larger copy would need gigabytes, so it is searched in tiles. Faces larger than the overlap are found at half the
# scale.
_TILE_PX, _OVERLAP_PX = 2048, 256
_SHORTEST_SIDE_PX = 48  # MTCNN's image pyramid is empty below this


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
        smaller = min(_area(self.box), _area(other.box))
        return width > 0 and height > 0 and width * height > 0.5 * smaller


class FaceDetector:
    """MTCNN (Zhang et al. 2016) with the weights inside facenet-pytorch's wheel."""

    name = "mtcnn"

    def __init__(self, device: torch.device) -> None:
        self._mtcnn = MTCNN(keep_all=True, device=device, select_largest=False)

    def search(self, pixels: Pixels) -> list[Face]:
        """Find faces as `detect` does; if none is certain, also search at full size and for rotated faces."""
        found = self.detect(pixels)
        if any(face.confidence >= _SURE for face in found):
            return found
        found += self._at_scale(pixels, 1.0)
        found += [face for turns in (1, 2, 3) for face in self._turned(pixels, turns)]
        return _distinct(found)

    def detect(self, pixels: Pixels) -> list[Face]:
        """Find upright faces of 40 px and more in a photo (H, W, 3) uint8, largest first."""
        reduction = max(_LARGEST_REDUCTION, _REDUCED_LONG_SIDE_PX / max(pixels.shape[:2]))
        return self._at_scale(pixels, min(1.0, reduction))

    def _turned(self, pixels: Pixels, turns: int) -> list[Face]:
        """Detect in the photo rotated left by quarter turns; faces are in the coordinates of the unrotated photo."""
        turned = np.ascontiguousarray(np.rot90(pixels, turns))
        here, there = (complex(p.shape[1] - 1, p.shape[0] - 1) / 2 for p in (pixels, turned))
        back = Similarity(1j**turns, here - 1j**turns * there)
        return [face.moved(back) for face in self.detect(turned)]

    def _at_scale(self, pixels: Pixels, scale: float) -> list[Face]:
        """Detect on a downscaled copy; a large one in tiles, with faces too large for a tile found at half scale."""
        if pixels.shape[0] * pixels.shape[1] * scale**2 <= _TILE_PX**2:
            return self._on_copy(pixels, scale)
        found = self._at_scale(pixels, scale / 2)
        for rows in _tiles(pixels.shape[0], scale):
            for columns in _tiles(pixels.shape[1], scale):
                place = Similarity(1, complex(columns.start, rows.start))
                found += [face.moved(place) for face in self._on_copy(pixels[rows, columns], scale)]
        return _distinct(found)

    def _on_copy(self, pixels: Pixels, scale: float) -> list[Face]:
        reduced = _reduced(pixels, scale)
        if min(reduced.size) < _SHORTEST_SIDE_PX:
            return []
        self._mtcnn.min_face_size = max(12.0, _SEARCH_FROM_PX * scale)
        boxes, confidences, landmarks = self._mtcnn.detect(reduced, landmarks=True)
        if boxes is None:
            return []
        found = [
            Face(
                box=_box(*(float(v) / scale for v in box)),
                landmarks=np.asarray(points, np.float64) / scale,
                confidence=float(confidence),
            )
            for box, confidence, points in zip(boxes, confidences, landmarks, strict=True)
        ]
        return sorted(found, key=lambda face: _area(face.box), reverse=True)


def _distinct(found: Sequence[Face]) -> list[Face]:
    """Keep the most confident of overlapping detections (non-maximum suppression); largest first."""
    distinct: list[Face] = []
    for face in sorted(found, key=lambda face: face.confidence, reverse=True):
        if not any(face.overlaps(other) for other in distinct):
            distinct.append(face)
    return sorted(distinct, key=lambda face: _area(face.box), reverse=True)


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


def _box(x0: float, y0: float, x1: float, y1: float) -> Box:
    return x0, y0, x1, y1


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
