"""A written photo is searched where it differs from the one that was searched before, as if it were searched whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import pytest
import torch
from engine_pictures import encoded, portrait, scaled
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from fawkes_engine import Request
from fawkes_engine.face.canvas import Canvas
from fawkes_engine.face.centerface import CenterFaceDetector
from fawkes_engine.face.detect import Face, Pixels
from fawkes_engine.face.search import FaceSearch
from fawkes_engine.photo.decode import decode, decode_pixels
from fawkes_engine.photo.encode import encode
from fawkes_engine.photo.transplant import equal_outside
from fawkes_engine.pipeline.verify import Verifier, changed_parts
from fawkes_engine.pipeline.work import Work
from fawkes_engine.pipeline.write import Written

if TYPE_CHECKING:
    from fawkes_engine.extractors.ensemble import Ensemble

numeric = pytest.mark.numeric
SIDE = 272
HEIGHT, WIDTH = 720, 1280
LEFT, RIGHT = (100, 400), (960, 100)  # x, y of the squares with a face in `photo`


@pytest.fixture(scope="module")
def search() -> FaceSearch:
    return FaceSearch(torch.device("cpu"))


def square(turns: int = 0) -> Pixels:
    return np.ascontiguousarray(np.rot90(portrait()[:SIDE], turns))


def photo(**at: Pixels) -> Pixels:
    """A grey photo with pictures in it: `left`, `right`, or both."""
    pixels = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    for name, picture in at.items():
        x, y = {"left": LEFT, "right": RIGHT}[name]
        pixels[y : y + len(picture), x : x + picture.shape[1]] = picture
    return pixels


def part_at(corner: tuple[int, int]) -> tuple[int, int, int, int]:
    x, y = corner
    return (x + 60, y + 40, x + 220, y + 220)


def assert_same(found: list[Face], expected: list[Face]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert np.abs(one.landmarks - other.landmarks).max() < 0.5
        assert np.abs(np.subtract(one.box, other.box)).max() < 0.5


@numeric
@pytest.mark.parametrize("turns", range(4))
def test_near_a_part_the_same_faces_are_found_as_in_the_whole(search: FaceSearch, turns: int) -> None:
    pixels = photo(left=square(turns), right=square())
    whole = search.every(pixels)
    assert len(whole) == 2
    parts = [part_at(LEFT)]
    assert_same(search.every(pixels, parts), [face for face in whole if face.touches(parts)])


@numeric
@pytest.mark.parametrize("turns", range(4))
def test_of_a_large_photo_little_more_than_the_part_is_looked_at(
    search: FaceSearch, monkeypatch: pytest.MonkeyPatch, turns: int
) -> None:
    looked_at = []
    on_copy = CenterFaceDetector._on_copy

    def noted(self: CenterFaceDetector, copy: Image.Image, scale: float) -> list[Face]:
        looked_at.append(copy.width * copy.height)
        return on_copy(self, copy, scale)

    monkeypatch.setattr(CenterFaceDetector, "_on_copy", noted)
    assert len(search._second.turned(photo(left=square(turns)), -turns, 1.0, [part_at(LEFT)])) == 1
    assert sum(looked_at) < 0.3 * HEIGHT * WIDTH


@numeric
def test_a_face_much_larger_than_the_part_is_found(search: FaceSearch) -> None:
    pixels = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    pixels[20:700, 200:880] = scaled(square(), 2.5)
    whole = search.every(pixels)
    (face,) = search.every(pixels, [(540, 330, 580, 370)])
    assert_same([face], whole)


@numeric
def test_what_does_not_touch_a_part_was_found_before(search: FaceSearch) -> None:
    pixels = photo(left=square(), right=square())
    assert search.every(pixels, [(500, 20, 560, 80)]) == []
    assert search.every(pixels, []) == []


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Pixels, Pixels]:
    shape = draw(st.tuples(st.integers(1, 600), st.integers(1, 9)))
    before = np.zeros((*shape, 3), np.uint8)
    after = before.copy()
    for _ in range(draw(st.integers(0, 3))):
        after[
            draw(st.integers(0, shape[0] - 1)), draw(st.integers(0, shape[1] - 1)), draw(st.integers(0, 2))
        ] = 1
    return before, after


@given(pair=pairs(), data=st.data())
def test_no_pixel_outside_the_parts_differs_unseen(pair: tuple[Pixels, Pixels], data: st.DataObject) -> None:
    before, after = pair
    edges = st.integers(-20, 620)
    parts = data.draw(st.lists(st.tuples(edges, edges, edges, edges), max_size=2))
    assume(all(x0 < x1 and y0 < y1 for x0, y0, x1, y1 in parts))
    outside = [
        (row, column)
        for row, column in zip(*np.nonzero((before != after).any(axis=2)), strict=True)
        if not any(x0 <= column < x1 and y0 <= row < y1 for x0, y0, x1, y1 in parts)
    ]
    assert equal_outside(before, after, parts) == (not outside)


def verifier(search: FaceSearch) -> Verifier:
    """One that can only look for faces."""
    return Verifier(search, cast("Ensemble", None))


def work_on(data: bytes, face: Face) -> Work:
    return Work(Request(data, "ada"), decode(data), [face], {})


@numeric
@pytest.mark.parametrize("beside_the_cloak", [False, True])
def test_a_face_that_only_the_written_file_shows_is_missed(
    search: FaceSearch, *, beside_the_cloak: bool
) -> None:
    """As if its encoding, or the cloak itself, had made a face."""
    before = photo(left=square())
    (face,) = search.every(before)
    work = work_on(encoded(before, "PNG"), face)
    assert changed_parts(work, before) is not None
    after = before.copy()
    small = scaled(square()[40:200, 90:200], 0.35)
    x0, _, _, y1 = Canvas.around(face, before).region
    x, y = (x0 - 30, y1 + 30 - len(small)) if beside_the_cloak else RIGHT
    after[y : y + len(small), x : x + small.shape[1]] = small
    assert (
        changed_parts(work, after) is not None
    ) == beside_the_cloak  # then the part around the cloak alone is searched
    (missed,) = verifier(search).missed(work, Written(b"", before, after, []))
    assert missed.touches([(x, y, x + small.shape[1], y + len(small))])


@numeric
def test_a_photo_that_was_encoded_anew_is_searched_whole(search: FaceSearch) -> None:
    """Each pixel may have changed, so a face may be found in it that was not found before, wherever it is."""
    before = photo(left=square(), right=square())
    data = encoded(before, "JPEG", quality=70)
    left, right = sorted(search.every(decode_pixels(data)), key=lambda face: face.box[0])
    work = work_on(data, left)
    after = decode_pixels(encode(work.photo, work.photo.pixels, 95))
    assert changed_parts(work, after) is None
    (missed,) = verifier(search).missed(work, Written(b"", after, after, []))
    assert missed.overlaps(right)
