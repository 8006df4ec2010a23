"""Every face in a photo is found, whatever stands beside it; MTCNN alone, or one upright face, ends no search."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from engine_pictures import ORACLE, astronaut, portrait, scaled
from PIL import Image

from fawkes_engine.face import detect
from fawkes_engine.face.align import Similarity
from fawkes_engine.face.centerface import CenterFaceDetector
from fawkes_engine.face.detect import Box, Face, Pixels, area
from fawkes_engine.face.mtcnn import MtcnnDetector
from fawkes_engine.face.search import FaceSearch

pytestmark = pytest.mark.numeric
SIDE = 272
BOX = (100, 60, 188, 175)  # of the face in `square`


@pytest.fixture(scope="module")
def search() -> FaceSearch:
    return FaceSearch(torch.device("cpu"))


def square() -> Pixels:
    return np.ascontiguousarray(portrait()[:SIDE])


def beside(other: Pixels) -> Pixels:
    """A photo of an upright, well lit face on the left and something else on the right."""
    return np.concatenate([square(), other], axis=1)


def on_the_right(search: FaceSearch, photo: Pixels) -> Face:
    """The face on the right; the one on the left is found, too."""
    left, right = sorted(search.every(photo), key=lambda face: face.box[0])
    assert np.abs(np.array(left.box) - BOX).max() < 8
    return right


def turned_box(turns: int) -> Box:
    x0, y0, x1, y1 = BOX
    for _ in range(turns):
        x0, y0, x1, y1 = y0, SIDE - x1, y1, SIDE - x0
    return (SIDE + x0, y0, SIDE + x1, y1)


def lies_turned(face: Face, turns: float) -> float:
    """The angle between a head, from the eyes to the mouth, and one in a picture turned by so many quarter turns."""
    eyes, mouth = face.landmarks[:2].mean(axis=0), face.landmarks[3:].mean(axis=0)
    return float(np.angle(complex(*(mouth - eyes)) / (1j * 1j**-turns)))


def tilted(degrees: float) -> Pixels:
    """`square` turned to the left about its middle; what is then beyond its border is the border's mirror image."""
    wide = np.pad(square(), ((SIDE // 2, SIDE // 2), (SIDE // 2, SIDE // 2), (0, 0)), "reflect")
    whole = Image.fromarray(wide).rotate(degrees, Image.Resampling.BICUBIC)
    return np.asarray(whole)[SIDE // 2 : -SIDE // 2, SIDE // 2 : -SIDE // 2]


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_turned_face_beside_an_upright_one_is_found(search: FaceSearch, turns: int) -> None:
    face = on_the_right(search, beside(np.rot90(square(), turns)))
    assert np.abs(np.array(face.box) - turned_box(turns)).max() < 25
    assert abs(lies_turned(face, turns)) < 0.4


@pytest.mark.parametrize("contrast", [0.3, 0.1])
def test_a_face_of_low_contrast_beside_another_is_found(search: FaceSearch, contrast: float) -> None:
    on_the_right(search, beside((128 + (square() - 128.0) * contrast).astype(np.uint8)))


@pytest.mark.parametrize("light", [0.3, 0.08])
def test_a_dark_face_beside_another_is_found(search: FaceSearch, light: float) -> None:
    on_the_right(search, beside((square() * light).astype(np.uint8)))


@pytest.mark.parametrize("cut", [0.4, 0.6])
def test_a_face_cut_by_the_border_beside_another_is_found(search: FaceSearch, cut: float) -> None:
    right = round(BOX[2] - cut * (BOX[2] - BOX[0]))
    on_the_right(search, beside(square()[:, :right]))


@pytest.mark.parametrize(("edge", "cut"), [("left", 0.65), ("top", 0.7), ("right", 0.65), ("bottom", 0.6)])
def test_less_than_half_a_face_at_an_edge_is_found(search: FaceSearch, edge: str, cut: float) -> None:
    photo, (x0, y0, x1, y1) = scaled(square(), 2), (2 * np.array(BOX)).tolist()
    down, right = round(y0 + cut * (y1 - y0)), round(x0 + cut * (x1 - x0))
    up, left = round(y1 - cut * (y1 - y0)), round(x1 - cut * (x1 - x0))
    other = np.full_like(photo, 128)
    cut_photo, box = {
        "left": (np.concatenate([photo[:, right:], other], axis=1), (x0 - right, y0, x1 - right, y1)),
        "top": (np.concatenate([photo[down:], other]), (x0, y0 - down, x1, y1 - down)),
        "right": (photo[:, :left], (x0, y0, x1, y1)),
        "bottom": (photo[:up], (x0, y0, x1, y1)),
    }[edge]
    (face,) = search.every(np.ascontiguousarray(cut_photo))
    assert face.overlaps(Face(box, face.landmarks, 1.0))


@pytest.mark.parametrize("cut", [-0.1, 0, 0.2, 0.35, 0.5])
@pytest.mark.parametrize("factor", [0.25, 1])
def test_a_face_at_an_edge_is_found_once(search: FaceSearch, cut: float, factor: float) -> None:
    photo = scaled(square(), factor)
    left = round(factor * (BOX[0] + cut * (BOX[2] - BOX[0])))
    ground = np.full((SIDE, SIDE, 3), 128, np.uint8)
    ground[: len(photo), : photo.shape[1] - left] = photo[:, left:]
    assert len(search.every(ground)) == 1


@pytest.mark.parametrize("height_px", [34, 23, 20])
def test_a_small_face_beside_another_is_found(search: FaceSearch, height_px: int) -> None:
    ground = np.full((SIDE, SIDE, 3), 128, np.uint8)
    small = scaled(square(), height_px / 115)
    ground[100 : 100 + len(small), 80 : 80 + len(small)] = small
    assert abs(on_the_right(search, beside(ground)).height_px - height_px) < 8


@pytest.mark.parametrize("turns", [1, 3])
def test_a_small_turned_face_in_a_large_photo_is_found_as_it_lies(search: FaceSearch, turns: int) -> None:
    photo = np.full((400, 1600, 3), 128, np.uint8)
    photo[:SIDE, :SIDE] = square()
    small = np.rot90(scaled(square(), 28 / 115), turns)
    photo[100 : 100 + len(small), 900 : 900 + len(small)] = small
    _, face = search.every(photo)
    assert abs(face.landmarks.mean(axis=0) - (900 + len(small) / 2, 100 + len(small) / 2)).max() < 12
    assert abs(lies_turned(face, turns)) < 0.4


def test_small_faces_are_found_as_they_lie_however_they_are_turned(search: FaceSearch) -> None:
    photo = np.full((96, 1600, 3), 128, np.uint8)  # turned copies of so large a photo are smaller
    turned = (0, 60, 90, 120, 180, 270, 300)
    for i, degrees in enumerate(turned):
        small = scaled(tilted(degrees), 24 / 115)
        photo[8 : 8 + len(small), 200 * i + 50 : 200 * i + 50 + len(small)] = small
    faces = sorted(search.every(photo), key=lambda face: face.box[0])
    assert [round(face.box[0]) // 200 for face in faces] == list(range(len(turned)))
    for face, degrees in zip(faces, turned, strict=True):
        assert abs(lies_turned(face, degrees / 90)) < 0.4, degrees


@pytest.mark.parametrize("turns", [1, 2])
@pytest.mark.parametrize("who", ["CenterFace", "MTCNN"])
def test_a_face_that_one_detector_sees_the_wrong_way_up_is_set_right_by_closer_looks(
    search: FaceSearch, monkeypatch: pytest.MonkeyPatch, turns: int, who: str
) -> None:
    photo = beside(np.full_like(square(), 128))
    (face,) = search.every(photo)
    middle = complex(face.box[0] + face.box[2], face.box[1] + face.box[3]) / 2
    wrong = face.moved(Similarity(1j**turns, (1 - 1j**turns) * middle))
    seen, sure = ([wrong], []) if who == "CenterFace" else ([face], [wrong])
    monkeypatch.setattr(search, "_seen_by_second", lambda *_: (seen, []))
    monkeypatch.setattr(search._first, "detect", lambda _: sure)
    (righted,) = search.every(photo)
    assert np.abs(righted.landmarks - face.landmarks).max() < 8
    assert righted.overlaps(face)


def test_of_a_face_that_both_find_mtcnns_detection_is_kept(search: FaceSearch) -> None:
    (face,) = search.every(astronaut())
    (alone,) = MtcnnDetector(torch.device("cpu")).detect(astronaut())
    assert face.box == alone.box
    assert np.array_equal(face.landmarks, alone.landmarks)


def test_both_mean_the_same_box_and_landmarks_by_a_face() -> None:
    (one,), (other,) = (
        d(torch.device("cpu")).detect(astronaut()) for d in (MtcnnDetector, CenterFaceDetector)
    )
    assert np.abs(np.array(one.box) - other.box).max() < 8
    assert np.abs(one.landmarks - other.landmarks).max() < 8


@pytest.mark.parametrize(
    "texture", ["brick", "grass", "gravel", "coins", "coffee", "rocket", "cat", "moon", "page", "text"]
)
def test_nothing_is_found_where_no_face_is(search: FaceSearch, texture: str) -> None:
    pixels = getattr(ORACLE.data, texture)()
    pixels = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
    assert search.every(np.ascontiguousarray(pixels)) == []


@pytest.mark.parametrize("shape", [(1, 1), (1, 4000), (4000, 1), (47, 300), (300, 12), (5000, 60)])
def test_tiny_and_thin_pictures_have_no_face_and_do_no_harm(
    search: FaceSearch, shape: tuple[int, int]
) -> None:
    assert search.every(np.full((*shape, 3), 200, np.uint8)) == []


def test_a_photo_larger_than_a_tile_is_searched_whole(
    search: FaceSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detect, "_TILE_PX", 700)
    photo = np.full((1200, 1400, 3), 128, np.uint8)
    photo[900:1172, 1100:1372] = square()  # in the last tile of each axis
    photo[270:814, 270:814] = scaled(square(), 2)  # across the borders of four tiles
    large, small = search.every(photo)
    assert large.overlaps(Face((470, 390, 646, 620), large.landmarks, 1.0))
    assert small.overlaps(Face((1200, 960, 1288, 1075), small.landmarks, 1.0))


def test_what_mtcnn_alone_takes_for_a_face_counts_only_if_centerface_sees_one_there_on_a_closer_look(
    search: FaceSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = beside(ORACLE.data.coffee()[:SIDE, :SIDE])
    (face,) = search.every(photo)
    false_alarm = Face((SIDE + 90, 80, SIDE + 170, 180), face.moved(Similarity(1, SIDE)).landmarks, 0.99)
    found = [face, false_alarm]
    monkeypatch.setattr(search, "_seen_by_second", lambda *_: ([], []))
    monkeypatch.setattr(search._first, "search", lambda _: found)
    assert search.every(photo) == [face]


@pytest.mark.parametrize("turns", range(4))
def test_what_centerface_alone_finds_counts_only_if_it_sees_a_face_there_on_a_closer_look(
    search: FaceSearch, monkeypatch: pytest.MonkeyPatch, turns: int
) -> None:
    photo = np.ascontiguousarray(np.rot90(beside(ORACLE.data.coffee()[:SIDE, :SIDE]), turns))
    monkeypatch.setattr(search._first, "detect", lambda _: [])
    (face,) = search.every(photo)
    side = complex(photo.shape[1] - 1, photo.shape[0] - 1) / 2
    opposite = face.moved(Similarity(-1, 2 * side))  # as the face lies in the photo turned by 180 degrees
    monkeypatch.setattr(search, "_seen_by_second", lambda *_: ([face, opposite], []))
    assert search.every(photo) == [face]


@pytest.mark.parametrize(
    ("left", "confidence", "counts"), [(90, 0.45, False), (90, 0.55, True), (-40, 0.45, True)]
)
def test_a_turned_face_is_seen_again_as_surely_as_at_first_unless_the_edge_cuts_it(
    search: FaceSearch, monkeypatch: pytest.MonkeyPatch, left: int, confidence: float, counts: bool
) -> None:
    eyes = np.array([(70, 30), (70, 60), (50, 45), (30, 35), (30, 55)], np.float64)
    turned = Face((left, 80, left + 100, 180), eyes + np.array([left, 80]), 0.55)
    found = [Face((-1e3, -1e3, 1e3, 1e3), eyes, confidence)]
    monkeypatch.setattr(search, "_seen_by_second", lambda *_: ([turned], []))
    monkeypatch.setattr(search._first, "detect", lambda _: [])
    monkeypatch.setattr(search._second, "turned", lambda *_: found)
    assert search.every(np.zeros((SIDE, SIDE, 3), np.uint8)) == [turned] * counts


def test_what_is_seen_unsurely_counts_only_if_it_is_sure_on_a_closer_look(
    search: FaceSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = beside(ORACLE.data.coffee()[:SIDE, :SIDE])
    (face,) = search.every(photo)
    nothing = face.moved(Similarity(1, SIDE))
    monkeypatch.setattr(search, "_seen_by_second", lambda *_: ([], [face, nothing]))
    monkeypatch.setattr(search._first, "search", lambda _: [])
    (found,) = search.every(photo)
    assert np.array_equal(found.box, face.box)


def test_what_is_seen_unsurely_at_the_edge_does_not_count(search: FaceSearch) -> None:
    """In this photo's mirrored corner a face of 22 px was seen, and the photo was held for it."""
    stream = io.BytesIO()
    Image.fromarray(ORACLE.data.astronaut()[1:]).save(stream, "JPEG", quality=95)

    (face,) = search.every(np.asarray(Image.open(stream)))

    assert area(face.box) > 80 * 100
