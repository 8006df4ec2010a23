"""How faces are named, and how names become rates."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fawkes_engine import EvaluationError
from fawkes_engine.evaluation.metrics.rates import Outcome, outcomes, rate
from fawkes_engine.evaluation.trackers.heads import (
    HEADS,
    Head,
    Labelled,
    Vectors,
    check_heads,
    linear,
    nearest_centroid,
    nearest_photo,
)

pytestmark = pytest.mark.numeric
PEOPLE = 6
every_head = pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)


def crowd(seed: int, *, photos: int = 4, spread: float = 0.3) -> tuple[Labelled, Labelled]:
    """A gallery of PEOPLE, the last of whom has one photo, and a query of each.

    With a spread of 1, of all seeds to 1000, the two people nearest to a query score 10^-5 apart at least, so that
    rounding, which moves scores by 10^-7, decides on no name.
    """
    random = np.random.default_rng(seed)
    centres = np.eye(PEOPLE, 8)
    names = [f"p{i}" for i in range(PEOPLE - 1) for _ in range(photos)] + [f"p{PEOPLE - 1}"]

    def around(people: list[str]) -> Vectors:
        rows = np.stack([centres[int(name[1:])] for name in people])
        return np.asarray(rows + spread * random.standard_normal(rows.shape) / 3, np.float32)

    asked = [f"p{i}" for i in range(PEOPLE)]
    return Labelled(tuple(names), around(names)), Labelled(tuple(asked), around(asked))


@every_head
def test_people_far_apart_are_told_apart_also_by_one_photo(head: Head) -> None:
    gallery, asked = crowd(0)
    assert head(gallery, asked.vectors) == list(asked.names)


@every_head
def test_a_gallery_under_another_name_gives_that_name(head: Head) -> None:
    # what protection is: p0's and p1's photos look like the other's, so a face that looks as p0 does is taken for p1;
    # were p0's photos like p1's and nobody's like p0's, rounding would decide between the two
    gallery, asked = crowd(0)
    names = np.array(gallery.names)
    vectors = gallery.vectors.copy()
    vectors[names == "p0"], vectors[names == "p1"] = vectors[names == "p1"], vectors[names == "p0"]
    named = head(Labelled(gallery.names, vectors), asked.vectors)
    assert named == ["p1", "p0", *asked.names[2:]]


@every_head
@settings(max_examples=20)
@given(seed=st.integers(0, 1000), order=st.permutations(range(PEOPLE)))
def test_calling_people_otherwise_changes_no_accuracy(head: Head, seed: int, order: list[int]) -> None:
    gallery, asked = crowd(seed, spread=1.0)
    renamed = {f"p{i}": f"p{order[i]}" for i in range(PEOPLE)}
    named = head(gallery, asked.vectors)
    other = head(Labelled(tuple(renamed[n] for n in gallery.names), gallery.vectors), asked.vectors)
    assert other == [renamed[n] for n in named]


@every_head
@settings(max_examples=20)
@given(seed=st.integers(0, 1000))
def test_the_order_of_the_gallery_changes_no_name(head: Head, seed: int) -> None:
    gallery, asked = crowd(seed, spread=1.0)
    order = np.random.default_rng(seed).permutation(len(gallery.names))
    shuffled = Labelled(tuple(gallery.names[i] for i in order), gallery.vectors[order])
    assert head(shuffled, asked.vectors) == head(gallery, asked.vectors)


@every_head
@settings(max_examples=20)
@given(shift=st.lists(st.floats(-5, 5, width=16), min_size=8, max_size=8))
def test_an_offset_common_to_all_faces_changes_no_name(head: Head, shift: list[float]) -> None:
    gallery, asked = crowd(1)
    offset = np.array(shift, np.float32)
    moved = Labelled(gallery.names, gallery.vectors + offset)
    assert head(moved, asked.vectors + offset) == list(asked.names)


def test_the_nearest_photo_follows_one_stray_and_the_others_do_not() -> None:
    names = ("anna",) * 6 + ("ben",) * 6
    right = np.array([[1, y] for y in np.linspace(-1, 1, 6)])
    rows = np.vstack([right, right * [-1, 1]])
    rows[6] = [1, 0.1]  # one of ben's photos looks like anna
    gallery, query = Labelled(names, rows.astype(np.float32)), np.array([[1.1, 0.11]], np.float32)
    assert nearest_photo(gallery, query) == ["ben"]
    assert nearest_centroid(gallery, query) == ["anna"]
    assert linear(gallery, query) == ["anna"]


def test_a_direction_in_which_the_gallery_does_not_differ_names_nobody() -> None:
    gallery = Labelled(("anna", "ben"), np.array([[1.0, 0.0], [-1.0, 0.0]], np.float32))
    assert linear(gallery, np.array([[0.01, 5.0], [-0.01, 5.0]], np.float32)) == ["anna", "ben"]


def test_an_unknown_head_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(EvaluationError, match="'forest'; known: nearest, centroid, linear"):
        check_heads(["nearest", "forest"])


def test_galleries_are_joined_and_an_empty_one_adds_nothing() -> None:
    gallery, asked = crowd(0)
    none = Labelled((), np.zeros((0, 0), np.float32))
    joined = Labelled.joined([gallery, none, asked])
    assert joined.names == gallery.names + asked.names
    assert joined.vectors.shape == (len(joined.names), 8)


def test_outcomes_count_right_names_per_person() -> None:
    assert outcomes(["anna", "anna", "ben"], ["anna", "ben", "carl"]) == [
        Outcome("anna", 1, 2),
        Outcome("ben", 0, 1),
    ]


@given(counts=st.lists(st.integers(0, 10), min_size=1, max_size=30), seed=st.integers(0, 100))
def test_the_interval_holds_the_share_and_repeats_for_a_seed(counts: list[int], seed: int) -> None:
    people = [Outcome(str(i), count, 10) for i, count in enumerate(counts)]
    measured = rate(people, seed)
    assert measured == rate(people, seed)
    assert 0 <= measured.low <= measured.share <= measured.high <= 1
    protection = measured.complement
    assert protection.low <= protection.share <= protection.high
    assert protection.share == 1 - measured.share


def test_the_interval_is_over_people_not_photos() -> None:
    people = [Outcome("anna", 100, 100), Outcome("ben", 0, 100)]
    measured = rate(people, seed=0)
    assert (measured.low, measured.share, measured.high) == (0.0, 0.5, 1.0)


def test_more_people_make_the_interval_narrower() -> None:
    few, many = ([Outcome(str(i), i % 2, 1) for i in range(n)] for n in (10, 1000))
    assert rate(many, 0).high - rate(many, 0).low < 0.2 * (rate(few, 0).high - rate(few, 0).low)
