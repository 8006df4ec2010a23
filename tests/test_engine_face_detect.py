"""Where the faces are, and the transforms between pictures."""

from __future__ import annotations

import cmath

import numpy as np
import numpy.typing as npt
import pytest
import torch
from engine_pictures import ORACLE, astronaut, grey, scaled
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fawkes_engine.face.align import Similarity
from fawkes_engine.face.detect import Face
from fawkes_engine.face.mtcnn import MtcnnDetector

pytestmark = pytest.mark.numeric
BOX = (180, 60, 268, 175)  # of the astronaut's face
EYES = (204, 101), (247, 104)


@pytest.fixture(scope="module")
def detector() -> MtcnnDetector:
    return MtcnnDetector(torch.device("cpu"))


def face_at(box: tuple[float, float, float, float]) -> Face:
    return Face(box, np.zeros((5, 2)), 1.0)


@pytest.mark.parametrize("factor", [0.35, 0.5, 1, 2, 3, 5])
def test_the_face_is_found_at_every_size_from_40_px_on(detector: MtcnnDetector, factor: float) -> None:
    (face,) = detector.detect(scaled(astronaut(), factor))
    assert np.abs(np.array(face.box) / factor - BOX).max() < 8
    assert np.abs(face.landmarks[:2] / factor - EYES).max() < 6
    assert abs(face.height_px - 115 * factor) < 8 * factor
    assert face.confidence > 0.9


@pytest.mark.parametrize("factor", [0.35, 0.45])
def test_a_small_face_in_a_large_photo_is_found(detector: MtcnnDetector, factor: float) -> None:
    photo = np.full((2400, 3200, 3), 128, np.uint8)
    small = scaled(astronaut(), factor)
    photo[1500 : 1500 + len(small), 700 : 700 + len(small)] = small
    (face,) = detector.detect(photo)
    assert np.abs((np.array(face.box) - (700, 1500, 700, 1500)) / factor - BOX).max() < 10


def test_a_grey_and_a_mirrored_face_are_found(detector: MtcnnDetector) -> None:
    assert len(detector.detect(np.repeat(grey(astronaut())[..., None], 3, axis=2))) == 1
    (mirrored,) = detector.detect(np.ascontiguousarray(astronaut()[:, ::-1]))
    assert abs(mirrored.box[0] - (512 - BOX[2])) < 8
    # left and right are those of the picture
    assert mirrored.landmarks[0, 0] < mirrored.landmarks[1, 0]


def test_faces_come_largest_first(detector: MtcnnDetector) -> None:
    photo = np.zeros((640, 900, 3), np.uint8)
    photo[:256, :256] = scaled(astronaut(), 0.5)
    photo[:512, 300:812] = astronaut()
    heights = [face.height_px for face in detector.detect(photo)]
    assert len(heights) == 2
    assert heights[0] > 1.6 * heights[1]


@pytest.mark.parametrize("cut", [0.3, 0.5])
def test_a_face_cut_by_the_border_is_found_and_its_box_touches_the_photo(
    detector: MtcnnDetector, cut: float
) -> None:
    left = round(BOX[0] + cut * (BOX[2] - BOX[0]))
    photo = np.ascontiguousarray(astronaut()[:, left:])
    for face in detector.detect(photo):
        assert face.box[2] > 0
        assert face.box[0] < photo.shape[1]
    if cut < 0.4:
        assert len(detector.detect(photo)) == 1


@pytest.mark.parametrize("texture", ["brick", "grass", "gravel", "coins", "coffee", "rocket"])
def test_nothing_is_found_where_no_face_is(detector: MtcnnDetector, texture: str) -> None:
    pixels = getattr(ORACLE.data, texture)()
    pixels = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
    assert detector.detect(np.ascontiguousarray(pixels)) == []


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 4000), (4000, 1), (19, 19), (47, 300), (48, 48), (300, 12), (5000, 60)]
)
def test_tiny_and_thin_pictures_have_no_face_and_do_no_harm(
    detector: MtcnnDetector, shape: tuple[int, int]
) -> None:
    assert detector.detect(np.full((*shape, 3), 200, np.uint8)) == []


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_search_finds_a_face_lying_on_its_side_or_on_its_head(detector: MtcnnDetector, turns: int) -> None:
    (upright,) = detector.detect(astronaut())
    (lying,) = detector.search(np.ascontiguousarray(np.rot90(astronaut(), turns)))
    # turned about the centre of the picture, whose pixels are counted at their centres
    back = Similarity(1j**turns, (1 - 1j**turns) * complex(255.5, 255.5))
    moved_back = lying.moved(back)
    assert np.abs(np.array(moved_back.box) - upright.box).max() < 3
    assert np.abs(moved_back.landmarks - upright.landmarks).max() < 3


def test_a_search_of_an_upright_photo_is_a_detection(detector: MtcnnDetector) -> None:
    assert [face.box for face in detector.search(astronaut())] == [
        face.box for face in detector.detect(astronaut())
    ]


def test_a_search_finds_nothing_in_a_texture_and_in_thin_pictures(detector: MtcnnDetector) -> None:
    for shape in ((1, 4000), (4000, 1), (30, 30)):
        assert detector.search(np.full((*shape, 3), 90, np.uint8)) == []
    assert detector.search(np.repeat(ORACLE.data.brick()[..., None], 3, axis=2)) == []


def test_a_photo_that_is_detected_in_at_full_size_is_searched_once_in_each_turn(
    detector: MtcnnDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    def nothing(copy: Image.Image, scale: float) -> list[Face]:
        sizes.append(copy.size)
        return []

    monkeypatch.setattr(detector, "_on_copy", nothing)
    detector.search(np.zeros((60, 80, 3), np.uint8))
    assert sizes == [(80, 60), (60, 80), (80, 60), (60, 80)]


@pytest.mark.parametrize("turns", range(4))
def test_a_face_turned_with_the_photo_keeps_its_size_and_its_landmarks_inside(turns: int) -> None:
    face = Face((10.0, 20.0, 40.0, 60.0), np.array([[15.0, 30], [35, 30], [25, 40], [18, 50], [32, 50]]), 0.9)
    moved = face.moved(Similarity(1j**turns, 200 + 300j))
    sides = (moved.box[2] - moved.box[0], moved.box[3] - moved.box[1])
    assert sides == pytest.approx((30, 40) if turns % 2 == 0 else (40, 30))
    x, y = moved.landmarks.T
    assert x.min() > moved.box[0]
    assert y.min() > moved.box[1]
    assert x.max() < moved.box[2]
    assert y.max() < moved.box[3]
    assert moved.confidence == face.confidence


def test_detection_repeats_exactly(detector: MtcnnDetector) -> None:
    one, other = (detector.detect(astronaut())[0] for _ in range(2))
    assert one.box == other.box
    assert np.array_equal(one.landmarks, other.landmarks)


def test_boxes_of_one_face_overlap_and_those_of_neighbours_do_not() -> None:
    face = face_at((0, 0, 100, 100))
    assert face.overlaps(face)
    assert face.overlaps(face_at((20, 20, 110, 110)))
    assert face.overlaps(face_at((40, 40, 60, 60)))
    assert not face.overlaps(face_at((60, 0, 160, 100)))
    assert not face.overlaps(face_at((100, 0, 200, 100)))
    assert not face.overlaps(face_at((-200, -200, -100, -100)))


coordinate = st.floats(-1000, 1000)
place = st.complex_numbers(max_magnitude=2000, allow_nan=False, allow_infinity=False)
turns = st.builds(cmath.rect, st.floats(0.05, 20), st.floats(-cmath.pi, cmath.pi))
similarities = st.builds(Similarity, turns, place)


def moved(points: npt.NDArray[np.float64], transform: Similarity) -> npt.NDArray[np.float64]:
    mapped = transform.turn * (points[:, 0] + 1j * points[:, 1]) + transform.shift
    return np.stack([mapped.real, mapped.imag], axis=1)


@given(transform=similarities, seed=st.integers(0, 10_000))
def test_fit_recovers_any_similarity_from_five_points(transform: Similarity, seed: int) -> None:
    points = np.random.default_rng(seed).uniform(0, 150, (5, 2))
    fitted = Similarity.fit(points, moved(points, transform))
    assert abs(fitted.turn - transform.turn) < 1e-6
    assert abs(fitted.shift - transform.shift) < 1e-4


@given(transform=similarities, x=coordinate, y=coordinate)
def test_the_inverse_leads_back(transform: Similarity, x: float, y: float) -> None:
    point = np.array([[x, y]])
    assert np.allclose(moved(moved(point, transform), transform.inverse()), point, rtol=1e-6, atol=1e-6)


@given(first=similarities, then=similarities, x=coordinate, y=coordinate)
def test_after_is_one_transform_behind_the_other(
    first: Similarity, then: Similarity, x: float, y: float
) -> None:
    point = np.array([[x, y]])
    assert np.allclose(
        moved(point, then.after(first)), moved(moved(point, first), then), rtol=1e-6, atol=1e-6
    )


@given(seed=st.integers(0, 10_000))
def test_fit_is_the_best_similarity_for_points_that_do_not_fit_exactly(seed: int) -> None:
    rng = np.random.default_rng(seed)
    source, destination = rng.uniform(0, 150, (2, 5, 2))
    best = Similarity.fit(source, destination)
    error = np.square(moved(source, best) - destination).sum()
    nearby = Similarity(
        best.turn + complex(*rng.normal(0, 0.01, 2)), best.shift + complex(*rng.normal(0, 1, 2))
    )
    assert error <= np.square(moved(source, nearby) - destination).sum() + 1e-9


@pytest.mark.parametrize("height", [12, 13, 14, 267, 268, 530, 790])
def test_in_strips_p_net_has_the_values_of_the_whole(detector: MtcnnDetector, height: int) -> None:
    in_strips = detector._mtcnn.pnet
    levels = torch.randn(1, 3, height, 90, generator=torch.Generator().manual_seed(height))
    with torch.no_grad():
        pairs = zip(in_strips(levels), in_strips._pnet(levels), strict=True)
        assert all(
            strips.shape == whole.shape and torch.allclose(strips, whole, atol=1e-5)
            for strips, whole in pairs
        )
