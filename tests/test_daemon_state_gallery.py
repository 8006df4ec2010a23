"""The pages of the ledger against a plain sort of all its rows."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path, PurePath

from hypothesis import given
from hypothesis import strategies as st

from daemon.model import State
from daemon.state.gallery import Gallery, Place, Tile, Wanted
from daemon.state.schema import migrate

STATES = (State.PUBLISHED, State.HELD, State.READY)
NAMES = (b"a.jpg", b"trip/B.jpg", b"trip/deep/c.jpg", b"trips/d.jpg", b"trip/\xff.jpg", "é.jpg".encode())
Row = tuple[State, str, bytes, float]
rows = st.lists(
    st.tuples(
        st.sampled_from(STATES),
        st.sampled_from(["ada", "bob"]),
        st.sampled_from(NAMES),
        st.integers(0, 3).map(float),
    ),
    max_size=20,
)
wishes = st.builds(
    Wanted,
    st.lists(st.sampled_from(STATES), min_size=1, unique=True),
    st.sampled_from([None, "ada"]),
    st.sampled_from([None, PurePath("trip")]),
    st.sampled_from(["", "b.J", "trip", "nothing", "%"]),
)


@given(rows, wishes, st.integers(1, 5))
def test_pages_are_the_sorted_rows_in_pieces(content: list[Row], wanted: Wanted, size: int) -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        database.row_factory = sqlite3.Row
        migrate(database)
        for number, (state, user, path, updated) in enumerate(content, 1):
            values = (number, user, b"/out", path, number, state.value, 1, 1, 1, 1, 1.0, updated)
            database.execute(
                "INSERT INTO photos (id, user, root, path, generation, state, dev, ino, size, mtime_ns, created,"
                f" updated) VALUES ({', '.join('?' * len(values))})",
                values,
            )
        gallery = Gallery(database)

        found: list[Tile] = []
        after: Place | None = None
        while page := gallery.page(wanted, after, size):
            assert len(page) <= size
            found += page
            after = page[-1].place

    assert [tile.id for tile in found] == expected(content, wanted)


def expected(content: list[Row], wanted: Wanted) -> list[int]:
    numbered = [
        (updated, number)
        for number, (state, user, path, updated) in enumerate(content, 1)
        if state in wanted.states
        and wanted.user in {None, user}
        and (wanted.folder is None or wanted.folder in Path(os.fsdecode(path)).parents)
        and wanted.name.lower() in path.decode(errors="replace").lower()
    ]
    return [number for _, number in sorted(numbered, reverse=True)]
