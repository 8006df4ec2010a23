"""Closer looks at a single place of a photo: cut out, enlarged and turned."""

from __future__ import annotations

import cmath
import math
from dataclasses import replace

import numpy as np
from PIL import Image

from fawkes_engine.face.align import Similarity
from fawkes_engine.face.detect import Face, FaceDetector, Pixels

# What is looked at: the side of the square that is cut out, in sides of the face's box, and what it becomes, px.
# Covered faces are seen when they are large, tiny ones with much around them.
_LOOKS = ((2.0, 192), (3.0, 192), (1.5, 192), (2.0, 320))
# From this tilt on, a face is also looked at set upright by its own landmarks. The landmarks found in the whole photo
# stay where closer looks see the face turned by less.
_TILTED = math.radians(20)


class CloserLooks:
    """Looks with a detector at what was found in a photo (H, W, 3) uint8."""

    def __init__(self, detector: FaceDetector) -> None:
        self._detector = detector

    def sees(self, pixels: Pixels, face: Face, least: float) -> bool:
        """Whether a face is seen again, upright by its landmarks, with at least this confidence."""
        turns = turns_to_upright(face)
        for times, side_px in _LOOKS:
            cut, onto = _enlarged(pixels, face, times, side_px)
            there = face.moved(onto)
            mirrored = np.ascontiguousarray(cut[:, ::-1])
            looks = ((cut, turns, there), (mirrored, -turns, _mirrored(there, cut.shape[1])))
            for picture, turned, place in looks:
                seen = self._detector.turned(picture, turned, 1.0)
                if any(other.confidence >= least and other.overlaps(place) for other in seen):
                    return True
        return False

    def as_it_lies(self, pixels: Pixels, face: Face) -> tuple[Face, float]:
        """Return a face with the landmarks of the turn in which it is seen most surely; and how surely, 0..1."""
        cut, onto = _enlarged(pixels, face, *_LOOKS[0])
        there = face.moved(onto)
        looks = (other for turns in range(4) for other in self._detector.turned(cut, turns, 1.0))
        seen = [other for other in looks if other.overlaps(there)]
        if not seen:
            return face, 0.0
        surest = self._upright(cut, max(seen, key=lambda other: other.confidence))
        found = surest.moved(onto.inverse())
        is_as_before = abs(cmath.phase(_down(found) * _down(face).conjugate())) < _TILTED
        return (face if is_as_before else found), surest.confidence

    def _upright(self, picture: Pixels, face: Face) -> Face:
        """Return a tilted face with the landmarks that are seen once it is set upright by those it has, if surer."""
        tilt = cmath.phase(_down(face) / 1j)
        off_axis = tilt - turns_to_upright(face) * math.pi / 2
        if abs(off_axis) < _TILTED:
            return face
        turn = cmath.exp(-1j * tilt)
        middle = complex(picture.shape[1] - 1, picture.shape[0] - 1) / 2
        onto = Similarity(turn, middle - turn * middle)
        rotated = Image.fromarray(picture).rotate(math.degrees(tilt), Image.Resampling.BICUBIC)
        x, y = face.moved(onto).landmarks.mean(axis=0)
        for seen in self._detector.at_scale(np.asarray(rotated), 1.0):
            left, top, right, bottom = seen.box
            if left < x < right and top < y < bottom and seen.confidence > face.confidence:
                face = replace(
                    face, landmarks=seen.moved(onto.inverse()).landmarks, confidence=seen.confidence
                )
        return face


def turns_to_upright(face: Face) -> int:
    """Return how many quarter turns to the left set a face upright, by its eyes and mouth."""
    return round(cmath.phase(_down(face) / 1j) / (math.pi / 2))


def _down(face: Face) -> complex:
    """Return the way from the eyes to the mouth, x + iy."""
    return complex(*(face.landmarks[3:].mean(axis=0) - face.landmarks[:2].mean(axis=0)))


def _enlarged(pixels: Pixels, face: Face, times: float, side_px: int) -> tuple[Pixels, Similarity]:
    """Cut out the square around a face, as far as it lies in the photo, scaled to this side; also the way there."""
    x0, y0, x1, y1 = face.box
    side = times * max(x1 - x0, y1 - y0)
    half, scale = side / 2, side_px / side
    height, width = pixels.shape[:2]
    left, right = (round(min(max(x, 0), width)) for x in ((x0 + x1) / 2 - half, (x0 + x1) / 2 + half))
    top, bottom = (round(min(max(y, 0), height)) for y in ((y0 + y1) / 2 - half, (y0 + y1) / 2 + half))
    size = (max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale)))
    cut = Image.fromarray(pixels[top:bottom, left:right]).resize(size, Image.Resampling.BICUBIC)
    return np.asarray(cut), Similarity(complex(scale), -scale * complex(left, top))


def _mirrored(face: Face, width: int) -> Face:
    """Return a face in the mirror image of a picture of this width, px."""
    x0, y0, x1, y1 = face.box
    landmarks = face.landmarks * (-1, 1) + (width - 1, 0)
    return Face((width - x1, y0, width - x0, y1), landmarks[[1, 0, 2, 4, 3]], face.confidence)
