"""How a person wants one photo cloaked: asked for once, remembered for what follows."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from daemon.model import REDO_REASON, Change, Choice, Outbox, Photo, Settled, Snapshot, Source, State
from daemon.state.ledger import Ledger
from daemon.state.schema import LEDGER_NAME, MIGRATIONS

WEAK, STRONG = Choice("strong", 40), Choice("strong")
BYTES = "ab" * 32


def admitted(ledger: Ledger, name: str, content: int = 1, user: str = "ada") -> Photo:
    """The photo's newest row, its bytes read."""
    source = Source(Outbox(user, Path("/photos")), Path(name))
    ledger.admit([Settled(source, Snapshot(1, content, content, content, content))])
    photo = ledger.latest(source)
    assert photo is not None
    return replace(photo, input_sha256=BYTES if content == 1 else "cd" * 32)


def redone(ledger: Ledger, photo: Photo, choice: Choice | None) -> None:
    change = Change(reason=REDO_REASON, input_sha256=photo.input_sha256, choice=choice)
    ledger.move(photo, State.SUPERSEDED, change)


def test_nothing_is_chosen_at_first(ledger: Ledger) -> None:
    assert ledger.choice(admitted(ledger, "a.jpg")) is None


def test_a_choice_stays_until_another_is_made(ledger: Ledger) -> None:
    for choice, remembered in ((WEAK, WEAK), (None, WEAK), (STRONG, STRONG), (None, STRONG)):
        redone(ledger, admitted(ledger, "a.jpg"), choice)
        assert ledger.choice(admitted(ledger, "a.jpg")) == remembered
    assert ledger.choice(admitted(ledger, "a.jpg", content=2)) == STRONG


def test_the_same_bytes_under_another_name_inherit_a_choice_but_their_own_comes_first(ledger: Ledger) -> None:
    redone(ledger, admitted(ledger, "own.jpg"), STRONG)
    redone(ledger, admitted(ledger, "a.jpg"), WEAK)

    assert ledger.choice(admitted(ledger, "renamed.jpg")) == WEAK
    assert ledger.choice(admitted(ledger, "own.jpg")) == STRONG
    assert ledger.choice(admitted(ledger, "other.jpg", content=2)) is None
    assert ledger.choice(admitted(ledger, "renamed.jpg", user="eve")) is None


def test_a_ledger_from_before_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / LEDGER_NAME
    with closing(sqlite3.connect(path)) as old:
        for statements in MIGRATIONS[:6]:
            for statement in statements:
                old.execute(statement)
        old.execute(
            "INSERT INTO photos (user, root, path, generation, state, dev, ino, size, mtime_ns, created, updated)"
            " VALUES ('ada', ?, ?, 1, 'published', 1, 1, 1, 1, 0, 0)",
            (b"/photos", b"a.jpg"),
        )
        old.execute("PRAGMA user_version = 6")
        old.commit()

    with closing(Ledger(path)) as ledger:
        photo = admitted(ledger, "a.jpg")
        assert (photo.state, ledger.choice(photo)) == (State.PUBLISHED, None)
        redone(ledger, photo, WEAK)
        assert ledger.choice(admitted(ledger, "a.jpg")) == WEAK
