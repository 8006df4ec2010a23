"""Studies of photos whose worth is known: people are colours, and a tracker sees nothing but the mean colour."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_pictures import encoded, portrait
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import nn

from fawkes_engine import EvaluationError
from fawkes_engine.evaluation import Run, Tracker, studies
from fawkes_engine.evaluation.data.publication import Publication
from fawkes_engine.evaluation.metrics.rates import Rate
from fawkes_engine.evaluation.studies import STUDIES, Material, Study, disruption
from fawkes_engine.evaluation.studies.adaptive import within_class_whitening
from fawkes_engine.evaluation.studies.cache import Cache
from fawkes_engine.evaluation.studies.detection import Scores, rewritten, roc
from fawkes_engine.evaluation.studies.hog import HogDetector
from fawkes_engine.evaluation.studies.leak import SHARES, leaked
from fawkes_engine.evaluation.studies.linkage import area_under_roc, areas, nearest_is_own
from fawkes_engine.evaluation.studies.material import ORIGINALS, Faces, StudyPhoto, folds, mode_of
from fawkes_engine.evaluation.trackers.heads import HEADS, Labelled, unit
from fawkes_engine.evaluation.trackers.sightings import Crop
from fawkes_engine.extractors.base import ARCFACE_CHIP_PX, ARCFACE_TEMPLATE
from fawkes_engine.face.detect import Face, Pixels
from fawkes_engine.face.mtcnn import MtcnnDetector
from fawkes_engine.modes import MODES
from fawkes_engine.photo.decode import decode

pytestmark = pytest.mark.numeric
CPU = torch.device("cpu")
RUN = Run("2026-11-23T10:00:00+00:00", "fawkesd study")
USERS = {"ada": (200, 40, 40), "ben": (40, 200, 40), "cyd": (40, 40, 200), "dee": (200, 200, 40)}
OTHERS = {"eve": (40, 200, 200), "fay": (200, 40, 200), "gus": (120, 60, 10)}
NEXT = dict(zip(USERS, [*list(USERS)[1:], "ada"], strict=True))
PHOTOS = 4


class Everywhere:
    """Finds a face that fills the photo."""

    name = "everywhere"

    def detect(self, pixels: Pixels) -> list[Face]:
        height, width = pixels.shape[:2]
        return [Face((0, 0, width, height), ARCFACE_TEMPLATE * (width / ARCFACE_CHIP_PX), 1.0)]


def photo(name: str, colour: tuple[int, int, int], *, striped: bool = False) -> StudyPhoto:
    random = np.random.default_rng([*name.encode()])
    pixels = np.full((112, 112, 3), colour) + random.normal(0, 5, (112, 112, 3))
    if striped:
        pixels[::4] += 20
    return StudyPhoto(name, encoded(np.clip(pixels, 0, 255).astype(np.uint8), "PNG"))


def photos(people: dict[str, tuple[int, int, int]], first: int, *, striped: bool = False) -> list[StudyPhoto]:
    numbers = range(first, first + PHOTOS)
    return [photo(f"{who}/{n}", colour, striped=striped) for who, colour in people.items() for n in numbers]


def tracker() -> Tracker:
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3, bias=False))
    network[2].weight.data = torch.eye(3)
    return Tracker(
        name="colour",
        input="colour",
        sha256=None,
        crop=Crop(ARCFACE_CHIP_PX, ARCFACE_TEMPLATE),
        embed=lambda chips: network(chips).numpy(),
        network=network.requires_grad_(False),
        device=CPU,
    )


@pytest.fixture
def material(tmp_path: Path) -> Material:
    """Perfect cloaks: each user publishes the next one's colour, with stripes on it."""
    swapped = {who: USERS[NEXT[who]] for who in USERS}
    return Material(
        seed=0,
        cloaked={"standard": photos(swapped, 0, striped=True)},
        originals=photos(USERS, 0),
        tested=photos(USERS, 10),
        others=photos(OTHERS, 0),
        more_others=[],
        trackers=[tracker()],
        detector=Everywhere(),
        cache=Cache(tmp_path / "cache"),
        on_step=lambda doing: None,
    )


def shares(study: Study, table: int = 0) -> dict[tuple[str, ...], list[float | None]]:
    return {
        row.labels: [rate.share if rate else None for rate in row.rates] for row in study.tables[table].rows
    }


def test_recognition_grows_with_the_share_of_leaked_originals_from_none_to_all(material: Material) -> None:
    curves = shares(STUDIES["leak"](material))
    assert len(curves) == len(HEADS)
    for curve in curves.values():
        assert len(curve) == len(SHARES)
        assert (curve[0], curve[-1]) == (0.0, 1.0)


@given(sizes=st.lists(st.integers(1, 12), min_size=1, max_size=20), share=st.sampled_from(SHARES))
def test_leaked_photos_are_as_many_as_the_share_says_of_all_and_nearly_of_each(
    sizes: list[int], share: float
) -> None:
    published = [StudyPhoto(f"p{who}/{n}", b"") for who, size in enumerate(sizes) for n in range(size)]
    out = leaked(published, share, seed=0)
    assert abs(len(out) - share * len(published)) <= 0.5
    for who, size in enumerate(sizes):
        count = sum(name.startswith(f"p{who}/") for name in out)
        assert abs(count - share * size) <= 1


def test_a_larger_gallery_has_all_people_there_are(material: Material) -> None:
    study = STUDIES["gallery"](material)
    by_people, by_photos = study.tables
    assert by_people.columns == ("7 people",)
    assert shares(study) == {("colour", ORIGINALS): [1.0], ("colour", "standard"): [0.0]}
    assert by_photos.columns == ("2 photos", "5 photos", "10 photos")


def test_a_gallery_of_further_people_takes_names_away(material: Material) -> None:
    # one of those further people looks like ada, and the tracker has more of him
    doubles = [photo(f"hal/{n}", USERS["ada"]) for n in range(30)]
    crowded = replace(material, more_others=doubles)
    alone, with_double = (shares(STUDIES["gallery"](some)) for some in (material, crowded))
    before, after = alone["colour", ORIGINALS][0], with_double["colour", ORIGINALS][-1]
    assert before is not None
    assert after is not None
    assert after < before


def test_photos_of_one_colour_are_linked_cloaked_or_not(material: Material) -> None:
    linked = shares(STUDIES["linkage"](material))
    assert linked == {("colour", ORIGINALS): [1.0, 1.0], ("colour", "standard"): [1.0, 1.0]}


@given(
    positives=hnp.arrays(np.int64, st.integers(1, 12), elements=st.integers(0, 5)),
    negatives=hnp.arrays(np.int64, st.integers(1, 12), elements=st.integers(0, 5)),
)
def test_the_area_under_the_roc_is_the_share_of_pairs_in_order(
    positives: np.typing.NDArray[np.int64], negatives: np.typing.NDArray[np.int64]
) -> None:
    pairs = [1.0 if p > n else 0.5 if p == n else 0.0 for p in positives for n in negatives]
    assert area_under_roc(positives, negatives) == pytest.approx(np.mean(pairs))


def test_photos_that_all_look_alike_are_linked_by_chance() -> None:
    names = tuple(f"p{who}/{n}" for who in range(10) for n in range(10))
    vectors = unit(np.random.default_rng(0).standard_normal((100, 16)).astype(np.float32))
    alike = Faces(names, vectors)
    assert np.mean(areas(alike)) == pytest.approx(0.5, abs=0.05)
    assert sum(outcome.recognised for outcome in nearest_is_own(alike)) < 25


def test_an_adaptive_tracker_sees_through_a_cloak_that_is_alike_on_everybody(material: Material) -> None:
    tint = {who: (r, g, min(255, b + 150)) for who, (r, g, b) in USERS.items()}
    bluish = [
        StudyPhoto(p.name, photo(p.name, tint[p.person], striped=True).data)
        for p in material.cloaked["standard"]
    ]
    study = STUDIES["adaptive"](replace(material, cloaked={"standard": bluish}))
    assert study.tables[0].columns == (ORIGINALS, "standard")
    found = {way: row for (_, way), row in shares(study).items()}
    assert list(found) == ["as it is", "projection", "network trained"]
    before, after = found["as it is"][1], found["projection"][1]
    assert before is not None
    assert after is not None
    assert after > before


def test_whitening_scales_down_what_differs_within_a_person() -> None:
    random = np.random.default_rng(0)
    names = tuple(f"p{i % 5}" for i in range(200))
    vectors = random.standard_normal((200, 3)) * [0.01, 1.0, 0.01]
    vectors[:, 0] += np.arange(200) % 5  # who it is, in the first direction alone
    matrix = within_class_whitening(Labelled(names, vectors.astype(np.float32)))
    assert np.allclose(matrix, matrix.T, atol=1e-4)
    assert matrix[0, 0] > 3 * matrix[1, 1]


def test_a_cloak_that_shows_is_detected_on_people_who_were_not_learned(material: Material) -> None:
    alike = dict.fromkeys(USERS, (120, 110, 100))
    plain, striped = (photos(alike, 0, striped=cloaked) for cloaked in (False, True))
    many = replace(material, originals=plain, cloaked={"strong": striped})
    (rates,) = shares(STUDIES["detection"](many)).values()
    assert rates[0] is not None
    assert rates[0] > 0.95


def scores(cloaked: Iterable[float], clean: Iterable[float]) -> Scores:
    high, low = list(cloaked), list(clean)
    people = np.array([f"p{i % 3}" for i in range(len(high))] + [f"p{i % 3}" for i in range(len(low))])
    flags = np.array([True] * len(high) + [False] * len(low))
    return Scores(people, flags, np.array(high + low, np.float32))


def test_the_roc_of_certain_and_of_blind_detectors() -> None:
    certain = roc(scores(range(100, 130), range(30)), seed=0)
    blind = roc(scores(range(30), range(30)), seed=0)
    assert [rate.share for rate in certain] == [1.0] * 4
    assert blind[0].share == pytest.approx(0.5)
    assert [rate.share for rate in blind[1:]] == pytest.approx([0.01, 0.05, 0.2], abs=0.04)


def test_a_clean_photo_is_written_anew_as_its_published_file_is() -> None:
    original = encoded(portrait(), "JPEG", quality=70)
    published = encoded(portrait(), "JPEG", quality=97, subsampling=0)
    again = rewritten(original, published)
    assert decode(again).jpeg_quality == decode(published).jpeg_quality
    assert np.abs(decode(again).pixels.astype(int) - decode(original).pixels).mean() < 1.5


def test_a_network_trained_from_scratch_knows_who_it_learned(material: Material) -> None:
    # Training follows rounding and comes out a little otherwise on each CPU. From these weights to begin with it knows
    # all four people; from most it does, from some one of them is missed.
    ((original, cloaked),) = shares(STUDIES["scratch"](replace(material, seed=1))).values()
    assert original is not None
    assert original > 0.7
    assert cloaked == 0.0


def test_a_fine_tuned_tracker_learns_what_was_published(material: Material) -> None:
    assert shares(STUDIES["fine-tune"](material)) == {("colour",): [1.0, 0.0]}


def test_only_pytorch_trackers_can_be_fine_tuned(material: Material) -> None:
    onnx_only = replace(material, trackers=[replace(tracker(), network=None)])
    with pytest.raises(EvaluationError, match="only PyTorch trackers"):
        STUDIES["fine-tune"](onnx_only)


def test_disruption_is_of_the_users_photos(material: Material, monkeypatch: pytest.MonkeyPatch) -> None:
    turned = []

    def turn(data: bytes) -> bytes:
        turned.append(data)
        return encoded(np.full((112, 112, 3), USERS["ada"], np.uint8), "PNG")

    monkeypatch.setattr(disruption, "DISRUPTIONS", {"paint it red": turn})
    monkeypatch.setattr(disruption, "HogDetector", Everywhere)
    found = shares(STUDIES["disruption"](material))
    assert list(found) == [
        ("colour", "nothing"),
        ("colour", "paint it red"),
        ("colour", "aligned by dlib's HOG and landmarks"),
    ]
    assert found["colour", "nothing"] == found["colour", "aligned by dlib's HOG and landmarks"] == [1.0, 0.0]
    assert set(turned) == {p.data for pile in material.learned.values() for p in pile}


def test_both_detectors_agree_on_a_face() -> None:
    ours, dlibs = (detector.detect(portrait())[0] for detector in (MtcnnDetector(CPU), HogDetector()))
    assert dlibs.landmarks == pytest.approx(ours.landmarks, abs=6)
    assert dlibs.overlaps(ours)


@given(count=st.integers(2, 6), people=st.integers(6, 30))
def test_everybody_is_held_out_once(count: int, people: int) -> None:
    names = [str(i) for i in range(people)]
    parts = folds(names, count)
    assert sorted(name for part in parts for name in part) == sorted(names)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_too_few_people_to_hold_some_out_are_refused() -> None:
    with pytest.raises(EvaluationError, match="4 people are needed"):
        folds(["ada"], 4)


def test_what_was_computed_is_not_computed_again_until_something_changes(tmp_path: Path) -> None:
    calls = []

    def make() -> np.typing.NDArray[np.float64]:
        calls.append(1)
        return np.arange(3.0)

    for made_from in (["a", "b"], ["a", "b"], ["a", "c"]):
        assert Cache(tmp_path).array(made_from, make).tolist() == [0, 1, 2]
    assert len(calls) == 2


def test_a_damaged_file_of_the_cache_is_named(tmp_path: Path) -> None:
    Cache(tmp_path).array(["a"], lambda: np.zeros(3))
    (file,) = tmp_path.iterdir()
    file.write_bytes(b"nonsense")
    with pytest.raises(EvaluationError, match=f"{file.name} is damaged"):
        Cache(tmp_path).array(["a"], lambda: np.zeros(3))


@pytest.mark.parametrize("name", MODES)
def test_the_mode_of_a_publication_is_told_by_its_settings(name: str) -> None:
    mode = {str(known): value for known, value in MODES.items()}[name]
    limits = mode.budget
    budget = asdict(limits)
    made = Publication("x", {"budget": budget, "steps": mode.steps}, (), (), 1.0)
    assert mode_of(made) == name
    assert mode_of(replace(made, settings={"budget": budget | {"dssim": 0.01}})) == "DSSIM 0.01"


def test_a_study_is_told_with_everything_that_makes_it_repeatable(material: Material) -> None:
    study = STUDIES["linkage"](material)
    told = json.loads(studies.as_json(study, RUN))
    assert (told["command"], told["seed"], told["people"]) == ("fawkesd study", 0, list(USERS))
    text = studies.as_markdown(study, RUN)
    assert text.startswith("## Linking a user's cloaked photos to each other\n")
    assert "4 people, seed 0; 2026-11-23, `fawkesd study`" in text
    assert "| colour | standard | 100.0 % [100, 100] | 100.0 % [100, 100] |" in text


def test_a_figure_that_is_not_there_leaves_its_cell_empty(material: Material) -> None:
    study = STUDIES["linkage"](material)
    (found,) = study.tables
    row = replace(found.rows[0], rates=(Rate(0.5, 0.25, 0.75), None))
    text = studies.as_markdown(replace(study, tables=(replace(found, rows=(row,)),)), RUN)
    assert "| colour | as they were | 50.0 % [25, 75] |  |" in text
