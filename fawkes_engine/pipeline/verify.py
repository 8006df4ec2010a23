"""The last gate: faces in the file to be published are detected and measured as a tracker would see them.

The file is decoded whole and compared with the photo, in which every face was looked for. Where both are equal to the
bit it is not searched again: a face that was not there before reaches into what differs. Faces are embedded from the
file as it is, and after a simulated upload (downscaled, recompressed); each time where they are found again, and where
they were: a cloak may move what the detectors see, and other detectors need not follow.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from PIL import Image
from torch import Tensor

from fawkes_engine.errors import NotProtected
from fawkes_engine.extractors import KNOWN_BY
from fawkes_engine.extractors.ensemble import Ensemble
from fawkes_engine.face.align import Similarity
from fawkes_engine.face.detect import Face, Pixels
from fawkes_engine.face.search import FaceSearch
from fawkes_engine.identity.people import SAME_PERSON_COSINE
from fawkes_engine.modes import FULL_STRENGTH
from fawkes_engine.photo.orientation import Region
from fawkes_engine.photo.transplant import equal_outside
from fawkes_engine.pipeline.draft import Draft
from fawkes_engine.pipeline.work import Work
from fawkes_engine.pipeline.write import Written
from fawkes_engine.types import FaceReport

# A face is protected if, where it is found again and where it was, its cosine to its own clean embedding is at most
# this for the identifying extractor, which then no longer takes the face for its owner's. For the others it is only
# reported, as no budget that is hard to see gets below their limits in every photo.
OWN_COSINE_LIMIT = SAME_PERSON_COSINE
_PLATFORM_SIDE_PX = 2048
_ROUNDED = 1.001  # in float32
# Around what a cloak may change: JPEG writes whole MCUs, of up to 16 px, and the next pixel's colours.
_MARGIN_PX = 32

Check = Callable[[Work, Sequence[Mapping[str, Tensor]]], None]


class Verifier:
    """Detects and measures faces in written files."""

    def __init__(self, search: FaceSearch, ensemble: Ensemble) -> None:
        self._search = search
        self._ensemble = ensemble

    def missed(self, work: Work, written: Written) -> list[Face]:
        """Return the faces in a written file that are neither cloaked nor left uncloaked on purpose."""
        return not_known(work, self.found(work, written.pixels))

    def found(self, work: Work, pixels: Pixels) -> list[Face]:
        """Return the faces in a decoded file (H, W, 3), but for those where it is the photo to the bit."""
        return self._search.every(pixels, changed_parts(work, pixels))

    def embedded(self, work: Work, pixels: Pixels, found: Sequence[Face]) -> list[dict[str, Tensor]]:
        """Embed the cloaked faces in a decoded file (H, W, 3), in which these were found.

        Returns extractor -> (faces, D): where they are found again, as published, by every extractor that embedded
        the clean ones, and by KNOWN_BY alone after a simulated upload; if any is found again, both by KNOWN_BY where
        they were, too.
        """
        again = [found_again(face, found) for face in work.faces]
        shared, embed, colour = _as_shared(pixels), self._ensemble.embed, work.photo.colour
        scale = Similarity(complex(shared.shape[1] / pixels.shape[1]), 0j)

        def both(faces: Sequence[Face], names: Sequence[str]) -> list[dict[str, Tensor]]:
            there = [face.moved(scale) for face in faces]
            return [embed(pixels, faces, names, colour), embed(shared, there, [KNOWN_BY], colour)]

        embedded = both(again, list(work.clean_embeddings))
        if any(face is not before for face, before in zip(again, work.faces, strict=True)):
            embedded += both(work.faces, [KNOWN_BY])
        return embedded

    def measure(self, draft: Draft, written: Written, check: Check) -> tuple[FaceReport, ...]:
        """Measure every cloaked face in the decoded file.

        check: raises a Refusal if the photo may not be published, given what `embedded` returns.

        Returns a report per cloaked face, with every extractor that embedded the clean ones. Raises:
            NotProtected: there is a face that was not cloaked, or a cloak is too visible, or it has colours in a
                monochrome photo.
        """
        work, pixels = draft.work, written.pixels
        found = self.found(work, pixels)
        missed = not_known(work, found)
        if missed:
            raise NotProtected(f"a face {where(missed[0])} in the result is not cloaked")
        embeddings = self.embedded(work, pixels, found)
        check(work, embeddings)
        budget = draft.preview.budget
        for i, (face, figures) in enumerate(zip(work.faces, written.seen, strict=True)):
            if not (figures.share_of(budget) <= 1 and draft.moved(i) <= _ROUNDED * budget.warp):
                raise NotProtected(f"the cloak of the face {where(face)} would be too visible")
        for face, canvas in zip(work.faces, work.canvases, strict=True):
            if not canvas.keeps_tone(written.warped, pixels):
                raise NotProtected(f"the cloak would colour the black-and-white face {where(face)}")
        return tuple(_report(draft, written, embeddings[0], i) for i in range(len(work.faces)))


def changed_parts(work: Work, pixels: Pixels) -> list[Region] | None:
    """Return parts around the cloaks outside of which pixels (H, W, 3) are those of the photo; None if they are not.

    They are not wherever the photo was encoded anew with loss: then each pixel may have changed.
    """
    parts = [grown(canvas.region, _MARGIN_PX) for canvas in work.canvases]
    return parts if equal_outside(work.photo.pixels, pixels, parts) else None


def grown(region: Region, margin: int) -> Region:
    """Return a region with a margin, px, on each side."""
    x0, y0, x1, y1 = region
    return x0 - margin, y0 - margin, x1 + margin, y1 + margin


def found_again(face: Face, found: Sequence[Face]) -> Face:
    """Return which of the faces in the result a cloaked face is, or itself if none.

    Where faces overlap, its landmarks tell it from its neighbour, whose embedding says nothing about it.
    """
    there = [other for other in found if other.overlaps(face)]
    return min(there, key=lambda other: float(np.abs(other.landmarks - face.landmarks).sum()), default=face)


def unlike_owners(work: Work, embeddings: Sequence[Mapping[str, Tensor]]) -> None:
    """Raise NotProtected for faces that look like their owners in any of the embeddings (extractor -> (faces, D))."""
    # negated, so that NaN is refused too
    known = [
        i
        for i in range(len(work.faces))
        if not all(
            float(e[KNOWN_BY][i] @ work.clean_embeddings[KNOWN_BY][i]) <= OWN_COSINE_LIMIT for e in embeddings
        )
    ]
    if known:
        strength = work.request.strength
        weak = f"strength {strength} is too little: " if strength < FULL_STRENGTH else ""
        face = work.faces[known[0]]
        raise NotProtected(
            f"{weak}the face {where(face)}, {face.height_px} px high, still looks like its owner to a recogniser",
            tuple(known),
        )


def not_known(work: Work, found: Sequence[Face]) -> list[Face]:
    """Return those of the faces that are neither cloaked nor left uncloaked on purpose."""
    known = [*work.faces, *work.left]
    return [face for face in found if not any(face.overlaps(other) for other in known)]


def _as_shared(pixels: Pixels) -> Pixels:
    """Simulate a photo platform on a picture (H, W, 3): at most 2048 px, JPEG quality 75 4:2:0."""
    image = Image.fromarray(pixels)
    image.thumbnail((_PLATFORM_SIDE_PX, _PLATFORM_SIDE_PX), Image.Resampling.BICUBIC)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=75, subsampling=2)
    return np.asarray(Image.open(out).convert("RGB"))


def _report(draft: Draft, written: Written, embedded: Mapping[str, Tensor], index: int) -> FaceReport:
    work = draft.work
    face, goal, seen = work.faces[index], work.goals[index], written.seen[index]
    return FaceReport(
        box=face.box,
        height_px=face.height_px,
        person=work.people[index],
        target=goal.identity,
        dssim=seen.dssim,
        dssim_224=seen.dssim_224,
        colour_mean=seen.colour_mean,
        colour_p99=seen.colour_p99,
        moved=draft.moved(index),
        cosine_own={n: float(e[index] @ work.clean_embeddings[n][index]) for n, e in embedded.items()},
        cosine_target={
            n: float(e[index] @ goal.vectors[n]) for n, e in embedded.items() if n in goal.vectors
        },
        steps=draft.cloaks[index].steps,
        landmarks=tuple((float(x), float(y)) for x, y in face.landmarks),
    )


def where(face: Face) -> str:
    """Return where a face is, in words that fit behind 'the face'."""
    x, y = face.landmarks.mean(axis=0)
    return f"at {x:.0f}, {y:.0f} px"
