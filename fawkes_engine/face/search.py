"""The search for every face in a photo, by two detectors: what either finds is a face.

What only one of them finds is looked at once more, cut out, upright and enlarged; it counts if CenterFace then sees
a face there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from fawkes_engine import device as devices
from fawkes_engine.face.align import Similarity
from fawkes_engine.face.centerface import CenterFaceDetector
from fawkes_engine.face.detect import Face, Parts, Pixels, area, distinct, usual_scale
from fawkes_engine.face.mtcnn import SURE, MtcnnDetector

# Lying people fill more of a photo than a crowd's upright faces do, and three of the four passes look for them: copies
# of this long side, but not less than this share of what upright faces are looked for in: at 0.7 lying faces of 24 px
# are found as at 1.0, at 0.65 and 0.5 many are not, and the search takes 0.7 times as long as at 1.0 (measured).
_TURNED_LONG_SIDE_PX = 640
_TURNED_REDUCTION = 0.7
# Most false alarms come from there, since turned faces are rare and three of four passes look for them.
_SURE_IF_TURNED = 0.5
# Below that, what MTCNN alone finds is no face: none of 51 such finds in 375 photos was one that can be recognised.
_SURE_ALONE = 0.95
# How what one detector finds is looked at once more: the side of the square that is cut out, in sides of the face's
# box, and what it becomes, px. Covered faces are seen when they are large, tiny ones with much around them.
_LOOKS = ((2.0, 192), (3.0, 192), (1.5, 192), (2.0, 320))

# From so many bytes on, those of a photo of 8 MP, what was freed before a search and in it is given back to the system:
# hundreds of MiB in pieces that nothing as large as the photo fits into.
_LARGE = 3 * 8_000_000


class FaceSearch:
    """MTCNN and CenterFace together: each misses faces that the other finds."""

    def __init__(self, device: torch.device) -> None:
        self._first = MtcnnDetector(device)
        self._second = CenterFaceDetector(device)

    def every(self, pixels: Pixels, parts: Parts | None = None) -> list[Face]:
        """Find the faces in a photo (H, W, 3) uint8, upright or turned by quarter turns, largest first.

        parts: where alone the photo differs from one that was searched before; what does not reach into them was found
        then. None if all of it is new.
        """
        if parts is not None and not parts:
            return []
        is_large = pixels.size > _LARGE
        if is_large:
            devices.give_back_memory()
        found = self._every(pixels, parts)
        if is_large:
            devices.give_back_memory()
        return found

    def _every(self, pixels: Pixels, parts: Parts | None) -> list[Face]:
        second = self._seen_by_second(pixels, parts)
        first = self._first.detect(pixels) if second else self._first.search(pixels)
        if parts is not None:
            first = [face for face in first if face.touches(parts)]
        # Of a face that both find, the landmarks of an MTCNN that is sure are more exact; one that is not has often
        # taken a lying face for an upright one.
        kept = [f for f in first if f.confidence >= (SURE if _is_among(second, f) else _SURE_ALONE)]
        found = kept + [face for face in second if not _is_among(kept, face)]
        faces = [
            face
            for face in found
            if (_is_among(first, face) and _is_among(second, face)) or self._is_seen_again(pixels, face)
        ]
        return sorted(faces, key=lambda face: area(face.box), reverse=True)

    def _seen_by_second(self, pixels: Pixels, parts: Parts | None) -> list[Face]:
        upright = usual_scale(pixels)
        turned = min(upright, max(_TURNED_REDUCTION * upright, _TURNED_LONG_SIDE_PX / max(pixels.shape[:2])))
        passes = ((0, upright), (1, turned), (2, turned), (3, turned))
        # a face is also seen, less surely, in a photo turned the wrong way: the surest has the landmarks in place
        return distinct(
            [
                face
                for turns, scale in passes
                for face in self._second.turned(pixels, turns, scale, parts)
                if turns == 0 or face.confidence >= _SURE_IF_TURNED
            ]
        )

    def _is_seen_again(self, pixels: Pixels, face: Face) -> bool:
        turns = _turns_to_upright(face)
        # as sure as at first; but what the edge cuts is seen less surely, and is a face with 0.49, too (measured)
        least = _SURE_IF_TURNED if turns and not _reaches_out(pixels, face) else 0.0
        for times, side_px in _LOOKS:
            cut, there = _enlarged(pixels, face, times, side_px)
            mirrored = np.ascontiguousarray(cut[:, ::-1])
            looks = ((cut, turns, there), (mirrored, -turns, _mirrored(there, cut.shape[1])))
            for picture, turned, place in looks:
                seen = self._second.turned(picture, turned, 1.0)
                if _is_among([other for other in seen if other.confidence >= least], place):
                    return True
        return False

    def warm_up(self) -> None:
        """Run both detectors once."""
        self.every(np.zeros((256, 256, 3), np.uint8))


def _is_among(faces: Sequence[Face], face: Face) -> bool:
    return any(face.overlaps(other) for other in faces)


def _reaches_out(pixels: Pixels, face: Face) -> bool:
    """Whether a face reaches over an edge of its photo (H, W, 3)."""
    x0, y0, x1, y1 = face.box
    height, width = pixels.shape[:2]
    return x0 < 0 or y0 < 0 or x1 > width or y1 > height


def _turns_to_upright(face: Face) -> int:
    """Return how many quarter turns to the left set a face upright, by its eyes."""
    right, down = face.landmarks[1] - face.landmarks[0]
    return round(math.atan2(down, right) / (math.pi / 2))


def _enlarged(pixels: Pixels, face: Face, times: float, side_px: int) -> tuple[Pixels, Face]:
    """Cut out the square around a face, as far as it lies in the photo, scaled to this side; also the face in it."""
    x0, y0, x1, y1 = face.box
    side = times * max(x1 - x0, y1 - y0)
    half, scale = side / 2, side_px / side
    height, width = pixels.shape[:2]
    left, right = (round(min(max(x, 0), width)) for x in ((x0 + x1) / 2 - half, (x0 + x1) / 2 + half))
    top, bottom = (round(min(max(y, 0), height)) for y in ((y0 + y1) / 2 - half, (y0 + y1) / 2 + half))
    size = (max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale)))
    cut = Image.fromarray(pixels[top:bottom, left:right]).resize(size, Image.Resampling.BICUBIC)
    return np.asarray(cut), face.moved(Similarity(complex(scale), -scale * complex(left, top)))


def _mirrored(face: Face, width: int) -> Face:
    """Return a face in the mirror image of a picture of this width, px."""
    x0, y0, x1, y1 = face.box
    landmarks = face.landmarks * (-1, 1) + (width - 1, 0)
    return Face((width - x1, y0, width - x0, y1), landmarks[[1, 0, 2, 4, 3]], face.confidence)
