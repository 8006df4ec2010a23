"""Several surrogates together: they take turns, and each is reported; people are known by the first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from batches import ENGINE_THREADS
from engine_pictures import Shelf, encoded, opened, portrait
from small_onnx import Graph, mobile_net

from fawkes_engine import MODES, EngineError, EngineSettings, Protected, Request, WeightsError, extractors
from fawkes_engine.engine import Engine
from fawkes_engine.face.align import sample_chips
from fawkes_engine.face.canvas import to_tensor
from fawkes_engine.face.mtcnn import MtcnnDetector
from fawkes_engine.identity.people import People
from fawkes_engine.identity.targets import Pool
from fawkes_engine.weights import catalog

pytestmark = pytest.mark.numeric
SETTINGS = EngineSettings(steps=20, device="cpu", threads=ENGINE_THREADS)


@pytest.fixture
def small(tmp_path: Path) -> str:
    """A recogniser of the user's own, which the pool knows nothing of."""
    return f"onnx:{mobile_net(Graph()).write(tmp_path / 'small.onnx')}"


def cloaked(settings: EngineSettings, shelf: Shelf | None = None) -> Protected:
    (result,) = Engine(settings, shelf or Shelf()).protect([Request(encoded(portrait(), "PNG"), "ada")])
    assert isinstance(result, Protected), result
    return result


def test_a_recogniser_of_ones_own_joins_and_only_pushes_away(small: str) -> None:
    (face,) = cloaked(replace(SETTINGS, extractors=("dlib", small))).report.faces
    assert set(face.cosine_own) == {"dlib", small}
    assert set(face.cosine_target) == {"dlib"}


def test_the_ensemble_on_disk_is_the_default(tmp_path: Path) -> None:
    assert catalog.best_on_disk(tmp_path) == ("dlib",)
    catalog.path("sface", tmp_path).write_bytes(b"weights")
    assert catalog.best_on_disk(tmp_path) == ("dlib", "sface")
    with pytest.raises(WeightsError, match="models fetch sface"):  # there, but not the pinned ones
        Engine(replace(SETTINGS, models_dir=tmp_path), Shelf())


def test_people_are_told_apart_by_dlib_in_every_ensemble(small: str) -> None:
    with pytest.raises(EngineError, match="dlib must be among the extractors"):
        Engine(replace(SETTINGS, extractors=(small,)), Shelf())


def test_an_extractor_that_came_later_gets_the_same_identity() -> None:
    pool, shelf = Pool.load(), Shelf()
    people = People(shelf, pool)
    face = np.random.default_rng(1).normal(size=(2, 128)).astype(np.float32)
    people.meet("ada", {"dlib": face / np.linalg.norm(face, axis=1, keepdims=True)}, [b"photo"])
    chosen = shelf.targets["ada"]
    shelf.targets["ada"] = replace(chosen, vectors={"dlib": chosen.vectors["dlib"]})
    later = People(shelf, pool)
    mixture = pool.mixture(chosen.identity)
    assert mixture is not None
    vector = later.vector("ada", "sface")
    assert vector is not None
    np.testing.assert_array_equal(vector, pool.vector("sface", mixture))
    assert later.vector("ada", "of-nobody") is None


def test_a_cloak_is_grey_rather_than_coloured() -> None:
    result = cloaked(SETTINGS)
    before = portrait().astype(float)
    change = np.asarray(opened(result.data).convert("RGB"), float) - before
    grey = change.mean(axis=2, keepdims=True)
    assert np.square(change - grey).mean() < 0.25 * np.square(grey).mean()


def test_strong_shows_more_and_moves_a_face_farther_than_standard() -> None:
    standard, strong = (
        cloaked(replace(SETTINGS, budget=MODES[mode].budget, steps=30)).report.faces[0]
        for mode in ("standard", "strong")
    )
    assert standard.dssim <= MODES["standard"].budget.dssim < strong.dssim <= MODES["strong"].budget.dssim
    assert strong.cosine_own["dlib"] < standard.cosine_own["dlib"]


def test_a_second_turn_in_each_round_moves_a_face_farther_from_itself_there(small: str) -> None:
    equal, twice = (
        cloaked(replace(SETTINGS, extractors=("dlib", small), second_turns=turns)).report.faces[0]
        for turns in ((), ("dlib",))
    )
    assert twice.cosine_own["dlib"] < equal.cosine_own["dlib"] - 0.02
    assert twice.dssim <= SETTINGS.budget.dssim


def test_second_turns_tell_engines_apart_only_where_they_are_taken(small: str) -> None:
    ours = replace(SETTINGS, extractors=("dlib", small))
    plain, twice, absent = (
        Engine(replace(ours, second_turns=turns), Shelf()).fingerprint for turns in ((), (small,), ("sface",))
    )
    assert plain == absent != twice


@pytest.mark.slow
def test_the_fetched_ensemble_fools_what_one_surrogate_does_not(fetched_models: Path) -> None:
    settings = replace(SETTINGS, steps=45, models_dir=fetched_models)
    together, alone = cloaked(settings), cloaked(replace(settings, extractors=("dlib",)))
    (face,) = together.report.faces
    assert tuple(face.cosine_own) == tuple(face.cosine_target) == catalog.best_on_disk(fetched_models)
    assert likeness(together, "sface", fetched_models) < likeness(alone, "sface", fetched_models) - 0.15


def likeness(result: Protected, name: str, models_dir: Path) -> float:
    """Cosine of the published face and the original one, as a tracker with this recogniser sees them."""
    cpu = torch.device("cpu")
    extractor = extractors.load(name, Pool.load().mean(name), cpu, models_dir)
    chips = []
    for pixels in (portrait(), np.asarray(opened(result.data).convert("RGB"))):
        (face,) = MtcnnDetector(cpu).detect(pixels)
        chips.append(sample_chips(to_tensor(pixels)[None], [extractor.onto_photo(face)], extractor.chip_px))
    original, published = extractor.embed(torch.cat(chips))
    return float(original @ published)
