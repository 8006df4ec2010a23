"""A second detector: dlib's HOG detector and 68 landmarks, which share nothing with the engine's MTCNN."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fawkes_engine.errors import EvaluationError
from fawkes_engine.extractors.dlib import weights_path
from fawkes_engine.face.detect import Face, Pixels

_LANDMARKS_FILE = "shape_predictor_68_face_landmarks.dat"  # beside the recogniser's weights
_UPSAMPLED = 1  # times doubled in size: it finds faces of 80 px and more
# indices whose means are MTCNN's five points: eyes, nose tip, mouth corners, left as seen in the picture first
_FIVE = (range(36, 42), range(42, 48), (30,), (48,), (54,))


class HogDetector:
    """dlib's frontal face detector (Dalal and Triggs 2005) with Kazemi and Sullivan's landmarks (2014)."""

    name = "dlib-hog-68"

    def __init__(self) -> None:
        """Load both.

        Raises:
            EvaluationError: dlib is not installed. WeightsError: the landmarks' wheel is not.
        """
        try:
            import dlib
        except ModuleNotFoundError as error:
            raise EvaluationError(
                "the second detector needs packages: pip install 'fawkesd[trackers]'"
            ) from error
        self._faces = dlib.get_frontal_face_detector()
        self._landmarks = dlib.shape_predictor(str(weights_path().with_name(_LANDMARKS_FILE)))

    def detect(self, pixels: Pixels) -> list[Face]:
        """Find upright faces in a photo (H, W, 3) uint8, the most confident first."""
        boxes, scores, _ = self._faces.run(pixels, _UPSAMPLED, 0.0)
        return [
            Face(
                box=(float(box.left()), float(box.top()), float(box.right()), float(box.bottom())),
                landmarks=_five([(point.x, point.y) for point in self._landmarks(pixels, box).parts()]),
                confidence=float(np.clip(score, 0, 1)),
            )
            for box, score in zip(boxes, scores, strict=True)
        ]


def _five(points: list[tuple[int, int]]) -> npt.NDArray[np.float64]:
    """Points (68, 2) -> (5, 2) as in `Face`."""
    return np.array([np.mean([points[i] for i in group], axis=0) for group in _FIVE])
