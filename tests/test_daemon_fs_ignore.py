"""What is ignored below an outbox: for single paths, for a walk of it, and counted."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from test_daemon_fs_gitignore import PATTERNS

from daemon.fs import tally
from daemon.fs.ignore import ignored_by
from daemon.fs.tally import IgnoredPhotos, Tally
from daemon.fs.walk import walk

NAMES = ("a", "ab", "b1", ".a", "@eaDir", "a~")


@pytest.fixture(scope="module")
def tree() -> Iterator[Path]:
    """Folders of these names in folders of these names, with files of these names and an ending at all three depths."""
    with tempfile.TemporaryDirectory() as name:
        for depth in range(3):
            folders = [Path(name, *way) for way in _ways(depth)]
            for folder in folders:
                folder.mkdir(exist_ok=True)
                for file in NAMES:
                    (folder / f"{file}.jpg").touch()
        yield Path(name)


def _ways(depth: int) -> list[tuple[str, ...]]:
    return [(*way, name) for way in _ways(depth - 1) for name in NAMES] if depth else [()]


@given(ignore=st.lists(PATTERNS, max_size=3).map(tuple))
@example(ignore=("*",))
@example(ignore=("a/", "!a/ab.jpg"))
def test_a_walk_finds_the_files_that_are_not_ignored(tree: Path, ignore: tuple[str, ...]) -> None:
    files = [PurePath(os.path.relpath(path, tree)) for path in tree.rglob("*") if path.is_file()]
    taken = {path for path in files if ignored_by(path, ignore) is None}

    counted = Tally(tree)
    found = list(walk(tree, ignore, on_ignored=counted.add))

    assert {PurePath(path.relative_to(tree)) for path in found} == taken
    assert len(found) == len(taken)
    ignored = counted.result()
    assert sum(one.photos for one in ignored) == len(files) - len(taken)
    assert all(one.is_all for one in ignored)
    for folder in ("a", "ab/b1", ".a"):
        below = {path for path in taken if path.is_relative_to(folder)}
        assert {PurePath(path.relative_to(tree)) for path in walk(tree, ignore, below=tree / folder)} == below


def test_photos_are_counted_by_pattern_with_the_first_places(tmp_path: Path) -> None:
    for name in (
        "raw/a.nef",
        "raw/deep/b.NEF",
        "raw/notes.txt",
        "trip/raw/c.nef",
        ".a.jpg",
        "d.jpg",
        "x.tmp",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    counted = Tally(tmp_path)

    assert {path.name for path in walk(tmp_path, ("*.txt", "raw/"), on_ignored=counted.add)} == {"d.jpg"}

    raw, hidden = counted.result()
    assert (raw.pattern, raw.position, raw.photos, sorted(raw.places)) == (
        "raw/",
        1,
        3,
        ["raw/", "trip/raw/"],
    )
    assert hidden == IgnoredPhotos(".*", None, photos=1, is_all=True, places=(".a.jpg",))


def test_counting_stops_in_large_folders_and_looks_into_the_users_own_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tally, "_LOOKED_AT", 10)
    for folder in (".versions", "raw"):
        (tmp_path / folder).mkdir()
        for number in range(20):
            (tmp_path / folder / f"{number}.jpg").touch()
    counted = Tally(tmp_path)
    list(walk(tmp_path, ("raw",), on_ignored=counted.add))

    (found,) = counted.result()

    assert (found.pattern, found.photos, found.is_all) == ("raw", 20, False)
