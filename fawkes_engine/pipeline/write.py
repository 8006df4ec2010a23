"""Encodes a photo with its cloaks as the file to be published, every cloak inside the visibility budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from fawkes_engine.device import make_room
from fawkes_engine.errors import Unreadable
from fawkes_engine.face.detect import Pixels
from fawkes_engine.image.visibility import Visibility
from fawkes_engine.photo.decode import decode_pixels
from fawkes_engine.photo.encode import encode, transplanted
from fawkes_engine.photo.transplant import Transplant
from fawkes_engine.pipeline.draft import Draft
from fawkes_engine.pipeline.work import Work

_ROUNDS = 8
_WEAKER = 0.85  # factor per round for a cloak that is too visible


@dataclass(frozen=True, slots=True)
class Written:
    """An encoded photo.

    warped: (H, W, 3), the original with its faces warped. pixels: (H, W, 3), decoded again. seen: visibility of what
    was added to each warped face.
    """

    data: bytes
    warped: Pixels
    pixels: Pixels
    seen: Sequence[Visibility]


def write(draft: Draft) -> Written:
    """Encode a photo whose faces all have cloaks, and measure them in the decoded file.

    Into the photo's own file if that works, else as a whole: what is carried over must decode to the very same pixels,
    and the cloaks must fit into the budget there.

    Raises:
        Unsupported: the format cannot hold this picture. Unreadable: the file cannot be decoded again.
    """
    make_room(draft.work.photo.pixels.size)
    warped = draft.work.photo.pixels.copy()
    for i, canvas in enumerate(draft.work.canvases):
        canvas.warp(draft.cloaks[i].points, warped)
    host = draft.preview.encoding.host
    if host:
        with suppress(OSError, ValueError, Unreadable):
            return _into_own_blocks(draft, warped, Transplant(host))
    return _as_a_whole(draft, warped)


def _into_own_blocks(draft: Draft, warped: Pixels, blocks: Transplant) -> Written:
    """Write into the photo's own file; only what is decoded around the faces is looked at until it is written.

    Raises ValueError if what is read from the file is not what it should be, or the cloaks are not inside the budget.
    """
    photo, faces = draft.work.photo, draft.work.faces
    regions = [canvas.region for canvas in draft.work.canvases]

    def seen_in(cloaked: Pixels) -> list[Visibility]:
        blocks.replace(cloaked, regions)
        found = []
        for canvas, face in zip(draft.work.canvases, faces, strict=True):
            (rows, columns), pixels = blocks.seen(canvas.region)
            here = canvas.seen_from(columns.start, rows.start)
            found.append(here.compare(warped[rows, columns], pixels, face.height_px, draft.preview.device))
        return found

    seen = _within_budget(draft, warped, seen_in)
    if not all(figures.share_of(draft.preview.budget) <= 1 for figures in seen):
        raise ValueError("too visible")
    data = transplanted(photo, blocks)
    published = decode_pixels(data)
    for region in regions:
        where, pixels = blocks.seen(region)
        if not np.array_equal(published[where], pixels):
            raise ValueError("decoded in part it is not what it is as a whole")
    if not blocks.host.source.carried(photo.pixels, published, regions):
        raise ValueError("the rest has changed")
    return Written(data, warped, published, seen)


def _as_a_whole(draft: Draft, warped: Pixels) -> Written:
    photo, preview = draft.work.photo, draft.preview
    data, published = b"", warped

    def seen_in(cloaked: Pixels) -> list[Visibility]:
        nonlocal data, published
        data = encode(photo, cloaked, preview.whole.quality)
        published = decode_pixels(data)
        return [
            canvas.compare(warped, published, face.height_px, preview.device)
            for canvas, face in zip(draft.work.canvases, draft.work.faces, strict=True)
        ]

    seen = _within_budget(draft, warped, seen_in)
    return Written(data, warped, published, seen)


def _within_budget(
    draft: Draft, warped: Pixels, seen_in: Callable[[Pixels], list[Visibility]]
) -> list[Visibility]:
    """Encode and measure, until every cloak is inside the budget.

    Each is by itself, but where faces overlap their cloaks add up: those that are too visible are scaled down. If one
    still is after the last round, verification refuses it.
    """
    deltas = [draft.cloaks[i].delta for i in range(len(draft.work.faces))]
    for _ in range(_ROUNDS):
        seen = seen_in(_cloaked(draft.work, warped, deltas))
        shares = [figures.share_of(draft.preview.budget) for figures in seen]
        if max(shares, default=0.0) <= 1:
            break
        deltas = [d * (1 if share <= 1 else _WEAKER) for d, share in zip(deltas, shares, strict=True)]
    return seen


def _cloaked(work: Work, warped: Pixels, deltas: Sequence[Tensor]) -> Pixels:
    pixels = warped.copy()
    for canvas, delta in zip(work.canvases, deltas, strict=True):
        canvas.add(delta, pixels)
    return pixels
