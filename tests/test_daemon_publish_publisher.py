"""Publishing: whole files only, once, over nothing foreign, and kill -9 at every call that matters.

Every test runs twice: with hard links, and where they are refused as on FAT.
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import hashlib
import io
import os
import re
import shutil
import signal
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from faulty import fill, needs_root, small_disk
from twins import make_photo, protected

from daemon.errors import AlreadyRunning, NameRefused, PublishFault, SyncUnavailable
from daemon.fs import noreplace
from daemon.fs.files import snapshot_of
from daemon.fs.mounts import kind_of
from daemon.fs.noreplace import Way
from daemon.model import Outbox, Photo, Settled, Source, State
from daemon.publish.marker import MARKER_NAME
from daemon.publish.publisher import Publisher
from daemon.publish.sync_folder import SyncFolder
from daemon.state.ledger import Ledger
from daemon.state.schema import LEDGER_NAME
from fawkes_engine import Protected


@pytest.fixture(params=list(Way), ids=lambda way: way.value, autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Way:
    """How a photo gets into the sync folder."""
    if request.param is Way.RENAME:
        monkeypatch.setattr(os, "link", failing(errno.EPERM))
    way: Way = request.param
    return way


def failing(number: int) -> Callable[..., None]:
    """What a file system answers that cannot do something."""

    def call(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return call


@dataclass(frozen=True, slots=True)
class Bench:
    """A ledger, an outbox and a sync folder, ready to publish."""

    root: Path
    ledger: Ledger
    folder: SyncFolder
    publisher: Publisher

    @property
    def sync(self) -> Path:
        return self.root / "sync"

    def working(self, name: str = "a.jpg", data: bytes = b"source") -> Photo:
        """A photo in the outbox whose row is WORKING."""
        source = Source(Outbox("ada", self.root / "outbox"), Path(name))
        source.path.parent.mkdir(parents=True, exist_ok=True)
        source.path.write_bytes(data)
        snapshot = snapshot_of(source.path)
        assert snapshot is not None
        self.ledger.admit([Settled(source, snapshot)])
        photo = self.ledger.latest(source)
        assert photo is not None
        self.ledger.move(photo, State.WORKING)
        return photo

    def publish(self, name: str = "a.jpg", seed: int = 0, suffix: str = ".jpg") -> Path:
        """Publish a photo of this name; returns where, below the sync folder."""
        photo = self.working(name, f"source {seed}".encode())
        published = self.publisher.publish(photo, result(seed, suffix))
        assert published.output is not None
        return published.output.relative

    def names(self) -> list[str]:
        files = [path for path in self.sync.rglob("*") if path.is_file() and path.name != MARKER_NAME]
        return sorted(str(path.relative_to(self.sync)) for path in files)


def result(seed: int = 0, suffix: str = ".jpg") -> Protected:
    return protected(make_photo(seed=seed), suffix)


@contextlib.contextmanager
def opened_bench(root: Path) -> Iterator[Bench]:
    (root / "sync").mkdir(exist_ok=True)
    ledger = Ledger(root / LEDGER_NAME)
    folder = SyncFolder(root / "sync", root / "staging", ledger)
    folder.activate()
    yield Bench(root, ledger, folder, Publisher(folder, ledger))
    folder.release()
    ledger.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with opened_bench(tmp_path) as ready:
        yield ready


@needs_root
def test_a_full_disk_is_told_in_the_same_words_however_often_it_is_looked_at(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "8m") as disk, opened_bench(disk) as bench:
        filler = fill(disk)
        with pytest.raises(SyncUnavailable) as first, bench.folder.writable(300_000):
            pass
        with pytest.raises(SyncUnavailable) as later:
            bench.folder.activate(300_000)
        assert str(first.value) == str(later.value) == f"{bench.sync} is full: 1 MiB must be free"
        filler.unlink()
        bench.folder.activate(300_000)


def test_a_published_photo_keeps_path_time_and_the_modes_of_its_user(bench: Bench) -> None:
    photo = bench.working("trip/day 1/a.jpg")
    umask = os.umask(0o027)
    try:
        row = bench.publisher.publish(photo, result())
    finally:
        os.umask(umask)

    published = bench.sync / "trip/day 1/a.jpg"
    status = published.stat()
    assert published.read_bytes() == result().data
    assert (status.st_mtime_ns, status.st_mode & 0o777) == (photo.snapshot.mtime_ns, 0o640)
    assert status.st_nlink == 1
    assert row == bench.ledger.get(photo.id)
    assert row.state is State.PUBLISHED


def test_nothing_is_left_in_staging(bench: Bench) -> None:
    bench.publish()

    assert [path.name for path in (bench.root / "staging").iterdir()] == ["lock"]


def test_a_foreign_file_is_never_replaced(bench: Bench) -> None:
    (bench.sync / "a.jpg").write_bytes(b"mine")
    (bench.sync / "a~2.jpg").mkdir()

    assert bench.publish() == Path("a~3.jpg")
    assert (bench.sync / "a.jpg").read_bytes() == b"mine"


def test_a_new_content_replaces_the_earlier_output_of_the_same_photo(bench: Bench) -> None:
    bench.publish(seed=1)
    bench.publish(seed=2)

    assert bench.names() == ["a.jpg"]
    assert (bench.sync / "a.jpg").read_bytes() == result(2).data


def test_an_earlier_output_that_its_owner_edited_is_foreign(bench: Bench) -> None:
    bench.publish(seed=1)
    (bench.sync / "a.jpg").write_bytes(b"edited")

    assert bench.publish(seed=2) == Path("a~2.jpg")
    assert (bench.sync / "a.jpg").read_bytes() == b"edited"


@pytest.mark.parametrize("twin", ["IMG.JPG", "IMG.jpg"])
def test_names_that_other_systems_take_for_one_get_a_number(bench: Bench, twin: str) -> None:
    bench.publish("img.jpg", seed=1)

    assert bench.publish(twin, seed=2) == Path(twin.replace(".", "~2."))


def test_twin_directories_are_kept_apart_for_good(bench: Bench) -> None:
    bench.publish("Trip/a.jpg", seed=1)

    assert bench.publish("trip/a.jpg", seed=2) == Path("trip~2/a.jpg")
    assert bench.publish("trip/b.jpg", seed=3) == Path("trip~2/b.jpg")
    assert bench.publish("Trip/b.jpg", seed=4) == Path("Trip/b.jpg")


def test_a_symlink_in_the_sync_folder_is_never_followed(bench: Bench, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (bench.sync / "trip").symlink_to(outside)

    assert bench.publish("trip/a.jpg") == Path("trip~2/a.jpg")
    assert list(outside.iterdir()) == []


def test_a_changed_format_changes_the_extension(bench: Bench) -> None:
    assert bench.publish("a.HEIC", suffix=".jpg") == Path("a.jpg")
    assert bench.publish("b.JPEG", suffix=".jpg") == Path("b.JPEG")


def test_bytes_that_are_not_the_verified_ones_are_not_published(bench: Bench) -> None:
    forged = replace(result(), sha256=hashlib.sha256(b"other").hexdigest())

    with pytest.raises(PublishFault, match="differs from the one that was verified"):
        bench.publisher.publish(bench.working(), forged)

    assert bench.names() == []


def test_a_name_too_long_for_the_folder_is_refused_for_good(bench: Bench) -> None:
    (bench.sync / ("n" * 251 + ".jpg")).write_bytes(b"foreign")

    with pytest.raises(NameRefused):
        bench.publish("n" * 251 + ".jpg")


def test_an_unmounted_drive_is_never_written_to(bench: Bench) -> None:
    photo = bench.working()
    shutil.rmtree(bench.sync)
    bench.sync.mkdir()  # what an unmount leaves behind

    with pytest.raises(SyncUnavailable, match="is its drive mounted"):
        bench.publisher.publish(photo, result())
    with pytest.raises(SyncUnavailable, match="is its drive mounted"):
        bench.folder.activate()

    assert list(bench.sync.iterdir()) == []


def test_a_missing_folder_is_unavailable_and_works_again_when_it_is_back(bench: Bench) -> None:
    bench.sync.rename(bench.root / "away")
    with pytest.raises(SyncUnavailable):
        bench.folder.activate()
    (bench.root / "away").rename(bench.sync)

    bench.folder.activate()

    assert bench.publish() == Path("a.jpg")


def test_a_folder_used_by_another_daemon_says_by_which_process(bench: Bench) -> None:
    other = SyncFolder(bench.sync, bench.root / "staging", bench.ledger)

    with pytest.raises(AlreadyRunning, match=str(os.getpid())):
        other.activate()


@pytest.mark.parametrize(
    ("closed", "words"),
    [
        ("sync", r"sync cannot be used: Permission denied"),
        (".", r"the place for the staging folder, cannot be written to"),
    ],
)
def test_a_folder_of_somebody_else_is_named_with_its_owner(closed: str, words: str) -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:  # that of pytest is closed to others
        root, user = Path(name), os.geteuid()
        (root / "sync").mkdir()
        ledger = Ledger(root / LEDGER_NAME)
        folder = SyncFolder(root / "sync", root / "staging", ledger)
        for place in (root, root / "sync"):
            place.chmod(0o777)
        (root / closed).chmod(0o555)
        os.seteuid(user or 65534)  # root may write everywhere
        try:
            with pytest.raises(
                SyncUnavailable, match=rf"{words} \(its mode is dr-xr-xr-x, its owner .*runs as"
            ):
                folder.activate()
        finally:
            os.seteuid(user)
            root.chmod(0o700)
            ledger.close()


def test_a_link_to_an_outbox_that_a_folder_replaces_in_between_is_not_used(tmp_path: Path) -> None:
    """A link is what was opened, and a folder what was checked: the marker of a sync folder belongs into neither."""
    outbox, sync = tmp_path / "outbox", tmp_path / "sync"
    outbox.mkdir()
    sync.symlink_to(outbox)

    def repaired(_folder: Path) -> None:
        if sync.is_symlink():
            sync.unlink()
            sync.mkdir()

    ledger = Ledger(tmp_path / LEDGER_NAME)
    folder = SyncFolder(sync, tmp_path / "staging", ledger, repaired)

    with pytest.raises(SyncUnavailable, match="was replaced while it was looked at"):
        folder.activate()
    assert [*outbox.iterdir(), *sync.iterdir()] == []
    folder.activate()
    folder.release()
    ledger.close()
    assert [*outbox.iterdir(), *sync.iterdir()] == [sync / MARKER_NAME]


def test_staging_on_another_mount_is_refused(tmp_path: Path) -> None:
    shm = Path("/dev/shm")
    if not shm.is_dir() or shm.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system at /dev/shm")
    (tmp_path / "sync").mkdir()
    ledger = Ledger(tmp_path / LEDGER_NAME)
    staging = shm / f"fawkesd-test-{os.getpid()}"
    folder = SyncFolder(tmp_path / "sync", staging, ledger)
    try:
        with pytest.raises(SyncUnavailable, match="on the same mount"):
            folder.activate()
    finally:
        folder.release()
        ledger.close()
    assert not staging.exists()


def test_parts_of_one_mount_that_files_cannot_cross_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", failing(errno.EXDEV))  # as a union of disks by FUSE

    with (
        pytest.raises(SyncUnavailable, match=r"not on the same mount.*set `staging`"),
        opened_bench(tmp_path),
    ):
        pass


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS])
def test_a_file_system_without_any_way_is_named_with_what_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(os, "link", failing(errno.EPERM))
    monkeypatch.setattr(noreplace, "rename", failing(number))
    kind = re.escape(str(kind_of(tmp_path.stat().st_dev) or "of an unknown kind"))

    wanted = rf"\({kind}\) has neither.*choose a sync folder"
    with pytest.raises(SyncUnavailable, match=wanted), opened_bench(tmp_path):
        pass
    assert [path.name for path in (tmp_path / "staging").iterdir()] == ["lock"]


def test_a_taken_name_that_is_listed_otherwise_gets_a_number(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bench.sync / "holiday~1.jpg").write_bytes(b"mine")
    monkeypatch.setattr(os, "listdir", lambda _: ["holiday in the mountains.jpg"])  # FAT's long name of it

    assert bench.publish("holiday~1.jpg") == Path("holiday~1~2.jpg")
    assert (bench.sync / "holiday~1.jpg").read_bytes() == b"mine"


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOSYS])
def test_modes_and_times_that_the_disk_cannot_keep_are_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(Path, "chmod", failing(number))
    monkeypatch.setattr(os, "utime", failing(number))

    with opened_bench(tmp_path) as bench:
        assert bench.publish("trip/a.jpg") == Path("trip/a.jpg")


def test_folders_that_cannot_be_flushed_are_published_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flush = os.fsync

    def fsync(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        flush(fd)

    monkeypatch.setattr(os, "fsync", fsync)

    with opened_bench(tmp_path) as bench:
        assert bench.publish("trip/a.jpg") == Path("trip/a.jpg")


@pytest.mark.parametrize(
    ("number", "name"),
    [(errno.EINVAL, "a:b?.jpg"), (errno.ENOENT, "a:b?.jpg"), (errno.EILSEQ, "a\U0001f600.jpg")],
)
def test_a_name_that_the_file_system_cannot_hold_is_refused_with_the_reason(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, number: int, name: str
) -> None:
    def refuse(file: Path, name: str, _: int) -> None:
        raise OSError(number, os.strerror(number), str(file), None, name)

    monkeypatch.setattr("daemon.publish.publisher.place", refuse)

    with pytest.raises(NameRefused, match=rf"the file system \(.*'{re.escape(name)}'.*; rename the file"):
        bench.publish(name)


def test_staging_is_private_and_swept_of_our_files_only(tmp_path: Path) -> None:
    staging = tmp_path / "staging"
    staging.mkdir(mode=0o755)
    (staging / "0123456789abcdef").write_bytes(b"left by a crash")
    (staging / "holiday.jpg").write_bytes(b"not ours")

    with opened_bench(tmp_path):
        assert staging.stat().st_mode & 0o777 == 0o700
        assert sorted(path.name for path in staging.iterdir()) == ["holiday.jpg", "lock"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make a folder of another group")
def test_photos_get_the_group_of_a_shared_folder(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    os.chown(shared, -1, 1)
    shared.chmod(0o2775)

    with opened_bench(shared) as bench:
        assert (bench.sync / bench.publish("trip/a.jpg")).stat().st_gid == 1
        assert (shared / "staging").stat().st_mode & 0o777 == 0o700


def test_a_reader_never_sees_a_partial_file(bench: Bench) -> None:
    seen: list[bytes] = []
    stop = threading.Event()

    def poll() -> None:
        while not stop.is_set():
            seen.extend(path.read_bytes() for path in bench.sync.glob("*.jpg"))

    reader = threading.Thread(target=poll)
    reader.start()
    for number in range(60):
        bench.publish(f"{number % 20}.jpg", seed=number)
    stop.set()
    reader.join()

    whole = {result(number).data for number in range(60)}
    assert seen
    assert set(seen) <= whole


CALLS = ("open", "write", "fsync", "link", "rename", "unlink", "mkdir", "rmdir", "utime", "close")


def publish_and_die(root: Path, at_call: int) -> bool:
    """Publish in a child process that kills itself before its n-th call; returns whether it got there."""
    pid = os.fork()
    if pid == 0:
        try:
            with opened_bench(root) as bench:
                photo = bench.working("trip/a.jpg")
                arm(at_call)
                bench.publisher.publish(photo, result(1))
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def arm(at_call: int) -> None:
    count = 0

    def killing(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count == at_call:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return call

    for name in CALLS:
        setattr(os, name, killing(getattr(os, name)))
    io.open = builtins.open = killing(builtins.open)
    noreplace.rename = killing(noreplace.rename)
    Ledger.move = killing(Ledger.move)  # type: ignore[method-assign]


@pytest.mark.parametrize("replaces", [False, True], ids=["first content", "second content"])
def test_a_kill_at_any_call_leaves_no_partial_file_and_the_restart_publishes_once(
    tmp_path: Path, replaces: bool
) -> None:
    was_killed, at_call = True, 0
    while was_killed:
        at_call += 1
        root = tmp_path / str(at_call)
        root.mkdir()
        with opened_bench(root) as bench:
            if replaces:
                bench.publish("trip/a.jpg", seed=0)
            before = bench.names()
        was_killed = publish_and_die(root, at_call)
        with opened_bench(root) as bench:
            assert bench.names() in (before, ["trip/a.jpg"])
            assert all(is_whole(bench.sync / name) for name in bench.names())
            _recover(bench)
            assert bench.names() == ["trip/a.jpg"]
            assert (bench.sync / "trip/a.jpg").read_bytes() == result(1).data
            assert (bench.sync / "trip/a.jpg").stat().st_nlink == 1
            assert [path.name for path in (root / "staging").iterdir()] == ["lock"]
    assert at_call > 20, "the calls of publishing were not counted"


def is_whole(path: Path) -> bool:
    return path.read_bytes() in {result(0).data, result(1).data}


def _recover(bench: Bench) -> None:
    for photo in bench.ledger.in_state(State.PUBLISHING):
        bench.publisher.settle(photo)
    for photo in bench.ledger.in_state(State.READY):
        bench.ledger.move(photo, State.WORKING)
        bench.publisher.publish(photo, result(1))
    assert bench.ledger.count(State.PUBLISHED) == 1
