"""One photo on its way through the engine: its faces, its cloaks, and how they look in the encoded file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from fawkes_engine.cloak.optimise import Cloak
from fawkes_engine.face.canvas import Canvas, blocks_around, in_srgb, to_tensor
from fawkes_engine.face.detect import Face, Pixels
from fawkes_engine.image.visibility import Visibility, measure
from fawkes_engine.photo.decode import Photo, decode
from fawkes_engine.photo.encode import as_written, encode
from fawkes_engine.types import Budget, Request

# JPEG alone may use up this share of the budget before its quality is raised along these steps: what it takes, the
# cloak loses.
_ENCODING_SHARE = 0.1
_QUALITIES = (97, 99, 100)
_FIT_ROUNDS = 8


@dataclass(frozen=True, slots=True)
class Encoding:
    """quality: Pillow's, of JPEG output. alone: what a person can see of it on each face without a cloak."""

    quality: int
    alone: Sequence[Visibility]


@dataclass(frozen=True, slots=True)
class Written:
    """An encoded photo. pixels: (H, W, 3) as decoded again. seen: each face in them, against the original."""

    data: bytes
    pixels: Pixels
    seen: Sequence[Visibility]


@dataclass(frozen=True, slots=True)
class Goal:
    """Whom one face is moved toward; how strongly, and when it is there, is the same for all: see `Aim`.

    identity: by name. vectors: extractor -> unit embedding (D,), where there is one.
    """

    identity: str
    vectors: Mapping[str, Tensor]


@dataclass(frozen=True)
class Work:
    """A decoded photo with its detected faces.

    clean_embeddings: extractor -> (faces, D) unit embeddings of the clean faces. budget: of every face.
    lowest_quality: of JPEG output. device: where faces are compared. people: whose each face is. goals: where each is
    moved. left: other faces, to be left as they are. cloaks: number of a face -> its cloak, once it is made.
    """

    request: Request
    photo: Photo
    faces: Sequence[Face]
    clean_embeddings: dict[str, Tensor]
    budget: Budget
    lowest_quality: int
    device: torch.device
    people: Sequence[str] = ()
    goals: Sequence[Goal] = ()
    left: Sequence[Face] = ()
    cloaks: dict[int, Cloak] = field(default_factory=dict)

    def only(self, indices: Sequence[int]) -> Work:
        """Return the same photo with only these faces to be cloaked."""
        return replace(
            self,
            faces=[self.faces[i] for i in indices],
            people=[self.people[i] for i in indices],
            goals=[self.goals[i] for i in indices],
            clean_embeddings={name: embedding[indices] for name, embedding in self.clean_embeddings.items()},
            left=[face for i, face in enumerate(self.faces) if i not in indices],
        )

    def not_known(self, found: Sequence[Face]) -> list[Face]:
        """Return the faces found in a picture that are neither to be cloaked nor to be left."""
        known = [*self.faces, *self.left]
        return [face for face in found if not any(face.overlaps(other) for other in known)]

    @cached_property
    def canvases(self) -> list[Canvas]:
        """The working square of each face."""
        return [Canvas.around(face, self.photo.pixels, self.photo.colour) for face in self.faces]

    @cached_property
    def encoding(self) -> Encoding:
        """How the photo is encoded: the lowest quality allowed, or more where that alone would eat the budget."""
        lowest = max(self.lowest_quality, self.photo.jpeg_quality)
        for quality in (lowest, *(q for q in _QUALITIES if q > lowest)):
            clean = [self._look(i, None, quality) for i in range(len(self.faces))]
            if all(seen.share_of(self.budget) <= _ENCODING_SHARE for seen in clean):
                break
        return Encoding(quality, clean)

    def visibility_of(self, index: int, delta: Tensor) -> Visibility:
        """Return what a person can see of one face's delta (3, S, S) in the file as it will be published."""
        return self._look(index, delta, self.encoding.quality)

    def _look(self, index: int, delta: Tensor | None, quality: int) -> Visibility:
        canvas = self.canvases[index]
        rows, columns = blocks_around(canvas.region, self.photo.pixels)
        here = canvas.seen_from(columns.start, rows.start)
        before = self.photo.pixels[rows, columns]
        after = before.copy()
        if delta is not None:
            here.add(delta, after)
        return self._compare(before, as_written(self.photo, after, quality), here, self.faces[index])

    def write(self) -> Written:
        """Encode the photo with every cloak inside the budget."""
        deltas = [self._fitted(i, self.cloaks[i].delta) for i in range(len(self.faces))]
        for _ in range(_FIT_ROUNDS):
            data = encode(self.photo, self._cloaked(deltas), self.encoding.quality)
            published = decode(data, heic=self.request.heic).pixels
            seen = [
                self._compare(self.photo.pixels, published, canvas, face)
                for canvas, face in zip(self.canvases, self.faces, strict=True)
            ]
            shares = [figures.share_of(self.budget) for figures in seen]
            if max(shares, default=0.0) <= 1:
                break
            # each cloak fits by itself: these faces overlap, and their cloaks add up
            deltas = [d * (1 if share <= 1 else 0.85) for d, share in zip(deltas, shares, strict=True)]
        return Written(data, published, seen)

    def _cloaked(self, deltas: Sequence[Tensor]) -> Pixels:
        pixels = self.photo.pixels.copy()
        for canvas, delta in zip(self.canvases, deltas, strict=True):
            canvas.add(delta, pixels)
        return pixels

    def _fitted(self, index: int, delta: Tensor) -> Tensor:
        delta = delta.cpu()
        for _ in range(_FIT_ROUNDS):
            share = self.visibility_of(index, delta).share_of(self.budget)
            if share <= 1:
                break
            delta = delta * max(0.5, 0.99 * share**-0.5)  # DSSIM grows with the square
        return delta

    def _compare(self, before: Pixels, after: Pixels, canvas: Canvas, face: Face) -> Visibility:
        x0, y0, x1, y1 = canvas.region
        clean, cloaked = (
            to_tensor(in_srgb(pixels[y0:y1, x0:x1], canvas.colour))[None].to(self.device)
            for pixels in (before, after)
        )
        return measure(clean, cloaked, face.height_px)
