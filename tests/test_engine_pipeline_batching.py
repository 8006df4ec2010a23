"""Photos and faces in batches."""

from __future__ import annotations

import weakref

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fawkes_engine.errors import NotProtected, Refusal
from fawkes_engine.pipeline.batching import evenly, or_refusal


@given(faces=st.integers(0, 200), at_most=st.integers(1, 64))
def test_batches_hold_every_face_once_in_order_and_are_few_and_even(faces: int, at_most: int) -> None:
    batches = list(evenly(range(faces), at_most))

    assert [face for batch in batches for face in batch] == list(range(faces))
    assert all(0 < len(batch) <= at_most for batch in batches)
    assert len(batches) == -(-faces // at_most)
    *full, _ = batches or [range(0)]
    assert all(len(batch) % 2 == 0 or len(batch) == at_most for batch in full)
    assert len({len(batch) for batch in full}) <= 1


def test_a_few_faces_too_many_are_shared_out() -> None:
    assert [len(batch) for batch in evenly(range(19), 16)] == [10, 9]


def test_a_refusal_keeps_no_pixels_of_its_photo() -> None:
    kept: list[weakref.ref[object]] = []

    def measure(side: int) -> None:
        pixels = np.zeros((side, side))
        kept.append(weakref.ref(pixels))
        raise NotProtected("too visible")

    refusal = or_refusal(measure, 9)
    assert isinstance(refusal, Refusal)
    assert kept[0]() is None
