"""Kinds of faces made from real ones, with the landmarks carried along, and how they stand beside somebody else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from fawkes_engine.extractors.base import ARCFACE_TEMPLATE
from fawkes_engine.face.align import Similarity
from fawkes_engine.face.detect import Face, Pixels

Points = npt.NDArray[np.float64]  # (5, 2), landmarks
LARGE_PX = 1600  # from here on, turned faces are looked for in smaller copies


@dataclass(frozen=True)
class Shown:
    """A picture (H, W, 3) of one face with its landmarks."""

    pixels: Pixels
    points: Points

    def moved(self, pixels: Pixels, right: float = 0, down: float = 0, times: float = 1) -> Shown:
        """Return it in other pixels, in which the face is enlarged and moved."""
        return Shown(np.ascontiguousarray(pixels), self.points * times + (right, down))

    def face(self) -> Face:
        """Return it as a detection, its box around the landmarks as large as MTCNN's are."""
        turn = Similarity.fit(ARCFACE_TEMPLATE, self.points)
        middle = turn.turn * complex(56, 62) + turn.shift
        half = abs(turn.turn) * 52
        return Face(
            (middle.real - half, middle.imag - half, middle.real + half, middle.imag + half), self.points, 1.0
        )

    def is_found_by(self, faces: Sequence[Face]) -> bool:
        """Whether a box of about the face's size holds the middle of what the picture shows of it."""
        height, width = self.pixels.shape[:2]
        x, y = self.points.clip(0, (width - 1, height - 1)).mean(axis=0)
        own = self.face().height_px
        return any(
            f.box[0] <= x <= f.box[2] and f.box[1] <= y <= f.box[3] and own / 3 < f.height_px < 2.5 * own
            for f in faces
        )


def turned(shown: Shown, degrees: float) -> Shown:
    """Turn a picture about its middle; what is then beyond its border is the border's mirror image."""
    margin = max(shown.pixels.shape) // 2
    wide = np.pad(shown.pixels, ((margin, margin), (margin, margin), (0, 0)), "reflect")
    picture = Image.fromarray(wide).rotate(degrees, Image.Resampling.BICUBIC)
    height, width = shown.pixels.shape[:2]
    middle, turn = complex(width - 1, height - 1) / 2, np.exp(-1j * np.deg2rad(degrees))
    z = turn * (shown.points[:, 0] + 1j * shown.points[:, 1] - middle) + middle
    pixels = np.asarray(picture)[margin:-margin, margin:-margin]
    return Shown(pixels, np.stack([z.real, z.imag], axis=1))


def levels(shown: Shown, times: float, plus: float = 0) -> Shown:
    """Change the light or the contrast."""
    return shown.moved((shown.pixels * times + plus).astype(np.uint8))


def blurred(shown: Shown, sigma_px: float) -> Shown:
    """Blur a picture."""
    return shown.moved(np.asarray(Image.fromarray(shown.pixels).filter(ImageFilter.GaussianBlur(sigma_px))))


def small(shown: Shown, face_px: float) -> Shown:
    """Shrink a picture to this face height and lay it on grey."""
    times = face_px / shown.face().height_px
    size = tuple(round(side * times) for side in shown.pixels.shape[1::-1])
    ground = np.full_like(shown.pixels, 110)
    left, top = ((whole - part) // 2 for whole, part in zip(ground.shape[1::-1], size, strict=True))
    shrunk = Image.fromarray(shown.pixels).resize(size, Image.Resampling.LANCZOS)
    ground[top : top + size[1], left : left + size[0]] = np.asarray(shrunk)
    return shown.moved(ground, left, top, times)


def drawn(shown: Shown, shapes: Sequence[Sequence[tuple[float, float]]], colour: str) -> Shown:
    """Draw polygons onto the face, given on the template of 112 px."""
    onto = Similarity.fit(ARCFACE_TEMPLATE, shown.points)
    picture = Image.fromarray(shown.pixels)
    for shape in shapes:
        corners = [onto.turn * complex(*corner) + onto.shift for corner in shape]
        ImageDraw.Draw(picture).polygon([(corner.real, corner.imag) for corner in corners], colour)
    return shown.moved(np.asarray(picture))


MASK = [[(18, 60), (56, 54), (94, 60), (90, 92), (76, 112), (56, 118), (36, 112), (22, 92)]]
GLASSES = [
    [(20, 42), (52, 42), (51, 60), (42, 66), (28, 64)],
    [(60, 42), (92, 42), (84, 64), (70, 66), (61, 60)],
    [(5, 42), (107, 42), (107, 46), (5, 46)],
]


def screen(shown: Shown) -> Shown:
    """Show a face on a screen that is seen from the side: in perspective, bluish, with less contrast."""
    side = shown.pixels.shape[0]
    corners = np.array([(0, 0), (side, 0), (side, side), (0, side)], float)
    seen = corners * (0.5, 0.62) + (0.25 * side, 0.2 * side) + [(0, 0), (0, 22), (0, -22), (0, 0)]
    back = _homography(seen, corners)
    ground = Image.fromarray(shown.pixels).transform(
        (side, side), Image.Transform.PERSPECTIVE, tuple(back), Image.Resampling.BICUBIC, fillcolor="#202020"
    )
    pixels = (np.asarray(ground) * (0.6, 0.7, 0.8) + (25, 30, 40)).astype(np.uint8)
    onto = np.append(_homography(corners, seen), 1).reshape(3, 3)
    there = np.c_[shown.points, np.ones(5)] @ onto.T
    return Shown(pixels, there[:, :2] / there[:, 2:])


def framed(shown: Shown, face_px: float) -> Shown:
    """Hang a face as a framed picture on a wall: small, behind glass that takes contrast, with a mount and a frame."""
    hung = small(shown, face_px)
    picture = hung.face().height_px * 0.9
    x, y = hung.points.mean(axis=0)
    wall = Image.new("RGB", hung.pixels.shape[1::-1], "#b9ae9c")
    for margin, colour in ((0.55, "#3b2a1c"), (0.4, "#efece4")):
        half = picture * (1 + margin) / 2 * 1.3
        ImageDraw.Draw(wall).rectangle((x - half, y - half, x + half, y + half), colour)
    half = round(picture / 2 * 1.3)
    box = (round(x) - half, round(y) - half, round(x) + half, round(y) + half)
    behind_glass = (hung.pixels * 0.85 + 25).astype(np.uint8)
    wall.paste(Image.fromarray(behind_glass).crop(box), box)
    return hung.moved(np.asarray(wall))


def display(shown: Shown) -> Shown:
    """Photograph a face off a display: the grid of its pixels, moiré in colour, and the glare of a lamp."""
    height, width = shown.pixels.shape[:2]
    y, x = np.mgrid[:height, :width]
    grid = 1 - 0.2 * (np.cos(2 * np.pi * x / 3.3) + np.cos(2 * np.pi * y / 3.3) + 2)[..., None] / 4
    fringes = [np.cos(2 * np.pi * (x / 17 + y / 23) + phase) for phase in (0, 2.1, 4.2)]
    moire = 1 + 0.12 * np.stack(fringes, axis=-1)
    lamp = np.exp(-((x - 0.35 * width) ** 2 + (y - 0.4 * height) ** 2) / (0.12 * width) ** 2)[..., None]
    seen = shown.pixels * (0.85, 0.95, 1.05) * grid * moire + 130 * lamp
    return shown.moved(seen.clip(0, 255).astype(np.uint8))


def mirrored(shown: Shown) -> Shown:
    """Show a face as a mirror does."""
    points = shown.points * (-1, 1) + (shown.pixels.shape[1] - 1, 0)
    return Shown(np.ascontiguousarray(shown.pixels[:, ::-1]), points[[1, 0, 2, 4, 3]])


def reflection(shown: Shown) -> Shown:
    """Show a face mirrored, a third as strong as what is behind the pane."""
    behind = np.random.default_rng(0).normal(100, 30, (12, 12, 3)).clip(0, 255).astype(np.uint8)
    pane = Image.fromarray(behind).resize(shown.pixels.shape[1::-1], Image.Resampling.BICUBIC)
    seen = mirrored(shown)
    return seen.moved((0.7 * np.asarray(pane) + 0.3 * seen.pixels).astype(np.uint8))


def _homography(source: Points, destination: Points) -> Points:
    """Return the eight numbers of the perspective that maps four points (4, 2) to four others."""
    rows, sides = [], []
    for (x, y), (u, v) in zip(source, destination, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        sides += [u, v]
    return np.linalg.solve(np.array(rows), np.array(sides))


def beside(shown: Shown, other: Pixels) -> Shown:
    """Put somebody else on the left."""
    return shown.moved(np.concatenate([other, shown.pixels], axis=1), right=other.shape[1])


def beside_large(shown: Shown, other: Pixels) -> Shown:
    """Put somebody else on the left, much larger, in a photo of `LARGE_PX`."""
    side, height, width = LARGE_PX * 3 // 4, *shown.pixels.shape[:2]
    photo = np.full((side, LARGE_PX, 3), 110, np.uint8)
    photo[:, :side] = np.asarray(Image.fromarray(other).resize((side, side), Image.Resampling.BICUBIC))
    photo[300 : 300 + height, side : side + width] = shown.pixels
    return shown.moved(photo, right=side, down=300)


def beside_cut(shown: Shown, other: Pixels, edge: int, share: float) -> Shown:
    """Cut off this share of a face by an edge (0 to 3: left, top, right, bottom), with somebody else inward."""
    x0, y0, x1, y1 = shown.face().box
    pixels, points = shown.pixels, shown.points
    if edge % 2:  # as if it were the left or the right one
        pixels, points, other, x0, x1 = pixels.swapaxes(0, 1), points[:, ::-1], other.swapaxes(0, 1), y0, y1
    if edge < 2:
        start = round(x0 + share * (x1 - x0))
        pixels, points = np.concatenate([pixels[:, start:], other], axis=1), points - np.array([start, 0])
    else:
        end = round(x1 - share * (x1 - x0))
        pixels = np.concatenate([other, pixels[:, :end]], axis=1)
        points = points + np.array([other.shape[1], 0])
    if edge % 2:
        pixels, points = pixels.swapaxes(0, 1), points[:, ::-1]
    return Shown(np.ascontiguousarray(pixels), points)
