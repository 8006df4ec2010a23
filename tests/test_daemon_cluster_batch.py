"""How a batch is shared out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twins import protected

from daemon.cluster.batch import Batch
from daemon.workers.protocol import Deferred, Refused
from fawkes_engine import Request

RESULT = protected(b"a photo")


def batch(count: int, size: int = 1) -> Batch:
    return Batch([Request(bytes(size), "ada") for _ in range(count)])


def test_tasks_get_smaller_so_that_nodes_end_together() -> None:
    whole = batch(40)
    tasks = []
    while task := whole.take(2, at_rest=False):
        tasks.append(task)

    sizes = [len(task) for task in tasks]
    assert sizes == sorted(sizes, reverse=True)
    assert (sizes[0], sizes[-1]) == (10, 1)
    assert [photo for task in tasks for photo in task] == list(range(40))


@given(count=st.integers(1, 300), engines=st.integers(1, 8))
def test_a_task_is_no_larger_than_an_engines_batch_and_small_only_where_engines_would_rest(
    count: int, engines: int
) -> None:
    whole = batch(count)
    waiting = count
    while task := whole.take(engines, at_rest=False):
        assert len(task) <= 16
        assert len(task) >= min(4, waiting / engines)
        assert engines == 1 or len(task) < waiting or waiting <= 1
        waiting -= len(task)
    assert waiting == 0


def test_large_photos_make_small_tasks() -> None:
    assert len(batch(40, size=30 << 20).take(1, at_rest=True)) == 2


def test_outcomes_are_told_in_order() -> None:
    whole = batch(3)
    whole.answer(1, RESULT)
    assert not list(whole.told())
    whole.answer(0, RESULT)
    assert len(list(whole.told())) == 2
    assert not whole.is_told
    whole.answer(2, RESULT)
    assert len(list(whole.told())) == 1
    assert whole.is_told


def test_a_photo_with_which_engines_fail_is_tried_alone_and_then_refused() -> None:
    whole = batch(2)
    task = whole.take(1, at_rest=True)
    task += whole.take(1, at_rest=False)
    whole.failed(task, "out of memory")

    assert not whole.take(1, at_rest=False)
    first = whole.take(1, at_rest=True)
    whole.failed(first, "out of memory")
    second = whole.take(1, at_rest=True)
    whole.answer(second[0], RESULT)
    assert whole.take(1, at_rest=True) == first == (0,)
    whole.failed(first, "out of memory")

    refused, fine = whole.told()
    assert isinstance(refused, Refused)
    assert refused.reason == "the engine stopped twice while working on this photo: out of memory"
    assert fine == RESULT


def test_photos_with_people_who_change_all_the_time_are_put_off() -> None:
    whole = batch(1)
    for _ in range(5):
        assert whole.take(1, at_rest=True) == (0,)
        whole.conflicting(0)

    (outcome,) = whole.told()
    assert isinstance(outcome, Deferred)


def test_a_photo_whose_result_may_not_be_published_is_tried_once_more() -> None:
    whole = batch(1)
    refused = Refused("NotProtected", "it shows its owner")
    assert whole.take(1, at_rest=True) == (0,)
    whole.objected(0, refused)
    assert not whole.is_told
    assert whole.take(1, at_rest=True) == (0,)
    whole.objected(0, refused)

    assert list(whole.told()) == [refused]


def test_what_was_begun_and_what_waits_is_given_up_together() -> None:
    whole = batch(4)
    whole.put_back(whole.take(1, at_rest=True))
    whole.defer("nobody answers")

    assert list(whole.told()) == [Deferred("nobody answers")] * 4
