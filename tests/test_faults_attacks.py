"""Attacks on a running daemon: its folders, photos, ledger and clock are changed under its hands."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import WITHIN_S, DaemonProcess, Home
from faulty import FACTORY, Counter, Start, Wait, column, having, reasons, states
from twins import Deed, is_cloaked, make_photo

from daemon.cli.main import run_command
from daemon.publish.marker import MARKER_NAME
from daemon.service.run import once
from daemon.state.schema import LEDGER_NAME


@pytest.fixture
def running(home: Home, start: Start, eventually: Wait) -> Iterator[DaemonProcess]:
    """A daemon that has published `first.jpg`; at the end it must still run, and have raised nothing."""
    (home.outbox / "first.jpg").write_bytes(make_photo())
    home.write_config()
    daemon = start(having(home, rescan_s=1.0))
    eventually(lambda: home.published() == ["first.jpg"])
    yield daemon
    assert daemon.process.poll() in {None, 0}
    assert "Traceback" not in daemon.log


def assert_cloaked(folder: Path) -> None:
    """Nothing below a folder is an original, or half a photo."""
    for path in folder.rglob("*.*"):
        if path.is_file() and not path.name.startswith("."):
            assert is_cloaked(path.read_bytes()), path


def originals(folder: Path) -> set[bytes]:
    return {
        path.read_bytes() for path in folder.rglob("*.*") if path.is_file() and not path.name.startswith(".")
    }


# The sync folder


def test_a_sync_folder_moved_into_the_outbox_behind_a_link_is_not_used(
    home: Home, running: DaemonProcess, eventually: Wait
) -> None:
    home.sync.rename(home.outbox / "sync")
    home.sync.symlink_to(home.outbox / "sync")

    (home.outbox / "a.jpg").write_bytes(make_photo(seed=1))

    eventually(lambda: "user ada: paused" in running.log)
    assert not (home.outbox / "sync" / "a.jpg").exists()
    home.sync.unlink()
    (home.outbox / "sync").rename(home.sync)
    eventually(lambda: home.published() == ["a.jpg", "first.jpg"])
    assert_cloaked(home.sync)


def test_a_sync_folder_deleted_and_made_anew_gets_nothing_until_its_marker_is_back(
    home: Home, running: DaemonProcess, eventually: Wait
) -> None:
    marker = (home.sync / MARKER_NAME).read_bytes()
    shutil.rmtree(home.sync)
    home.sync.mkdir()

    (home.outbox / "a.jpg").write_bytes(make_photo(seed=1))

    eventually(lambda: "is not the folder used before" in running.log)
    assert list(home.sync.iterdir()) == []
    (home.sync / MARKER_NAME).write_bytes(marker)
    eventually(lambda: home.published() == ["a.jpg"])


def test_a_sync_folder_exchanged_during_the_work_gets_nothing(
    home: Home, running: DaemonProcess, eventually: Wait, tmp_path: Path
) -> None:
    with home.engine_held():
        (home.outbox / "a.jpg").write_bytes(make_photo(seed=1))
        eventually(lambda: "working" in states(home))
        home.sync.rename(tmp_path / "aside")
        home.sync.mkdir()

    eventually(lambda: "user ada: paused" in running.log)

    assert list(home.sync.iterdir()) == []
    home.sync.rmdir()
    (tmp_path / "aside").rename(home.sync)
    eventually(lambda: home.published() == ["a.jpg", "first.jpg"])


def test_a_staging_folder_that_is_deleted_is_made_again(
    home: Home, running: DaemonProcess, eventually: Wait
) -> None:
    shutil.rmtree(home.sync.with_name(".fawkesd-staging-sync"))

    (home.outbox / "a.jpg").write_bytes(make_photo(seed=1))

    eventually(lambda: home.published() == ["a.jpg", "first.jpg"])
    assert "held" not in states(home)


def test_a_staging_folder_exchanged_for_a_link_into_the_sync_folder_is_not_used(
    home: Home, running: DaemonProcess, eventually: Wait
) -> None:
    staging = home.sync.with_name(".fawkesd-staging-sync")
    shutil.rmtree(staging)
    staging.symlink_to(home.sync)

    (home.outbox / "a.jpg").write_bytes(make_photo(seed=1))

    eventually(lambda: "user ada: paused" in running.log)
    assert home.published() == ["first.jpg"]
    staging.unlink()
    eventually(lambda: home.published() == ["a.jpg", "first.jpg"])


# The outbox


def test_links_from_the_outbox_into_the_sync_folder_publish_and_change_nothing(
    home: Home, running: DaemonProcess, eventually: Wait
) -> None:
    copy = home.sync / "first.jpg"
    before = (copy.read_bytes(), copy.stat().st_ino, copy.stat().st_mtime_ns)
    os.link(copy, home.outbox / "hard.jpg")
    (home.outbox / "soft.jpg").symlink_to(copy)
    (home.outbox / "folder").symlink_to(home.sync)

    (home.outbox / "z.jpg").write_bytes(make_photo(seed=1))

    eventually(lambda: len(reasons(home)) == 1 and "z.jpg" in home.published())
    assert reasons(home)[0].startswith("already cloaked")
    assert home.published() == ["first.jpg", "z.jpg"]
    assert (copy.read_bytes(), copy.stat().st_ino, copy.stat().st_mtime_ns) == before


def test_a_copy_that_an_outbox_shares_as_a_hard_link_is_not_written_through(
    home: Home, running: DaemonProcess, eventually: Wait
) -> None:
    """The overwritten original replaces the copy under its name; the other name keeps what it had."""
    os.link(home.sync / "first.jpg", home.outbox / "hard.jpg")
    before = (home.outbox / "hard.jpg").read_bytes()

    (home.outbox / "first.jpg").write_bytes(make_photo(seed=7))

    eventually(lambda: "superseded" in states(home) and (home.sync / "first.jpg").read_bytes() != before)
    assert (home.outbox / "hard.jpg").read_bytes() == before
    assert_cloaked(home.sync)


def renamed_over(path: Path, photo: bytes) -> None:
    path.with_name("new").write_bytes(photo)
    path.with_name("new").rename(path)


def truncated(path: Path, _photo: bytes) -> None:
    os.truncate(path, 100)


def written_in_place(path: Path, photo: bytes) -> None:
    """As long as before, and with its time set back."""
    status = path.stat()
    with path.open("r+b") as file:
        file.write(photo)
        file.truncate()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def in_place_of(make: Callable[[Path], object]) -> Callable[[Path, bytes], None]:
    def replace_it(path: Path, _photo: bytes) -> None:
        path.unlink()
        make(path)

    return replace_it


@pytest.mark.parametrize(
    ("strike", "ends"),
    [
        (renamed_over, "published"),
        (written_in_place, "published"),
        (truncated, "held"),
        (in_place_of(os.mkfifo), None),
        (in_place_of(Path.mkdir), None),
        (in_place_of(lambda path: path.symlink_to("/etc/passwd")), None),
        (in_place_of(lambda path: path.symlink_to(path.name)), None),
        (in_place_of(lambda path: path.symlink_to(path.parents[1] / "sync" / "first.jpg")), None),
    ],
    ids=[
        "renamed over",
        "written in place",
        "truncated",
        "fifo",
        "directory",
        "link",
        "loop",
        "link to copy",
    ],
)
def test_a_photo_replaced_while_it_is_worked_on_is_published_as_it_is_now_or_not_at_all(
    home: Home,
    running: DaemonProcess,
    eventually: Wait,
    strike: Callable[[Path, bytes], None],
    ends: str | None,
) -> None:
    path, later = home.outbox / "a.jpg", make_photo(seed=9)
    with home.engine_held():
        path.write_bytes(make_photo(seed=1))
        eventually(lambda: "working" in states(home))

        strike(path, later)

    eventually(lambda: "working" not in states(home))
    if ends == "published":
        eventually(lambda: states(home)[-1] == "published" and "a.jpg" in home.published())
        assert b"".join(column(home, "path", "state = 'published'")).endswith(b"a.jpg")
    elif ends is None:
        (home.outbox / "z.jpg").write_bytes(make_photo(seed=3))
        eventually(lambda: "z.jpg" in home.published())
        assert "a.jpg" not in home.published()
    assert_cloaked(home.sync)


def test_names_that_become_one_stay_apart_through_overwriting_and_deleting(home: Home) -> None:
    """`a.heic` becomes a JPEG here, as a HEIC does."""
    names = ["a.heic", "a.jpg", "a.JPG", "A.heif", "e\u0301.heic", "\u00e9.jpg", "\u00c9.JPG"]
    for number, name in enumerate(names):
        (home.outbox / name).write_bytes(make_photo(seed=number))
    once(home.settings, Counter(), FACTORY)
    assert len(home.published()) == len(names)
    min(home.sync.glob("[aA].*"), key=lambda path: len(path.name)).unlink()  # which frees its name

    for number, name in enumerate(names):
        (home.outbox / name).write_bytes(make_photo(seed=100 + 20 * number))
    once(home.settings, Counter(), FACTORY)

    assert len(originals(home.sync)) == len(home.published()) == len(names)
    assert_cloaked(home.sync)


def test_a_numbered_copy_is_replaced_though_a_nearer_name_has_become_free(home: Home) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())
    once(home.settings, Counter(), FACTORY)
    (home.outbox / "a.heic").write_bytes(make_photo(seed=1))
    once(home.settings, Counter(), FACTORY)
    assert home.published() == ["a.jpg", "a~2.jpg"]
    before = (home.sync / "a~2.jpg").read_bytes()
    (home.sync / "a.jpg").unlink()

    (home.outbox / "a.heic").write_bytes(make_photo(seed=100))
    once(home.settings, Counter(), FACTORY)

    assert home.published() == ["a~2.jpg"]
    assert (home.sync / "a~2.jpg").read_bytes() != before


# The configuration


def test_folders_that_a_reload_moves_while_photos_are_in_work_leak_and_lose_nothing(
    home: Home, running: DaemonProcess, eventually: Wait, tmp_path: Path
) -> None:
    """The folders go to other places, and the new outbox is what was the sync folder."""
    (user,) = home.settings.users
    other = tmp_path / "other sync"
    other.mkdir()
    users = (user.model_copy(update={"outboxes": (home.sync, home.outbox), "sync": other}),)
    moved = replace(home, sync=other, settings=home.settings.model_copy(update={"users": users}))
    with home.engine_held():
        for number in range(6):
            (home.outbox / f"{number}.jpg").write_bytes(make_photo(seed=number + 1))
        eventually(lambda: "working" in states(home))

        assert run_command(["reload", "-c", str(moved.write_config())]) == 0

    eventually(lambda: running.log.count("engine ready") == 2)
    every = {"first.jpg", *(f"{number}.jpg" for number in range(6))}
    eventually(lambda: {*(path.name for path in home.sync.glob("*.jpg")), *moved.published()} == every)
    eventually(lambda: {"ready", "working", "staged", "publishing"}.isdisjoint(states(home)))
    assert_cloaked(home.sync)
    assert_cloaked(other)


def test_folders_that_a_reload_exchanges_publish_no_original(
    home: Home, running: DaemonProcess, eventually: Wait
) -> None:
    (user,) = home.settings.users
    users = (user.model_copy(update={"outboxes": (home.sync,), "sync": home.outbox}),)
    before = originals(home.outbox)
    exchanged = replace(home, settings=home.settings.model_copy(update={"users": users}))

    assert run_command(["reload", "-c", str(exchanged.write_config())]) == 0

    eventually(lambda: running.log.count("engine ready") == 2 and len(reasons(home)) == 1)
    assert reasons(home)[0].startswith("already cloaked")
    assert originals(home.outbox) == before


# The ledger


@contextlib.contextmanager
def locked(ledger: Path) -> Iterator[None]:
    with contextlib.closing(sqlite3.connect(ledger, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


def test_a_ledger_that_another_program_locks_makes_everything_wait(
    home: Home, running: DaemonProcess, eventually: Wait
) -> None:
    with locked(home.state_dir / LEDGER_NAME):
        (home.outbox / "a.jpg").write_bytes(make_photo(seed=1))
        eventually(lambda: "database is locked" in running.log)
        assert home.published() == ["first.jpg"]

    eventually(lambda: home.published() == ["a.jpg", "first.jpg"])


def without_ledger(state_dir: Path) -> None:
    for path in state_dir.glob(f"{LEDGER_NAME}*"):
        path.unlink()


@pytest.mark.parametrize("delete", [without_ledger, shutil.rmtree], ids=["ledger", "state folder"])
def test_a_ledger_that_is_deleted_during_the_run_is_not_forgotten(
    home: Home, running: DaemonProcess, eventually: Wait, delete: Callable[[Path], None]
) -> None:
    delete(home.state_dir)

    (home.outbox / "a.jpg").write_bytes(make_photo(seed=1))

    eventually(lambda: home.published() == ["a.jpg", "first.jpg"])
    eventually(lambda: states(home) == ["published", "published"])
    assert running.stop() == 0
    once(home.settings, Counter(), FACTORY)
    assert home.published() == ["a.jpg", "first.jpg"]


@pytest.mark.parametrize("size", [0, 5000])
def test_a_ledger_truncated_during_the_run_publishes_nothing_uncloaked(
    home: Home, start: Start, eventually: Wait, size: int
) -> None:
    (home.outbox / "first.jpg").write_bytes(make_photo())
    daemon = start(home.settings)
    eventually(lambda: home.published() == ["first.jpg"] and states(home) == ["published"])

    os.truncate(home.state_dir / LEDGER_NAME, size)
    (home.outbox / "a.jpg").write_bytes(make_photo(seed=1))

    eventually(lambda: daemon.process.poll() is not None or "a.jpg" in home.published())
    assert "Traceback" not in daemon.log
    assert_cloaked(home.sync)


def overwritten_with_noise(ledger: Path) -> None:
    """All but the first page, by which it is taken for a ledger."""
    data = ledger.read_bytes()
    ledger.write_bytes(data[:4096] + b"\xa5" * (len(data) - 4096))


@pytest.mark.parametrize(
    "damage",
    [lambda path: os.truncate(path, 100), lambda path: os.truncate(path, 5000), overwritten_with_noise],
    ids=["header alone", "cut", "noise"],
)
def test_a_damaged_ledger_is_told_and_nothing_is_published(
    home: Home, start: Start, damage: Callable[[Path], None]
) -> None:
    (home.outbox / "first.jpg").write_bytes(make_photo())
    once(home.settings, Counter(), FACTORY)
    damage(home.state_dir / LEDGER_NAME)
    (home.outbox / "a.jpg").write_bytes(make_photo(seed=1))

    daemon = start(home.settings)

    assert daemon.process.wait(WITHIN_S) != 0
    assert "Traceback" not in daemon.log
    assert "ledger" in daemon.log
    assert home.published() == ["first.jpg"]


# Fault 20 is the clock of the file system.

CLOCK = """
import os, time
_real = time.time
def _shifted():
    try:
        return _real() + float(open(os.environ["CLOCK"]).read())
    except (OSError, ValueError):
        return _real()
time.time = _shifted
"""


@pytest.mark.parametrize("years", [-30, -5, 5, 70])
def test_a_clock_that_jumps_by_years_keeps_no_photo_and_makes_no_loop(
    home: Home, start: Start, eventually: Wait, tmp_path: Path, years: int
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(CLOCK)
    clock = tmp_path / "clock"
    clock.write_text("0")
    tests = Path(__file__).parent
    path = f"PYTHONPATH={tmp_path}/site:{tests.parent}:{tests}"
    daemon = start(having(home, rescan_s=1.0), under=("env", path, f"CLOCK={clock}"))
    away = home.sync.rename(tmp_path / "away")
    (home.outbox / "a.jpg").write_bytes(make_photo(Deed.TAKE_A_SECOND))
    (home.outbox / "dies.jpg").write_bytes(make_photo(Deed.RAISE))
    eventually(lambda: len(states(home)) == 2)

    clock.write_text(str(years * 31_557_600))
    away.rename(home.sync)
    (home.outbox / "b.jpg").write_bytes(make_photo(seed=1))
    eventually(lambda: home.published() == ["a.jpg", "b.jpg"] and states(home).count("held") == 1)
    clock.write_text("0")
    (home.outbox / "c.jpg").write_bytes(make_photo(seed=2))

    eventually(lambda: home.published() == ["a.jpg", "b.jpg", "c.jpg"])
    assert len(daemon.log.splitlines()) < 200
    assert 'Traceback (most recent call last):\n  File "<string>"' not in daemon.log
    assert daemon.stop() == 0
