"""A photo's cloaks go into its own JPEG blocks if they fit there, and else into a photo encoded as a whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from engine_pictures import encoded, portrait

from fawkes_engine import Request
from fawkes_engine.cloak.optimise import Cloak
from fawkes_engine.face.detect import Face, Pixels
from fawkes_engine.image.warp import POINTS
from fawkes_engine.modes import Budget
from fawkes_engine.photo.decode import decode, decode_pixels
from fawkes_engine.photo.encode import encode
from fawkes_engine.photo.orientation import Region
from fawkes_engine.photo.transplant import Host, Source, Transplant
from fawkes_engine.pipeline.draft import Draft
from fawkes_engine.pipeline.preview import Preview
from fawkes_engine.pipeline.work import Work
from fawkes_engine.pipeline.write import write

UNREFINED = 1  # of Pillow's qualities: new blocks get the source's own tables


def draft_of(jpeg: bytes, fineness: int) -> Draft:
    """A draft of the portrait whose face is moved and has a faint cloak, to be written into the JPEG's own blocks."""
    landmarks = np.array([(205, 104), (243, 104), (224, 125), (208, 146), (240, 146)], float) - (80, 0)
    face = Face((100, 59, 188, 175), landmarks, 1.0)
    work = Work(Request(jpeg, "ada"), decode(jpeg), [face], {}, ["ada"])
    preview = Preview(work, Budget(), 95, torch.device("cpu"))
    encoding = replace(preview.whole, host=Host.of(Source(jpeg, 1), fineness))
    preview.__dict__["encoding"] = encoding  # as if chosen; small faces never get into their own blocks
    canvas = work.canvases[0]
    waves = torch.sin(torch.arange(canvas.side) / 4.0)
    delta = (0.02 * waves[:, None] * waves * canvas.mask()).expand(3, -1, -1)
    points = torch.randn(2, POINTS, POINTS, generator=torch.Generator().manual_seed(0))
    return Draft(work, preview, {0: Cloak(points, delta, 1)})


def sampling(jpeg: bytes) -> str:
    return "own" if Source(jpeg, 1).sampling else "4:4:4"


def test_cloaks_that_fit_go_into_the_photos_own_blocks() -> None:
    written = write(draft_of(encoded(portrait(), "JPEG", quality=90, subsampling=2), 99))
    assert sampling(written.data) == "own"
    assert written.seen[0].share_of(Budget()) <= 1
    assert np.array_equal(written.pixels, decode_pixels(written.data))


def test_a_photo_whose_cloaks_do_not_fit_into_its_own_blocks_is_encoded_as_a_whole() -> None:
    written = write(draft_of(encoded(portrait(), "JPEG", quality=40, subsampling=2), UNREFINED))
    assert sampling(written.data) == "4:4:4"
    assert written.seen[0].share_of(Budget()) <= 1


def test_blocks_that_are_decoded_otherwise_than_before_are_not_published(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = Transplant.seen

    def another(self: Transplant, region: Region) -> tuple[tuple[slice, slice], Pixels]:
        where, pixels = seen(self, region)
        return where, pixels ^ np.uint8(1)

    monkeypatch.setattr(Transplant, "seen", another)
    written = write(draft_of(encoded(portrait(), "JPEG", quality=90, subsampling=2), 99))
    assert sampling(written.data) == "4:4:4"


def test_a_photo_in_full_colour_goes_into_its_own_blocks_even_if_they_take_much_of_the_budget() -> None:
    jpeg = encoded(portrait(), "JPEG", quality=80, subsampling=0)
    tight = Budget(dssim=0.003)
    draft = draft_of(jpeg, UNREFINED)
    preview = Preview(draft.work, tight, 95, torch.device("cpu"))
    assert preview.whole.quality == preview.encoding.quality == 100
    written = write(replace(draft, preview=preview))
    assert written.seen[0].share_of(tight) <= 1
    assert len(written.data) < 0.8 * len(encode(draft.work.photo, written.pixels, 100))


def test_a_photo_with_halved_colours_goes_into_its_own_blocks_for_a_bearable_share_of_the_budget() -> None:
    draft = draft_of(encoded(portrait(), "JPEG", quality=90, subsampling=2), UNREFINED)

    def with_budget(budget: Budget) -> Preview:
        return Preview(draft.work, budget, 95, torch.device("cpu"))

    jpeg = draft.work.request.data
    used = with_budget(Budget())._alone_in(Host.of(Source(jpeg, 1), 100), 0, 100).dssim
    bearable, too_much = with_budget(Budget(dssim=used / 0.29)), with_budget(Budget(dssim=used / 0.31))
    assert bearable.encoding.host is not None
    assert bearable.encoding.quality == 100
    assert too_much.encoding.host is None
    written = write(replace(draft, preview=bearable))
    assert sampling(written.data) == "own"
    assert written.seen[0].share_of(bearable.budget) <= 1
    assert len(written.data) < 0.8 * len(encode(draft.work.photo, written.pixels, 100))
