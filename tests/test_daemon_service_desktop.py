"""What the desktop shows, and how seldom."""

from __future__ import annotations

import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from daemon.service.desktop import DesktopNotices, Situation
from daemon.service.hooks import Call


class Desktop:
    """A situation that a test changes, and the messages shown."""

    def __init__(self, situation: Situation) -> None:
        self.situation = situation
        self.calls: list[Call] = []
        self.notices = DesktopNotices(lambda: self.situation, self.calls.append)

    def at(self, now: float, situation: Situation | None = None) -> list[str]:
        """The lines shown by a step."""
        self.situation = situation or self.situation
        before = len(self.calls)
        self.notices.step(now)
        return [line for call in self.calls[before:] for line in call.command[-1].splitlines()]


def test_only_changes_are_told() -> None:
    desktop = Desktop(Situation(held=3))

    assert desktop.at(0.0) == []
    assert desktop.at(100.0, Situation(held=4)) == ["1 more held: `fawkesd status` shows why"]
    assert desktop.at(200.0) == []
    assert desktop.at(300.0, Situation(held=2)) == []


def test_a_pause_and_its_end_are_told_also_one_from_the_start() -> None:
    desktop = Desktop(Situation(paused={"ada": "the disk is <full>"}))

    assert desktop.at(0.0) == ["ada: paused: the disk is &lt;full&gt;"]
    assert desktop.at(100.0, Situation()) == ["ada: publishing again"]


def test_changes_within_a_minute_are_one_message() -> None:
    desktop = Desktop(Situation())
    assert desktop.at(0.0, Situation(held=1))
    assert desktop.at(10.0, Situation(held=2)) == []

    assert desktop.notices.step(20.0) == 60.0
    assert desktop.at(60.0, Situation(held=5)) == ["4 more held: `fawkesd status` shows why"]


def test_the_end_of_a_backlog_is_told_and_that_of_a_photo_is_not() -> None:
    desktop = Desktop(Situation())

    assert desktop.at(0.0, Situation(waiting=1)) == []
    assert desktop.at(10.0, Situation()) == []
    assert desktop.at(20.0, Situation(waiting=30)) == []
    assert desktop.at(30.0, Situation()) == ["No more photos are waiting"]
    assert desktop.at(100.0) == []


def test_a_photo_cannot_write_the_message() -> None:
    desktop = Desktop(Situation())

    assert desktop.at(0.0, Situation(paused={"ada": "a\n<b>bold</b>"})) == [
        "ada: paused: a\\n&lt;b&gt;bold&lt;/b&gt;"
    ]
    assert desktop.calls[0].command[:4] == ("notify-send", "--app-name=fawkesd", "--", "fawkesd")


def test_without_news_nothing_is_due() -> None:
    assert Desktop(Situation()).notices.step(0.0) == math.inf


@given(steps=st.lists(st.tuples(st.floats(0, 30), st.integers(0, 100), st.integers(0, 20)), max_size=60))
def test_there_is_never_more_than_one_message_a_minute(steps: list[tuple[float, int, int]]) -> None:
    desktop = Desktop(Situation())
    now, shown_at = 0.0, []
    for pause_s, held, waiting in steps:
        now += pause_s
        if desktop.at(now, Situation(held=held, waiting=waiting)):
            shown_at.append(now)

    assert all(later - sooner >= 60 for sooner, later in itertools.pairwise(shown_at))
