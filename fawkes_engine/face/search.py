"""The search for every face in a photo, by two detectors: what either finds, with some confidence, is a face."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from fawkes_engine.face.centerface import CenterFaceDetector
from fawkes_engine.face.detect import Face, Pixels, area, distinct, usual_scale
from fawkes_engine.face.mtcnn import SURE, MtcnnDetector

# Lying people fill more of a photo than a crowd's upright faces do, and three of the four passes look for them: copies
# of this long side, but not less than half of what upright faces are looked for in.
_TURNED_LONG_SIDE_PX = 640
_TURNED_REDUCTION = 0.5
# Most false alarms come from there, since turned faces are rare and three of four passes look for them.
_SURE_IF_TURNED = 0.5
# Below that, what MTCNN alone finds is no face: none of 51 such finds in 375 photos was one that can be recognised.
_SURE_ALONE = 0.95


class FaceSearch:
    """MTCNN and CenterFace together: each misses faces that the other finds."""

    def __init__(self, device: torch.device) -> None:
        self._first = MtcnnDetector(device)
        self._second = CenterFaceDetector(device)

    def every(self, pixels: Pixels) -> list[Face]:
        """Find the faces in a photo (H, W, 3) uint8, upright or turned by quarter turns, largest first."""
        second = self._seen_by_second(pixels)
        first = self._first.detect(pixels) if second else self._first.search(pixels)
        # Of a face that both find, the landmarks of an MTCNN that is sure are more exact; one that is not has often
        # taken a lying face for an upright one.
        kept = [f for f in first if f.confidence >= (SURE if _is_among(second, f) else _SURE_ALONE)]
        found = kept + [face for face in second if not _is_among(kept, face)]
        return sorted(found, key=lambda face: area(face.box), reverse=True)

    def _seen_by_second(self, pixels: Pixels) -> list[Face]:
        upright = usual_scale(pixels)
        turned = min(upright, max(_TURNED_REDUCTION * upright, _TURNED_LONG_SIDE_PX / max(pixels.shape[:2])))
        passes = ((0, upright), (1, turned), (2, turned), (3, turned))
        # a face is also seen, less surely, in a photo turned the wrong way: the surest has the landmarks in place
        return distinct(
            [
                face
                for turns, scale in passes
                for face in self._second.turned(pixels, turns, scale)
                if turns == 0 or face.confidence >= _SURE_IF_TURNED
            ]
        )

    def warm_up(self) -> None:
        """Run both detectors once."""
        self.every(np.zeros((256, 256, 3), np.uint8))


def _is_among(faces: Sequence[Face], face: Face) -> bool:
    return any(face.overlaps(other) for other in faces)
