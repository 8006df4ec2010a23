"""Readiness with a clock of its own."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from daemon.model import Outbox, Settled, Snapshot, Source, Unfinished
from daemon.watch.readiness import Readiness, Waiting

SOURCE = Source(Outbox("ada", Path("/out")), Path("a.jpg"))
OTHER = Source(Outbox("ada", Path("/out")), Path("b.jpg"))
V1 = Snapshot(1, 1, 100, 1, 1)
V2 = Snapshot(1, 1, 200, 2, 2)


class Disk:
    """What a look and a container check find; changed by the tests."""

    def __init__(self) -> None:
        self.files: dict[Path, Snapshot] = {SOURCE.path: V1, OTHER.path: V1}
        self.unfinished: dict[Path, Unfinished] = {}

    def readiness(self) -> Readiness:
        return Readiness(
            settle_s=3.0,
            give_up_s=600.0,
            doubt_s=60.0,
            look=self.files.get,
            why_unfinished=self.unfinished.get,
        )


def test_a_file_is_ready_after_its_quiet_time_and_once() -> None:
    readiness = Disk().readiness()
    readiness.event(SOURCE, 0.0)

    assert readiness.ready(2.9, 10) == []
    assert readiness.next_due_s() == 3.0
    assert readiness.ready(3.0, 10) == [Settled(SOURCE, V1)]
    assert readiness.ready(9.0, 10) == []
    assert readiness.next_due_s() is None


def test_every_event_starts_the_quiet_time_anew() -> None:
    readiness = Disk().readiness()
    for now in (0.0, 2.0, 4.0):
        readiness.event(SOURCE, now)

    assert readiness.ready(6.9, 10) == []
    assert readiness.ready(7.0, 10) == [Settled(SOURCE, V1)]


def test_a_silent_change_starts_the_quiet_time_anew() -> None:
    disk = Disk()
    readiness = disk.readiness()
    readiness.event(SOURCE, 0.0)
    disk.files[SOURCE.path] = V2

    assert readiness.ready(3.0, 10) == []
    assert readiness.ready(6.0, 10) == [Settled(SOURCE, V2)]


def test_a_removed_file_is_forgotten() -> None:
    disk = Disk()
    readiness = disk.readiness()
    readiness.event(SOURCE, 0.0)
    del disk.files[SOURCE.path]

    assert readiness.ready(3.0, 10) == []
    assert len(readiness) == 0


def test_an_incomplete_file_waits_until_it_is_whole() -> None:
    disk = Disk()
    disk.unfinished[SOURCE.path] = Unfinished.CUT
    readiness = disk.readiness()
    readiness.event(SOURCE, 0.0)

    assert readiness.ready(3.0, 10) == []
    assert readiness.ready(6.0, 10) == []
    disk.unfinished.clear()
    assert readiness.ready(9.0, 10) == [Settled(SOURCE, V1)]


def test_a_file_that_stays_incomplete_is_passed_on_after_long_quiet() -> None:
    disk = Disk()
    disk.unfinished[SOURCE.path] = Unfinished.CUT
    readiness = disk.readiness()
    readiness.event(SOURCE, 0.0)

    assert [now for now in range(0, 700, 3) if readiness.ready(float(now), 10)] == [600]


def test_a_file_that_may_end_in_zeros_is_passed_on_sooner() -> None:
    disk = Disk()
    disk.unfinished[SOURCE.path] = Unfinished.ZEROS
    readiness = disk.readiness()
    readiness.event(SOURCE, 0.0)

    assert [now for now in range(0, 700, 3) if readiness.ready(float(now), 10)] == [60]


def test_the_quiet_time_of_an_earlier_run_counts() -> None:
    disk = Disk()
    disk.unfinished[SOURCE.path] = Unfinished.CUT
    readiness = disk.readiness()
    readiness.found(SOURCE, V1, 0.0, quiet_s=590.0)

    assert [now for now in range(0, 700, 3) if readiness.ready(float(now), 10)] == [12]


def test_what_waits_for_long_tells_why_and_when_it_is_passed_on() -> None:
    disk = Disk()
    disk.unfinished[SOURCE.path] = Unfinished.OPEN
    readiness = disk.readiness()
    readiness.event(SOURCE, 1.0)
    for now in range(3, 31, 3):
        readiness.ready(float(now), 10)

    assert list(readiness.waiting(30.9, 30.0)) == []
    assert list(readiness.waiting(31.0, 30.0)) == [Waiting(SOURCE, V1, Unfinished.OPEN, 1.0, 601.0)]


def test_a_file_that_keeps_changing_is_told_as_such_and_says_nothing_new() -> None:
    disk = Disk()
    readiness = disk.readiness()
    told = []
    for now in range(60):
        disk.files[SOURCE.path] = Snapshot(1, 1, now, now, now)
        readiness.event(SOURCE, float(now))
        told.append(list(readiness.waiting(float(now), 30.0)))

    assert told[:30] == [[]] * 30
    assert told[30:] == [[Waiting(SOURCE, V1, Unfinished.CHANGING)]] * 30


def test_a_backlog_that_was_not_checked_yet_is_not_unfinished() -> None:
    readiness = Disk().readiness()
    for source in (SOURCE, OTHER):
        readiness.event(source, 0.0)
    readiness.ready(40.0, 1)

    assert list(readiness.waiting(40.0, 30.0)) == []


def test_a_step_looks_at_no_more_files_than_asked() -> None:
    readiness = Disk().readiness()
    readiness.event(SOURCE, 0.0)
    readiness.event(OTHER, 0.0)

    assert readiness.ready(3.0, 1) == [Settled(SOURCE, V1)]
    assert readiness.ready(3.0, 1) == [Settled(OTHER, V1)]


@given(st.lists(st.tuples(st.sampled_from([SOURCE, OTHER]), st.floats(0.01, 5.0)), max_size=30))
def test_no_file_is_ready_before_its_own_quiet_time(steps: list[tuple[Source, float]]) -> None:
    readiness = Disk().readiness()
    now, last = 0.0, dict.fromkeys((SOURCE, OTHER), 0.0)
    for source, pause_s in steps:
        now += pause_s
        for settled in readiness.ready(now, 10):
            assert now - last[settled.source] >= 3.0 - 1e-9
        readiness.event(source, now)
        last[source] = now

    now += 3.0
    readiness.ready(now, 10)
    assert len(readiness) == 0
