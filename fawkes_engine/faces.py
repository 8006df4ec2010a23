"""Where the faces are: detection on a reduced copy, and the similarity that puts a face on a template.

A similarity transform of the plane is a pair of complex numbers: it maps z = x + iy to turn * z + shift, where
|turn| is the scale and its angle the rotation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from facenet_pytorch import MTCNN
from PIL import Image

Pixels = npt.NDArray[np.uint8]

SMALLEST_FACE_PX = 40
# P-Net's own boxes scatter by a quarter, so the search starts below the smallest face that must be found.
_SEARCH_FROM_PX = 30
# A copy of this long side is searched; a larger photo is halved at most, so that 40 px faces keep 20 px.
_REDUCED_LONG_SIDE_PX = 1600
_LARGEST_REDUCTION = 0.5
_SHORTEST_SIDE_PX = 48  # MTCNN's image pyramid is empty below this


@dataclass(frozen=True, slots=True)
class Similarity:
    """z -> turn * z + shift, on complex pixel positions x + iy."""

    turn: complex
    shift: complex

    @classmethod
    def fit(cls, source: npt.NDArray[np.float64], destination: npt.NDArray[np.float64]) -> Similarity:
        """Least-squares similarity from source points (K, 2) to destination points (K, 2), no mirroring."""
        z, w = (points[:, 0] + 1j * points[:, 1] for points in (source, destination))
        z_centred, w_centred = z - z.mean(), w - w.mean()
        turn = complex((z_centred.conj() @ w_centred) / (z_centred.conj() @ z_centred).real)
        return cls(turn, complex(w.mean()) - turn * complex(z.mean()))

    def after(self, first: Similarity) -> Similarity:
        """Return the transform that applies `first`, then this one."""
        return Similarity(self.turn * first.turn, self.turn * first.shift + self.shift)


@dataclass(frozen=True, slots=True)
class Face:
    """One detection in the upright photo.

    box: x0, y0, x1, y1 in px, may reach outside the photo. landmarks: (5, 2) px, left eye, right eye, nose
    tip, left and right mouth corner as seen in the picture. confidence: 0..1.
    """

    box: tuple[float, float, float, float]
    landmarks: npt.NDArray[np.float64]
    confidence: float

    @property
    def height_px(self) -> int:
        """Height of the box in native pixels."""
        return round(self.box[3] - self.box[1])

    def overlaps(self, other: Face) -> bool:
        """Say whether both boxes show the same face: intersection over the smaller area above one half."""
        width = min(self.box[2], other.box[2]) - max(self.box[0], other.box[0])
        height = min(self.box[3], other.box[3]) - max(self.box[1], other.box[1])
        smaller = min(_area(self.box), _area(other.box))
        return width > 0 and height > 0 and width * height > 0.5 * smaller


class FaceDetector:
    """MTCNN (Zhang et al. 2016) with the weights inside facenet-pytorch's wheel."""

    def __init__(self, device: torch.device) -> None:
        self._mtcnn = MTCNN(keep_all=True, device=device, select_largest=False)

    def detect(self, pixels: Pixels) -> list[Face]:
        """Find faces of 40 px and more in an upright photo (H, W, 3) uint8, largest first."""
        height, width = pixels.shape[:2]
        scale = min(1.0, max(_LARGEST_REDUCTION, _REDUCED_LONG_SIDE_PX / max(height, width)))
        reduced = _reduced(pixels, scale)
        if min(reduced.size) < _SHORTEST_SIDE_PX:
            return []
        self._mtcnn.min_face_size = max(12.0, _SEARCH_FROM_PX * scale)
        boxes, confidences, landmarks = self._mtcnn.detect(reduced, landmarks=True)
        if boxes is None:
            return []
        found = [
            Face(
                box=tuple(float(v) / scale for v in box),
                landmarks=np.asarray(points, np.float64) / scale,
                confidence=float(confidence),
            )
            for box, confidence, points in zip(boxes, confidences, landmarks, strict=True)
        ]
        return sorted(found, key=lambda face: _area(face.box), reverse=True)


def _reduced(pixels: Pixels, scale: float) -> Image.Image:
    image = Image.fromarray(pixels)
    if scale == 1.0:
        return image
    size = (round(image.width * scale), round(image.height * scale))
    return image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)


def _area(box: tuple[float, float, float, float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
