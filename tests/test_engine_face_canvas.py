"""The square around a face: cut out, changed, put back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from engine_pictures import astronaut
from hypothesis import given, settings
from hypothesis import strategies as st

from fawkes_engine.face.align import Similarity
from fawkes_engine.face.canvas import Canvas, blocks_around, region_side, to_tensor
from fawkes_engine.face.detect import Face, Pixels
from fawkes_engine.photo.monochrome import NEUTRAL

pytestmark = pytest.mark.numeric
HEIGHT, WIDTH = 240, 320


def face_at(x0: float, y0: float, width: float, height: float) -> Face:
    return Face((x0, y0, x0 + width, y0 + height), np.zeros((5, 2)), 1.0)


def noisy_photo(height: int = HEIGHT, width: int = WIDTH) -> Pixels:
    return np.random.default_rng(5).integers(0, 256, (height, width, 3), dtype=np.uint8)


@st.composite
def faces(draw: st.DrawFn) -> Face:
    """Faces of all sizes, up to larger than the photo; each has its centre in the photo, many cross its border."""
    height = draw(st.floats(12, 400))
    width = height * draw(st.floats(0.6, 1.2))
    x, y = draw(st.floats(0, WIDTH)), draw(st.floats(0, HEIGHT))
    return face_at(x - width / 2, y - height / 2, width, height)


def outside(canvas: Canvas, photo: Pixels) -> npt.NDArray[np.bool_]:
    x0, y0, x1, y1 = canvas.region
    mask = np.ones(photo.shape[:2], bool)
    mask[y0:y1, x0:x1] = False
    return mask


@settings(max_examples=40)
@given(face=faces())
def test_the_region_is_the_box_and_15_percent_inside_the_photo_and_the_canvas(face: Face) -> None:
    canvas = Canvas.around(face, noisy_photo())
    x0, y0, x1, y1 = canvas.region
    assert 0 <= x0 < x1 <= WIDTH
    assert 0 <= y0 < y1 <= HEIGHT
    assert canvas.left <= x0
    assert canvas.top <= y0
    assert x1 <= canvas.left + canvas.native_side
    assert y1 <= canvas.top + canvas.native_side
    width, height = face.box[2] - face.box[0], face.box[3] - face.box[1]
    assert x0 <= max(0, face.box[0] - 0.15 * width)
    assert y1 >= min(HEIGHT, face.box[3] + 0.15 * height)
    assert x1 - x0 <= 1.3 * width + 2
    assert canvas.side % 16 == 0  # what the views need
    assert canvas.side <= 416
    assert canvas.scale <= 1


@settings(max_examples=40)
@given(face=faces())
def test_the_region_on_the_canvas_lies_in_the_square_that_is_optimised(face: Face) -> None:
    canvas = Canvas.around(face, noisy_photo())
    x0, y0, x1, y1 = canvas.canvas_region()
    margin = (canvas.side - region_side(canvas.side)) // 2
    assert margin <= x0 < x1 <= margin + region_side(canvas.side)
    assert margin <= y0 < y1 <= margin + region_side(canvas.side)


@settings(max_examples=40)
@given(face=faces())
def test_a_delta_of_zero_changes_nothing(face: Face) -> None:
    photo = noisy_photo()
    canvas = Canvas.around(face, photo)
    after = photo.copy()
    canvas.add(torch.zeros(3, canvas.side, canvas.side), after)
    assert np.array_equal(after, photo)


@settings(max_examples=40)
@given(face=faces(), level=st.floats(-1, 1))
def test_a_delta_changes_the_region_alone(face: Face, level: float) -> None:
    photo = noisy_photo()
    canvas = Canvas.around(face, photo)
    after = photo.copy()
    canvas.add(torch.full((3, canvas.side, canvas.side), level), after)
    untouched = outside(canvas, photo)
    assert np.array_equal(after[untouched], photo[untouched])
    changed = np.clip(np.rint(photo[~untouched] + level * 255), 0, 255)
    assert np.abs(after[~untouched] - changed).max() <= 1


@settings(max_examples=40)
@given(face=faces())
def test_the_mask_is_one_in_the_middle_of_the_region_and_zero_outside(face: Face) -> None:
    canvas = Canvas.around(face, noisy_photo())
    mask = canvas.mask()
    x0, y0, x1, y1 = canvas.canvas_region()
    assert mask.shape == (1, canvas.side, canvas.side)
    assert bool(((mask >= 0) & (mask <= 1)).all())
    inside = torch.zeros_like(mask, dtype=torch.bool)
    inside[:, y0:y1, x0:x1] = True
    assert float(mask[~inside].sum()) == 0
    if min(x1 - x0, y1 - y0) > 8:
        assert float(mask[0, (y0 + y1) // 2, (x0 + x1) // 2]) == pytest.approx(1)


def test_a_face_at_native_size_is_cut_and_put_back_exactly() -> None:
    photo = noisy_photo()
    canvas = Canvas.around(face_at(100, 60, 80, 100), photo)
    assert canvas.scale == 1
    cut = canvas.cut(photo)
    piece = photo[canvas.top : canvas.top + canvas.side, canvas.left : canvas.left + canvas.side]
    assert torch.equal(cut, to_tensor(piece))
    dark = np.zeros_like(photo)
    canvas.add(cut, dark)
    inside = ~outside(canvas, photo)
    assert np.array_equal(dark[inside], photo[inside])


def test_a_change_in_colour_leaves_a_black_and_white_photo_so() -> None:
    photo = np.repeat(noisy_photo(600, 600)[..., :1], 3, axis=2)
    face = face_at(150, 150, 250, 300)  # large: its change is enlarged
    changed = photo.copy()
    canvas = replace(Canvas.around(face, photo), tone=NEUTRAL)
    delta = 0.05 * torch.randn(3, canvas.side, canvas.side, generator=torch.Generator().manual_seed(1))

    canvas.add(delta, changed)

    assert not np.array_equal(changed, photo)
    assert np.ptp(changed, axis=2).max() == 0
    assert canvas.keeps_tone(photo, changed)


def test_a_large_face_is_worked_on_reduced() -> None:
    photo = noisy_photo(900, 900)
    canvas = Canvas.around(face_at(200, 200, 400, 500), photo)
    assert canvas.side < canvas.native_side
    assert canvas.cut(photo).shape == (3, canvas.side, canvas.side)
    x0, y0, x1, y1 = canvas.canvas_region()
    assert max(x1 - x0, y1 - y0) == pytest.approx(224, abs=4)


def test_beyond_the_border_of_the_photo_the_edge_is_repeated() -> None:
    photo = noisy_photo()
    canvas = Canvas.around(face_at(-30, -20, 80, 100), photo)
    cut = canvas.cut(photo)
    assert canvas.left < 0
    assert canvas.top < 0
    assert torch.equal(cut[:, 0, 0], to_tensor(photo)[:, 0, 0])
    assert torch.equal(cut[:, -canvas.top, -canvas.left], to_tensor(photo)[:, 0, 0])
    assert torch.equal(cut[:, -canvas.top + 9, -canvas.left + 7], to_tensor(photo)[:, 9, 7])


@settings(max_examples=40)
@given(face=faces())
def test_a_delta_added_to_the_blocks_around_a_face_is_the_one_added_to_the_photo(face: Face) -> None:
    photo = noisy_photo()
    canvas = Canvas.around(face, photo)
    delta = torch.rand(3, canvas.side, canvas.side, generator=torch.Generator().manual_seed(1)) - 0.5
    whole = photo.copy()
    canvas.add(delta, whole)
    rows, columns = blocks_around(canvas.region, photo)
    piece = photo[rows, columns].copy()
    canvas.seen_from(columns.start, rows.start).add(delta, piece)
    assert np.array_equal(piece, whole[rows, columns])
    for side, length in ((rows, HEIGHT), (columns, WIDTH)):
        assert side.start % 8 == 0
        assert side.stop % 8 == 0 or side.stop == length


@settings(max_examples=30)
@given(face=faces(), x=st.floats(0, WIDTH), y=st.floats(0, HEIGHT))
def test_photo_points_and_canvas_points_are_the_same_place(face: Face, x: float, y: float) -> None:
    canvas = Canvas.around(face, noisy_photo())
    onto = canvas.onto_canvas(Similarity(1 + 0j, complex(x, y)))
    # pixel centres: the centre of pixel 0 lies half a pixel from the corner, on both grids
    expected = (complex(x, y) + complex(0.5, 0.5) - complex(canvas.left, canvas.top)) * canvas.scale
    assert onto.shift == pytest.approx(expected - complex(0.5, 0.5), abs=1e-6)
    assert abs(onto.turn) == pytest.approx(canvas.scale)


def test_a_smooth_delta_survives_reduction_and_enlargement() -> None:
    photo = np.full((900, 900, 3), 128, np.uint8)
    canvas = Canvas.around(face_at(200, 200, 400, 500), photo)
    columns = torch.linspace(-0.2, 0.2, canvas.side).expand(3, canvas.side, canvas.side)
    canvas.add(columns, photo)
    cut = canvas.cut(photo)
    x0, y0, x1, y1 = canvas.canvas_region()
    inside = (slice(None), slice(y0 + 3, y1 - 3), slice(x0 + 3, x1 - 3))
    assert float((cut - 128 / 255 - columns)[inside].abs().max()) < 1.5 / 255


def test_a_large_face_gets_the_bicubic_enlargement_of_its_delta() -> None:
    photo = np.full((700, 800, 3), 128, np.uint8)
    canvas = Canvas.around(face_at(250.0, 90.0, 333.0, 430.0), photo)
    delta = torch.rand(3, canvas.side, canvas.side, generator=torch.Generator().manual_seed(2)) * 0.2 - 0.1
    x0, y0, x1, y1 = canvas.region
    assert (y0, x0) != (canvas.top, canvas.left)  # so that it matters which part of it is taken
    whole = F.interpolate(delta[None], size=[canvas.native_side] * 2, mode="bicubic")[0]
    expected = 128 + 255 * whole[:, y0 - canvas.top : y1 - canvas.top, x0 - canvas.left : x1 - canvas.left]

    canvas.add(delta, photo)

    assert canvas.scale < 1
    assert np.abs(photo[y0:y1, x0:x1] - expected.permute(1, 2, 0).numpy()).max() <= 0.5 + 1e-3


def test_pixels_become_a_tensor_between_zero_and_one() -> None:
    tensor = to_tensor(astronaut())
    assert tensor.shape == (3, 512, 512)
    assert tensor.dtype == torch.float32
    assert float(tensor[1, 3, 5]) == pytest.approx(astronaut()[3, 5, 1] / 255)
