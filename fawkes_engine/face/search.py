"""The search for every face in a photo, by two detectors: what either finds is a face.

What only one of them finds is looked at once more, cut out, upright and enlarged; it counts if CenterFace then sees
a face there. Which side of a face is up is looked at once more, too, unless both are sure of the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from fawkes_engine import device as devices
from fawkes_engine.face.centerface import CenterFaceDetector
from fawkes_engine.face.detect import Face, Parts, Pixels, area, distinct, usual_scale
from fawkes_engine.face.looks import CloserLooks, turns_to_upright
from fawkes_engine.face.mtcnn import SURE, MtcnnDetector

# Lying people fill more of a photo than a crowd's upright faces do, and three of the four passes look for them: copies
# of this long side, but not less than this share of what upright faces are looked for in: at 0.7 lying faces of 24 px
# are found as at 1.0, at 0.65 and 0.5 many are not, and the search takes 0.7 times as long as at 1.0 (measured).
_TURNED_LONG_SIDE_PX = 640
_TURNED_REDUCTION = 0.7
# In photos of people nearly all upright faces from here on are faces (measured).
SURE_ENOUGH = 0.4
# Most false alarms come from there, since turned faces are rare and three of four passes look for them. What is seen
# less surely, small turned faces above all, counts if it is seen as surely on a closer look.
_SURE_IF_TURNED = 0.5
# Below that, what MTCNN alone finds is no face: none of 51 such finds in 375 photos was one that can be recognised.
_SURE_ALONE = 0.95


class FaceSearch:
    """MTCNN and CenterFace together: each misses faces that the other finds."""

    def __init__(self, device: torch.device) -> None:
        self._first = MtcnnDetector(device)
        self._second = CenterFaceDetector(device)
        self._looks = CloserLooks(self._second)

    def every(self, pixels: Pixels, parts: Parts | None = None) -> list[Face]:
        """Find the faces in a photo (H, W, 3) uint8, upright or turned by quarter turns, largest first.

        parts: where alone the photo differs from one that was searched before; what does not reach into them was found
        then. None if all of it is new.
        """
        if parts is not None and not parts:
            return []
        found = self._every(pixels, parts)
        devices.make_room(pixels.size)
        return found

    def _every(self, pixels: Pixels, parts: Parts | None) -> list[Face]:
        second, unsure = self._seen_by_second(pixels, parts)
        first = self._first.detect(pixels) if second else self._first.search(pixels)
        if parts is not None:
            first = [face for face in first if face.touches(parts)]
        # Of a face that both find, the landmarks of an MTCNN that is sure are more exact; one that is not has often
        # taken a lying face for an upright one.
        kept = [f for f in first if f.confidence >= (SURE if _is_among(second, f) else _SURE_ALONE)]
        found = kept + [face for face in second if not _is_among(kept, face)]
        looked_at = (
            face if _is_plain(face, first, second) else self._looked_at(pixels, face, first, second)
            for face in found
        )
        faces = [face for face in looked_at if face is not None]
        for face in unsure:
            # At the edge, where the picture is mirrored, what is seen so unsurely is mostly none.
            if _is_among(faces, face) or _reaches_out(pixels, face):
                continue
            lying, confidence = self._looks.as_it_lies(pixels, face)
            if confidence >= _SURE_IF_TURNED and not _is_among(faces, lying):
                faces.append(lying)
        return sorted(faces, key=lambda face: area(face.box), reverse=True)

    def _seen_by_second(self, pixels: Pixels, parts: Parts | None) -> tuple[list[Face], list[Face]]:
        """Return the faces that are sure enough, and others that count only on a closer look."""
        upright = usual_scale(pixels)
        turned = min(upright, max(_TURNED_REDUCTION * upright, _TURNED_LONG_SIDE_PX / max(pixels.shape[:2])))
        passes = (
            (0, upright, SURE_ENOUGH),
            *((turns, turned, _SURE_IF_TURNED) for turns in (1, 2, 3)),
        )
        sure: list[Face] = []
        unsure: list[Face] = []
        for turns, scale, least in passes:
            for face in self._second.turned(pixels, turns, scale, parts):
                (sure if face.confidence >= least else unsure).append(face)
        # a face is also seen, less surely, in a photo turned the wrong way: the surest has the landmarks in place
        return distinct(sure), distinct(unsure)

    def _looked_at(
        self, pixels: Pixels, face: Face, first: Sequence[Face], second: Sequence[Face]
    ) -> Face | None:
        """Return a face as it lies, None if one detector alone has found it and the other sees none there."""
        lying, confidence = self._looks.as_it_lies(pixels, face)
        # as sure as at first; but what the edge cuts is seen less surely, and is a face with 0.49, too (measured)
        is_turned_inside = turns_to_upright(lying) != 0 and not _reaches_out(pixels, face)
        least = _SURE_IF_TURNED if is_turned_inside else SURE_ENOUGH
        by_both = _is_among(first, face) and _is_among(second, face)
        return lying if by_both or confidence >= least or self._looks.sees(pixels, lying, least) else None

    def warm_up(self) -> None:
        """Run both detectors once."""
        self.every(np.zeros((256, 256, 3), np.uint8))


def _is_among(faces: Sequence[Face], face: Face) -> bool:
    return any(face.overlaps(other) for other in faces)


def _is_plain(face: Face, first: Sequence[Face], second: Sequence[Face]) -> bool:
    """Whether MTCNN is sure of a face, and CenterFace takes the same side of it for the upper one."""
    sure = [other for other in first if other.confidence >= SURE and other.overlaps(face)]
    seen = [other for other in second if other.overlaps(face)]
    return bool(sure and seen) and len({turns_to_upright(other) for other in sure + seen}) == 1


def _reaches_out(pixels: Pixels, face: Face) -> bool:
    """Whether a face reaches over an edge of its photo (H, W, 3)."""
    x0, y0, x1, y1 = face.box
    height, width = pixels.shape[:2]
    return x0 < 0 or y0 < 0 or x1 > width or y1 > height
