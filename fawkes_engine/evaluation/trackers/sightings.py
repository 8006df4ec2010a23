"""What a tracker sees of a photo: detects the face nearest the middle and crops it as its recogniser expects."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps
from torch import Tensor

from fawkes_engine.errors import EvaluationError
from fawkes_engine.face.align import Similarity, sample_chips
from fawkes_engine.face.canvas import to_tensor
from fawkes_engine.face.detect import Face, Pixels

Points = npt.NDArray[np.float64]

_BATCH_CHIPS = 32


class Detector(Protocol):
    """A face detector. name: differs between detectors that may find different faces."""

    name: str

    def detect(self, pixels: Pixels) -> Sequence[Face]:
        """Find the faces of a photo (H, W, 3) uint8."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """A photo of a person. landmarks: (5, 2) px as in `Face`, of the face nearest the middle; None if there is none."""

    person: str
    data: bytes
    landmarks: Points | None


def all_five(landmarks: Points) -> Points:
    """Align by the five landmarks (5, 2) as they are."""
    return landmarks


@dataclass(frozen=True, slots=True)
class Crop:
    """The crop a recogniser expects.

    chip_px: side of the square chip. template: (K, 2), where the points lie on the chip, px.
    points: five landmarks (5, 2) -> (K, 2), the points it aligns by.
    """

    chip_px: int
    template: Points
    points: Callable[[Points], Points] = all_five


def find_faces(photos: Iterable[tuple[str, bytes]], detector: Detector) -> list[Sighting]:
    """Find the face nearest the middle of each photo, given as person and file.

    Raises:
        EvaluationError: a file is not a picture.
    """
    seen = []
    for person, data in photos:
        try:
            pixels = upright(data)
        except OSError as error:
            raise EvaluationError(
                f"a photo of {person} cannot be read ({error}); take it out of the folder"
            ) from error
        face = _central(detector.detect(pixels), pixels)
        seen.append(Sighting(person, data, face.landmarks if face else None))
    return seen


def read_photos(photos: Iterable[Path]) -> list[tuple[str, bytes]]:
    """Read photos for `find_faces`; a photo's folder is its person. Raises OSError."""
    return [(photo.parent.name, photo.read_bytes()) for photo in photos]


def detected(seen: Iterable[Sighting]) -> list[Sighting]:
    """Return those that show a face."""
    return [sighting for sighting in seen if sighting.landmarks is not None]


def batches(found: Sequence[Sighting], crop: Crop) -> Iterator[Tensor]:
    """Crop the faces of photos that all show one, in batches of chips (N, 3, chip_px, chip_px), RGB, [0, 1]."""
    for start in range(0, len(found), _BATCH_CHIPS):
        yield torch.cat([_chip(sighting, crop) for sighting in found[start : start + _BATCH_CHIPS]])


def upright(data: bytes) -> Pixels:
    """Decode any picture: (H, W, 3) uint8 RGB, orientation applied. Raises OSError."""
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))


def _chip(sighting: Sighting, crop: Crop) -> Tensor:
    assert sighting.landmarks is not None
    pixels = upright(sighting.data)
    height, width = pixels.shape[:2]
    side = max(height, width)  # chips are sampled from squares
    square = np.pad(pixels, ((0, side - height), (0, side - width), (0, 0)), mode="edge")
    onto_photo = Similarity.fit(crop.template, crop.points(sighting.landmarks))
    return sample_chips(to_tensor(square)[None], [onto_photo], crop.chip_px)


def _central(faces: Sequence[Face], pixels: Pixels) -> Face | None:
    middle = np.array(pixels.shape[1::-1]) / 2
    return min(faces, key=lambda f: float(np.linalg.norm(f.landmarks.mean(axis=0) - middle)), default=None)
