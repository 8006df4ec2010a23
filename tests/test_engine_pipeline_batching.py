"""Photos and faces in batches."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fawkes_engine.pipeline.batching import evenly


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
