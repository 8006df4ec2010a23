"""The ledger against a model, across crashes, and with names that are no text."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from daemon.errors import IllegalTransition, LedgerError
from daemon.model import (
    REDO_REASON,
    TRANSITIONS,
    Change,
    Outbox,
    Output,
    Photo,
    Settled,
    Snapshot,
    Source,
    State,
)
from daemon.state.ledger import Ledger
from daemon.state.schema import LEDGER_NAME

BOX = Outbox("ada", Path("/photos"))
DAY_S = 86400.0


def settled(name: str = "a.jpg", content: int = 1) -> Settled:
    return Settled(
        Source(BOX, Path(name)),
        Snapshot(dev=1, ino=content, size=content, mtime_ns=content, ctime_ns=content),
    )


def admitted(ledger: Ledger, name: str = "a.jpg", content: int = 1) -> Photo:
    ledger.admit([settled(name, content)])
    photo = ledger.latest(settled(name).source)
    assert photo is not None
    return photo


class LedgerMachine(RuleBasedStateMachine):
    """Random admissions, moves and crashes; the model is a list of states per path."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.path = Path(self.directory.name) / LEDGER_NAME
        self.ledger = Ledger(self.path)
        self.states: dict[str, list[State]] = {}
        self.contents: dict[str, int] = {}

    def teardown(self) -> None:
        self.ledger.close()
        self.directory.cleanup()

    @rule(name=st.sampled_from(["a.jpg", "b/a.jpg"]), content=st.integers(1, 3))
    def admit(self, name: str, content: int) -> None:
        made = self.ledger.admit([settled(name, content)])
        states = self.states.setdefault(name, [])
        dropped = bool(states) and states[-1] in {State.GONE, State.SUPERSEDED}
        known = bool(states) and self.contents[name] == content and not dropped
        assert made == (not known)
        if not known:
            kept = {State.SUPERSEDED, State.RECALLING}  # a copy that is to be removed is removed
            states[:] = [one if one in kept else State.SUPERSEDED for one in states] + [State.READY]
            self.contents[name] = content

    @precondition(lambda self: self.states)
    @rule(data=st.data(), to=st.sampled_from(State))
    def move(self, data: st.DataObject, to: State) -> None:
        name = data.draw(st.sampled_from(sorted(self.states)))
        photo = self.ledger.latest(settled(name).source)
        assert photo is not None
        if to in TRANSITIONS[self.states[name][-1]]:
            self.ledger.move(photo, to)
            self.states[name][-1] = to
        else:
            with pytest.raises(IllegalTransition):
                self.ledger.move(photo, to)

    @rule(user=st.sampled_from([None, "ada", "bob"]))
    def approve_all(self, user: str | None) -> None:
        mine = sum(states[-1] is State.REVIEW for states in self.states.values()) if user != "bob" else 0
        assert self.ledger.reviews.approve_all(user) == mine
        for states in self.states.values():
            if user != "bob" and states[-1] is State.REVIEW:
                states[-1] = State.READY

    @rule()
    def crash(self) -> None:
        self.ledger.close()
        self.ledger = Ledger(self.path)
        for states in self.states.values():
            states[:] = [State.READY if s in {State.WORKING, State.STAGED} else s for s in states]

    @invariant()
    def every_row_is_as_the_model_says(self) -> None:
        found: dict[str, list[State]] = {}
        for photo in self.ledger.in_state(*State):
            found.setdefault(str(photo.source.relative), []).append(photo.state)
            assert photo.generation == len(found[str(photo.source.relative)])
        assert found == self.states


LedgerMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=25)
TestLedgerMachine = LedgerMachine.TestCase


def test_an_illegal_move_in_a_batch_changes_nothing(ledger: Ledger) -> None:
    first, second = admitted(ledger, "a.jpg"), admitted(ledger, "b.jpg", 2)
    ledger.move(second, State.HELD)

    with pytest.raises(IllegalTransition, match="held cannot become working"):
        ledger.move_all([first, second], State.WORKING)

    assert ledger.get(first.id).state is State.READY


def test_a_name_that_is_no_text_comes_back_byte_for_byte(ledger: Ledger) -> None:
    name = os.fsdecode(b"caf\xe9\n.jpg")

    photo = admitted(ledger, name)

    assert os.fsencode(photo.source.relative) == b"caf\xe9\n.jpg"


def test_ready_gives_the_newest_photos_whose_wait_is_over(tmp_path: Path) -> None:
    now = 1000.0
    ledger = Ledger(tmp_path / LEDGER_NAME, clock=lambda: now)
    ledger.admit(settled(f"{content}.jpg", content) for content in (1, 2, 3, 4))
    newest = ledger.latest(settled("4.jpg").source)
    assert newest is not None
    ledger.move(newest, State.WORKING)
    ledger.move(newest, State.READY, Change(not_before=now + 10))

    def names() -> list[str]:
        return [
            p.source.relative.name
            for p in ledger.queue.ready([BOX, Outbox("bob", BOX.root)], longest_s=3600, limit=2)
        ]

    assert names() == ["3.jpg", "2.jpg"]
    now += 10
    assert names() == ["4.jpg", "3.jpg"]
    now -= DAY_S  # the clock was set back: nobody asked for a wait of a day
    assert names() == ["4.jpg", "3.jpg"]
    ledger.close()


def test_a_remounted_drive_does_not_make_its_photos_new(ledger: Ledger) -> None:
    admitted(ledger)
    remounted = Settled(settled().source, Snapshot(dev=2, ino=1, size=1, mtime_ns=1, ctime_ns=1))

    assert ledger.admit([remounted]) == 0


def test_outputs_of_every_generation_of_a_photo_are_its_own(ledger: Ledger) -> None:
    photo = admitted(ledger)
    output = Output(Path("a.jpg"), "00ff")
    for state in (State.WORKING, State.STAGED):
        ledger.move(photo, state)
    ledger.move(photo, State.PUBLISHING, Change(output=output))
    again = admitted(ledger, content=2)

    assert again.generation == 2
    assert ledger.own_outputs(again.source) == [output]
    assert ledger.own_outputs(settled("b.jpg").source) == []


def test_work_left_by_a_crash_waits_again_alone(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / LEDGER_NAME)
    photo = admitted(ledger)
    ledger.move(photo, State.WORKING)
    ledger.close()

    ledger = Ledger(tmp_path / LEDGER_NAME)

    repaired = ledger.get(photo.id)
    assert (repaired.state, repaired.alone) == (State.READY, True)
    ledger.close()


def test_a_ledger_of_a_later_version_is_refused(tmp_path: Path) -> None:
    Ledger(tmp_path / LEDGER_NAME).close()
    database = sqlite3.connect(tmp_path / LEDGER_NAME)
    database.execute("PRAGMA user_version = 99")
    database.close()

    with pytest.raises(LedgerError, match="99"):
        Ledger(tmp_path / LEDGER_NAME)


def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path) -> None:
    (tmp_path / LEDGER_NAME).write_bytes(b"a shopping list, much longer than sqlite's own header" * 100)

    with pytest.raises(LedgerError, match="is damaged"):
        Ledger(tmp_path / LEDGER_NAME)


def test_an_output_tells_its_origin(ledger: Ledger) -> None:
    photo = admitted(ledger)
    ledger.move(photo, State.WORKING)
    ledger.move(photo, State.STAGED)
    ledger.move(photo, State.PUBLISHING, Change(output=Output(Path("a.jpg"), "c0ffee")))

    assert ledger.origin("c0ffee") == photo.source
    assert ledger.origin("decade") is None


class StaysAwayMachine(RuleBasedStateMachine):
    """Files that are written, renamed, rejected, recalled and redone: what a person took back never comes back."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.ledger = Ledger(Path(self.directory.name) / LEDGER_NAME)
        self.taken: set[str] = set()  # recalled names, none of which was redone

    def teardown(self) -> None:
        self.ledger.close()
        self.directory.cleanup()

    @rule(name=st.sampled_from(["a.jpg", "b.jpg"]), content=st.integers(1, 4))
    def write(self, name: str, content: int) -> None:
        """A photo arrives, and as much becomes of it as the ledger allows."""
        self.ledger.admit([settled(name, content)])
        photo = self.ledger.latest(settled(name).source)
        assert photo is not None
        if photo.state is not State.READY:
            return
        photo = replace(self.ledger.move(photo, State.WORKING), input_sha256=str(content))
        away = self.ledger.reviews.stays_away(photo)
        assert away or name not in self.taken
        change = Change(input_sha256=str(content))
        if away is not None:
            self.ledger.move(photo, away.state, change)
            return
        self.ledger.move(photo, State.STAGED, change)
        output = Output(Path(name), f"copy of {content}")
        self.ledger.published(self.ledger.move(photo, State.PUBLISHING, Change(output=output)), None)

    @precondition(lambda self: self.ledger.count(State.PUBLISHED))
    @rule(data=st.data())
    def recall(self, data: st.DataObject) -> None:
        photo = data.draw(st.sampled_from(self.ledger.in_state(State.PUBLISHED)))
        copy = self.ledger.reviews.copy_of(photo.source)
        assert copy == photo
        self.ledger.move(copy, State.RECALLING)
        self.taken.add(str(photo.source.relative))

    @precondition(lambda self: self.ledger.count(State.RECALLING))
    @rule()
    def remove_copies(self) -> None:
        self.ledger.move_all(self.ledger.in_state(State.RECALLING), State.RECALLED)

    @precondition(lambda self: self.ledger.count(State.RECALLED))
    @rule(data=st.data())
    def redo(self, data: st.DataObject) -> None:
        source = data.draw(st.sampled_from(self.ledger.in_state(State.RECALLED))).source
        latest = self.ledger.latest(source)
        assert latest is not None
        if latest.state is State.RECALLED:
            self.ledger.move(latest, State.SUPERSEDED, Change(reason=REDO_REASON))
            self.taken.discard(str(source.relative))

    @invariant()
    def nothing_that_was_taken_back_is_published(self) -> None:
        out = {str(photo.source.relative) for photo in self.ledger.in_state(State.PUBLISHED)}
        assert not out & self.taken


StaysAwayMachine.TestCase.settings = settings(max_examples=10, stateful_step_count=15)
TestStaysAwayMachine = StaysAwayMachine.TestCase
