"""Encodes a photo with its cloaks as the file to be published, every cloak inside the visibility budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from torch import Tensor

from fawkes_engine.errors import Unreadable
from fawkes_engine.face.detect import Pixels
from fawkes_engine.image.visibility import Visibility
from fawkes_engine.photo.decode import decode_pixels
from fawkes_engine.photo.encode import encode, transplanted
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

    Into the photo's own file if that works, else as a whole: what is carried over must decode to the very same pixels.

    Raises:
        Unsupported: the format cannot hold this picture. Unreadable: the file cannot be decoded again.
    """
    photo, preview = draft.work.photo, draft.preview
    host, regions = preview.encoding.host, [canvas.region for canvas in draft.work.canvases]
    if host:
        with suppress(OSError, ValueError, Unreadable):
            written = _within_budget(draft, lambda pixels: transplanted(photo, pixels, host, regions))
            if host.source.carried(photo.pixels, written.pixels, regions):
                return written
    return _within_budget(draft, lambda pixels: encode(photo, pixels, preview.whole.quality))


def _within_budget(draft: Draft, encoded: Callable[[Pixels], bytes]) -> Written:
    """Encode and measure, until every cloak is inside the budget.

    Each is by itself, but where faces overlap their cloaks add up: those that are too visible are scaled down. If one
    still is after the last round, verification refuses it.
    """
    work, preview = draft.work, draft.preview
    deltas = [draft.cloaks[i].delta for i in range(len(work.faces))]
    warped = work.photo.pixels.copy()
    for i, canvas in enumerate(work.canvases):
        canvas.warp(draft.cloaks[i].points, warped)
    for _ in range(_ROUNDS):
        data = encoded(_cloaked(work, warped, deltas))
        published = decode_pixels(data)
        seen = [
            canvas.compare(warped, published, face.height_px, preview.device)
            for canvas, face in zip(work.canvases, work.faces, strict=True)
        ]
        shares = [figures.share_of(preview.budget) for figures in seen]
        if max(shares, default=0.0) <= 1:
            break
        deltas = [d * (1 if share <= 1 else _WEAKER) for d, share in zip(deltas, shares, strict=True)]
    return Written(data, warped, published, seen)


def _cloaked(work: Work, warped: Pixels, deltas: Sequence[Tensor]) -> Pixels:
    pixels = warped.copy()
    for canvas, delta in zip(work.canvases, deltas, strict=True):
        canvas.add(delta, pixels)
    return pixels
