"""The study of decoys, on publications and decoys whose worth is known."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from benchmarks import sybil
from evaluation_pictures import make_data, photo_of
from test_evaluation_protection import publication, published

from fawkes_engine import EvaluationError
from fawkes_engine.evaluation import Split, Tracker, draw, load_trackers
from fawkes_engine.evaluation.data.splits import unused_people

pytestmark = pytest.mark.numeric
OTHER = {"ada": "ben", "ben": "ada"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def split(data: Path) -> Split:
    return draw(data, people=1, cloaked=2, tested=2)


@pytest.fixture(scope="module")
def trackers() -> list[Tracker]:
    return load_trackers(["dlib"], torch.device("cpu"))


def shares(
    split: Split, trackers: list[Tracker], decoys: list[bytes], head: str
) -> dict[tuple[float, int], float]:
    """(leaked, decoys per photo) -> recognition; the users publish somebody else's face."""
    cloaked = publication(
        *(published(p, photo_of(OTHER[p.parent.name], n)) for n, p in enumerate(split.cloaked))
    )
    rows = sybil.study(cloaked, {user.name: decoys for user in split.users}, trackers, split)
    return {(r.leaked, r.decoys_per_photo): r.recognised.share for r in rows if r.head == head}


def test_a_leak_gives_the_user_away_and_perfect_decoys_draw_the_guess(
    split: Split, trackers: list[Tracker]
) -> None:
    perfect = [photo.read_bytes() for photo in split.tested] * 2
    found = shares(split, trackers, perfect, "nearest")
    assert (found[0.0, 0], found[0.5, 0]) == (0, 1)
    assert [found[leaked, count] for leaked in sybil.LEAKS for count in (1, 2)] == [0] * 6


def test_decoys_of_somebody_else_change_nothing(split: Split, trackers: list[Tracker]) -> None:
    found = shares(split, trackers, [photo_of("ben", n) for n in range(4)], "nearest")
    assert [found[0.5, count] for count in sybil.DECOYS_PER_PHOTO] == [1, 1, 1]


def test_too_few_decoys_are_told(split: Split, trackers: list[Tracker]) -> None:
    with pytest.raises(EvaluationError, match="ada has 1 decoys, and 2 are needed"):
        shares(split, trackers, [photo_of("ben", 0)], "nearest")


def test_nobody_poses_whom_the_tracker_or_the_pool_knows(
    data: Path, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(EvaluationError, match=r"0 photos of people .* ask for fewer --people"):
        sybil.posing(data, split, 1)  # a tracker knows all of these few people
    monkeypatch.setattr("fawkes_engine.evaluation.data.splits.OTHER_PEOPLE", 1)
    split = draw(data, people=1, cloaked=2, tested=2, other_people=1)
    (photo,) = sybil.posing(data, split, 1)["ada"]
    assert photo.parent in unused_people(data, 0)
    assert photo.parent.name not in {other.parent.name for other in split.others}
