"""Audits of published photos whose worth is known: perfect cloaks show somebody else, leaks the user."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from engine_pictures import encoded
from evaluation_pictures import make_data, photo_of

from fawkes_engine import EvaluationError
from fawkes_engine.evaluation import HEADS, Tracker
from fawkes_engine.evaluation.audit import CLEAN, PUBLISHED, WITHOUT_LEAKS, Audit, OwnPhoto, audit
from fawkes_engine.evaluation.metrics.rates import rate_of_one
from fawkes_engine.evaluation.trackers import tracker
from fawkes_engine.identity.targets import Pool

pytestmark = pytest.mark.numeric
NOBODY = encoded(np.full((200, 200, 3), 127, np.uint8), "PNG")


@pytest.fixture(scope="module")
def dlib() -> Tracker:
    return tracker.load("dlib", torch.device("cpu"), pool=Pool.load())


def photos(person: str, prefix: str) -> list[OwnPhoto]:
    """Four photos; the published ones say which clean one they were made of."""
    return [OwnPhoto(f"{prefix}-{n}", photo_of(person, n), f"clean-{n}") for n in range(4)]


@pytest.fixture(scope="module")
def leaky(dlib: Tracker) -> Audit:
    """Three perfect cloaks, and two photos that were published as they are: one of the clean ones, and another."""
    published = [
        *photos("ben", "cloaked")[:3],
        *photos("ada", "leak")[3:],
        OwnPhoto("loose", photo_of("ada", 2)),
    ]
    return audit(published, [*photos("ada", "clean"), OwnPhoto("empty", NOBODY)], [dlib])


def shares(found: Audit) -> dict[tuple[str, str], float]:
    return {(row.head, row.learned): row.recognised.share for row in found.rows}


def test_perfect_cloaks_name_nobody_and_clean_photos_the_user(dlib: Tracker) -> None:
    found = audit(photos("ben", "cloaked"), photos("ada", "clean"), [dlib])
    assert shares(found) == {(h, g): float(g == CLEAN) for h in HEADS for g in (CLEAN, PUBLISHED)}
    assert not found.leaked
    assert set(found.named.values()) == {0}
    assert found.other_people == {"dlib": len(Pool.load().identities)}


def test_leaks_are_named_and_what_would_be_without_them(leaky: Audit) -> None:
    assert leaky.leaked == ["leak-3", "loose"]
    for head in ("nearest", "linear"):
        assert shares(leaky)[head, PUBLISHED] == 1
    for head in HEADS:
        assert shares(leaky)[head, WITHOUT_LEAKS] == 0
    assert set(leaky.named.values()) == {1}


def test_a_photo_without_a_face_is_told_and_counts_nowhere(leaky: Audit) -> None:
    assert leaky.faceless == ["empty"]
    assert leaky.clean == [f"clean-{n}" for n in range(4)]


def test_what_was_made_of_a_photo_that_is_asked_about_is_not_learned(dlib: Tracker) -> None:
    clean = photos("ada", "clean")[:2]
    same = [OwnPhoto("copy", clean[0].data, "clean-0"), OwnPhoto("other", photo_of("ben", 0), "clean-1")]
    found = audit(same, clean, [dlib])
    assert found.named == {"clean-0": 0, "clean-1": 1}


def test_a_folder_of_other_people_takes_the_place_of_the_pool(dlib: Tracker, tmp_path: Path) -> None:
    data = make_data(tmp_path)
    found = audit(photos("ben", "cloaked"), photos("ada", "clean"), [dlib], gallery=data / "others")
    assert found.other_people == {"dlib": 4}


def test_what_cannot_be_audited_is_told(dlib: Tracker, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="at least 1 and 2 are needed"):
        audit([OwnPhoto("empty", NOBODY)], photos("ada", "clean"), [dlib])
    unknown = Tracker("new.onnx", "arcface", None, dlib.crop, dlib.embed, None, dlib.device)
    with pytest.raises(EvaluationError, match=r"new\.onnx needs other people .* --gallery"):
        audit(photos("ben", "cloaked"), photos("ada", "clean"), [dlib, unknown])


@pytest.mark.parametrize(
    ("recognised", "tried", "low", "high"), [(0, 10, 0, 0.2775), (10, 10, 0.7225, 1), (5, 10, 0.2366, 0.7634)]
)
def test_the_interval_of_one_person_is_wilsons(recognised: int, tried: int, low: float, high: float) -> None:
    # the values of statsmodels' proportion_confint(method="wilson")
    rate = rate_of_one(recognised, tried)
    assert (rate.low, rate.high) == pytest.approx((low, high), abs=2e-4)
