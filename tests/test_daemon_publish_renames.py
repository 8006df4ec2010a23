"""Renamed and copied photos: the same bytes are cloaked once, and a copy goes where its photo went."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from faulty import needs_root, small_disk
from hypothesis import given, settings
from hypothesis import strategies as st
from test_daemon_publish_publisher import Bench, arm, opened_bench, result
from twins import TinyEngine

from daemon.fs.files import snapshot_of
from daemon.model import Outbox, Photo, Settled, Source, State
from daemon.publish.publisher import Publisher


@dataclass
class Home:
    """One user's outbox and sync folder, and the seeds of the photos that an engine had to cloak."""

    bench: Bench
    outbox: Path
    cloaked: list[int] = field(default_factory=list)

    @property
    def sync(self) -> Path:
        return self.bench.sync

    def write(self, name: str, seed: int = 1) -> Path:
        path = self.outbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(str(seed).encode())
        return path

    def process(self) -> None:
        """What the service does after a start and a scan: repair, admit what is new, publish what waits."""
        ledger = self.bench.ledger
        for photo in ledger.in_state(State.PUBLISHING):
            self.bench.publisher.settle(photo)
        for path in sorted(path for path in self.outbox.rglob("*") if path.is_file()):
            snapshot = snapshot_of(path)
            assert snapshot is not None
            ledger.admit([Settled(self.source(str(path.relative_to(self.outbox))), snapshot)])
        for photo in ledger.in_state(State.READY):
            if photo.source.path.exists():
                self._publish(photo)

    def _publish(self, photo: Photo) -> None:
        data = photo.source.path.read_bytes()
        self.bench.ledger.move(photo, State.WORKING)
        read = replace(photo, input_sha256=hashlib.sha256(data).hexdigest(), options="{}")
        earlier = self.bench.ledger.made_before(read, TinyEngine.fingerprint)
        if not any(self.bench.publisher.reuse(read, one) for one in earlier):
            self.cloaked.append(int(data))
            self.bench.publisher.publish(read, result(int(data)))

    def published(self) -> dict[str, int]:
        """What is in the sync folder: the seed of each file; 0 for what no engine made."""
        seeds = {result(seed).data: seed for seed in range(1, 5)}
        return {name: seeds.get((self.sync / name).read_bytes(), 0) for name in self.bench.names()}

    def source(self, name: str) -> Source:
        return Source(Outbox("ada", self.outbox), Path(name))

    def told(self, name: str) -> tuple[State, str | None]:
        photo = self.bench.ledger.latest(self.source(name))
        assert photo is not None
        return photo.state, photo.reason


@contextlib.contextmanager
def opened_home(root: Path) -> Iterator[Home]:
    with opened_bench(root) as bench:
        (root / "outbox").mkdir(exist_ok=True)
        yield Home(bench, root / "outbox")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with opened_home(tmp_path) as opened:
        yield opened


def test_the_copy_of_a_renamed_photo_moves_with_it(home: Home) -> None:
    home.write("trip/a.jpg")
    home.process()
    (home.outbox / "b.jpg").hardlink_to(home.outbox / "trip/a.jpg")
    (home.outbox / "trip/a.jpg").unlink()
    home.process()

    assert (home.published(), home.cloaked) == ({"b.jpg": 1}, [1])
    assert not (home.sync / "trip").exists()
    assert (home.sync / "b.jpg").stat().st_nlink == 1
    assert home.told("b.jpg") == (
        State.PUBLISHED,
        "the same photo was published as trip/a.jpg; its copy was used",
    )
    assert home.told("trip/a.jpg") == (State.GONE, f"renamed to {home.outbox}/b.jpg; its copy was moved")
    assert home.bench.ledger.origin(result(1).sha256) == home.source("b.jpg")


def test_a_photo_that_gets_its_first_name_back_is_published_under_it(home: Home) -> None:
    for name in ("b.jpg", "a.jpg", "b.jpg"):
        path = next(home.outbox.iterdir(), None) or home.write("a.jpg")
        path.rename(home.outbox / name)
        home.process()

    assert (home.published(), home.cloaked) == ({"b.jpg": 1}, [1])


def test_a_renamed_folder_moves_as_a_whole_with_both_copies_of_a_photo(home: Home) -> None:
    for name, seed in (("trip/a.jpg", 1), ("trip/a copy.jpg", 1), ("trip/deep/b.jpg", 2)):
        os.utime(home.write(name, seed), (7, 7))
    home.process()
    (home.outbox / "trip").rename(home.outbox / "holiday")
    home.process()

    assert home.published() == {"holiday/a copy.jpg": 1, "holiday/a.jpg": 1, "holiday/deep/b.jpg": 2}
    assert sorted(home.cloaked) == [1, 2]
    assert [path.name for path in home.sync.iterdir() if path.is_dir()] == ["holiday"]
    assert home.told("trip/a.jpg")[1] == f"renamed to {home.outbox}/holiday/a.jpg; its copy was moved"


def test_a_copy_of_a_photo_is_published_beside_it(home: Home) -> None:
    shutil.copy2(home.write("a.jpg"), home.outbox / "b.jpg")
    home.process()

    assert (home.published(), home.cloaked) == ({"a.jpg": 1, "b.jpg": 1}, [1])


def test_a_second_export_after_the_original_was_cleared_away_is_a_copy(home: Home) -> None:
    os.utime(home.write("a.jpg"), (7, 7))
    home.process()
    (home.outbox / "a.jpg").unlink()
    home.write("album/a.jpg")
    home.process()

    assert (home.published(), home.cloaked) == ({"a.jpg": 1, "album/a.jpg": 1}, [1])


def test_with_keep_the_copy_under_the_former_name_stays(home: Home) -> None:
    bench = home.bench
    keeping = replace(bench, publisher=Publisher(bench.folder, bench.ledger, moves_renamed=False))
    home = Home(keeping, home.outbox)
    home.write("a.jpg")
    home.process()
    (home.outbox / "a.jpg").rename(home.outbox / "b.jpg")
    home.process()

    assert (home.published(), home.cloaked) == ({"a.jpg": 1, "b.jpg": 1}, [1])
    assert home.told("a.jpg") == (State.PUBLISHED, None)


def test_a_copy_that_the_user_changed_is_neither_removed_nor_used(home: Home) -> None:
    home.write("a.jpg")
    home.process()
    (home.sync / "a.jpg").write_bytes(b"retouched")
    (home.outbox / "a.jpg").rename(home.outbox / "b.jpg")
    home.process()

    assert (home.published(), home.cloaked) == ({"a.jpg": 0, "b.jpg": 1}, [1, 1])
    assert (home.sync / "a.jpg").read_bytes() == b"retouched"
    assert home.told("a.jpg") == (State.PUBLISHED, None)


@pytest.mark.parametrize("kind", ["symlink", "directory", "nothing"])
def test_what_is_no_copy_any_more_is_not_used(home: Home, kind: str) -> None:
    home.write("a.jpg")
    home.process()
    copy = home.sync / "a.jpg"
    copy.rename(home.sync.parent / "elsewhere.jpg")
    if kind == "symlink":
        copy.symlink_to(home.sync.parent / "elsewhere.jpg")
    if kind == "directory":
        copy.mkdir()
    (home.outbox / "a.jpg").rename(home.outbox / "b.jpg")
    home.process()

    assert home.cloaked == [1, 1]
    assert home.published()["b.jpg"] == 1
    assert os.path.lexists(copy) is (kind != "nothing")


def test_a_copy_already_under_the_name_to_be_is_taken_over(home: Home) -> None:
    home.write("a.heic")
    home.process()
    (home.outbox / "a.heic").rename(home.outbox / "a.jpg")
    home.process()

    assert (home.published(), home.cloaked) == ({"a.jpg": 1}, [1])
    home.write("a.heic", seed=2)
    home.process()
    assert home.published() == {"a.jpg": 1, "a~2.jpg": 2}


def test_a_folder_that_is_missing_as_a_whole_is_away_and_not_renamed(home: Home) -> None:
    path = home.write("a.jpg")
    home.process()
    shutil.copy2(path, home.outbox.parent / "b.jpg")
    home.outbox.rename(home.outbox.with_name("unplugged"))
    other = Home(home.bench, home.outbox.with_name("second"))
    other.outbox.mkdir()
    (home.outbox.parent / "b.jpg").rename(other.outbox / "b.jpg")
    other.process()

    assert (home.published(), other.cloaked) == ({"a.jpg": 1, "b.jpg": 1}, [])


@needs_root
def test_a_photo_on_a_drive_that_is_unplugged_is_away_and_not_renamed(home: Home) -> None:
    with small_disk(home.outbox / "stick", "1m"):
        path = home.write("stick/a.jpg")
        home.process()
        shutil.copy2(path, home.outbox / "b.jpg")
    home.process()

    assert not path.exists()
    assert (home.published(), home.cloaked) == ({"b.jpg": 1, "stick/a.jpg": 1}, [1])


def test_the_other_engines_and_other_options_result_is_not_used(home: Home) -> None:
    home.write("a.jpg")
    home.process()
    photo = home.bench.ledger.latest(home.source("a.jpg"))
    assert photo is not None
    asked = replace(photo, id=0, source=home.source("b.jpg"))

    def made(asked: Photo, fingerprint: str = TinyEngine.fingerprint) -> int:
        return len(home.bench.ledger.made_before(asked, fingerprint))

    assert made(asked) == 1
    assert made(asked, "another engine") == 0
    assert made(replace(asked, options='{"gps": false}')) == 0
    assert made(replace(asked, input_sha256="0" * 64)) == 0
    bobs = Source(Outbox("bob", home.outbox), Path("b.jpg"))
    assert made(replace(asked, source=bobs)) == 0


def rename_and_die(root: Path, at_call: int) -> bool:
    """Publish a renamed photo in a child process that kills itself before its n-th call; whether it got there."""
    pid = os.fork()
    if pid == 0:
        try:
            with opened_home(root) as home:
                arm(at_call)
                home.process()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("has_copy", [True, False], ids=["from the copy", "by the engine"])
def test_a_kill_at_any_call_loses_no_copy_and_the_restart_ends_with_one(
    tmp_path: Path, has_copy: bool
) -> None:
    was_killed, at_call, moved = True, 0, set()
    while was_killed:
        at_call += 1
        root = tmp_path / str(at_call)
        root.mkdir()
        with opened_home(root) as home:
            home.write("trip/a.jpg")
            home.process()
            if not has_copy:  # the options have changed since
                home.bench.ledger._db.execute("UPDATE photos SET options = 'others'")
            (home.outbox / "trip").rename(home.outbox / "holiday")
        was_killed = rename_and_die(root, at_call)
        with opened_home(root) as home:
            after = home.published()
            assert after
            assert set(after.values()) == {1}
            moved.add(tuple(after))
            home.process()
            assert home.published() == {"holiday/a.jpg": 1}
            assert home.told("trip/a.jpg")[0] is State.GONE
            assert home.told("holiday/a.jpg")[0] is State.PUBLISHED
            assert not (home.sync / "trip").exists()
            assert [path.name for path in (root / "staging").iterdir()] == ["lock"]
    assert moved == {("trip/a.jpg",), ("holiday/a.jpg", "trip/a.jpg"), ("holiday/a.jpg",)}


NAMES = ("a.jpg", "b.jpg", "x/a.jpg", "x/c.jpg")
DEEDS = st.tuples(
    st.sampled_from(("write", "rename", "copy", "process")),
    st.sampled_from(NAMES),
    st.sampled_from(NAMES),
    st.integers(1, 4),
)


@given(st.lists(DEEDS, max_size=12))
@settings(max_examples=60)
def test_whatever_is_renamed_and_copied_every_photo_has_its_own_copy(
    deeds: list[tuple[str, str, str, int]],
) -> None:
    with tempfile.TemporaryDirectory() as root, opened_home(Path(root)) as home:
        for deed, name, other, seed in deeds:
            path, new = home.outbox / name, home.outbox / other
            if deed == "write":
                home.write(name, seed)
            elif deed == "process":
                home.process()
            elif path.exists() and path != new:
                new.parent.mkdir(exist_ok=True)
                path.rename(new) if deed == "rename" else shutil.copy2(path, new)
        home.process()
        home.process()

        photos = {p: int(p.read_bytes()) for p in home.outbox.rglob("*") if p.is_file()}
        published = home.published()
        copies = set()
        for path, seed in photos.items():
            row = home.bench.ledger.latest(home.source(str(path.relative_to(home.outbox))))
            assert row is not None
            assert row.output is not None
            assert (row.state, published[str(row.output.relative)]) == (State.PUBLISHED, seed)
            copies.add(row.output.relative)
        assert len(copies) == len(photos)
