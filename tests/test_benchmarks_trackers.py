from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from benchmarks.trackers import (
    Labelled,
    Outcome,
    Vectors,
    by_nearest_centroid,
    by_nearest_photo,
    cosines,
    embedder,
    outcomes,
    rate,
)
from hypothesis import given
from hypothesis import strategies as st


def _vectors(*rows: tuple[float, float]) -> Labelled:
    names = ("anna", "anna", "ben", "ben")
    return Labelled(names[: len(rows)], np.array(rows, np.float32))


Rule = Callable[[Labelled, Vectors], list[str]]
GALLERY = _vectors((1.0, 0.0), (0.5, 0.9), (-1.0, 0.0), (-0.5, -0.9))


def test_nearest_photo_follows_the_single_closest_photo() -> None:
    stray = Labelled((*GALLERY.names, "ben"), np.vstack([GALLERY.vectors, [[1.0, 0.1]]]).astype(np.float32))
    query = np.array([[1.1, 0.11]], np.float32)
    assert by_nearest_photo(stray, query) == ["ben"]
    assert by_nearest_centroid(stray, query) == ["anna"]


@pytest.mark.parametrize("rule", [by_nearest_photo, by_nearest_centroid])
@given(shift=st.tuples(st.floats(-5, 5, width=16), st.floats(-5, 5, width=16)))
def test_an_offset_common_to_all_faces_changes_no_name(rule: Rule, shift: tuple[float, float]) -> None:
    moved = Labelled(GALLERY.names, GALLERY.vectors + np.array(shift, np.float32))
    queries = GALLERY.vectors * np.float32(0.9)
    assert rule(moved, queries + np.array(shift, np.float32)) == list(GALLERY.names)


def test_outcomes_count_right_names_per_person() -> None:
    queries = _vectors((1, 0), (1, 0), (1, 0))
    assert outcomes(queries, ["anna", "ben", "carl"]) == [Outcome("anna", 1, 2), Outcome("ben", 0, 1)]


def test_cosines_pair_each_two_photos_once() -> None:
    assert len(cosines(GALLERY, same_person=True)) == 2
    assert len(cosines(GALLERY, same_person=False)) == 4


@given(counts=st.lists(st.integers(0, 10), min_size=1, max_size=30), seed=st.integers(0, 100))
def test_the_interval_holds_the_share_and_repeats_for_a_seed(counts: list[int], seed: int) -> None:
    people = [Outcome(str(i), count, 10) for i, count in enumerate(counts)]
    measured = rate(people, seed)
    assert measured == rate(people, seed)
    assert 0 <= measured.low <= measured.share <= measured.high <= 1


def test_the_interval_is_over_people_not_photos() -> None:
    people = [Outcome("anna", 100, 100), Outcome("ben", 0, 100)]
    measured = rate(people, seed=0)
    assert (measured.low, measured.share, measured.high) == (0.0, 0.5, 1.0)


def test_an_unknown_tracker_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'onyx'"):
        embedder("onyx")
