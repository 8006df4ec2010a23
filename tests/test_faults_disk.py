"""Faults 10 to 14, 16, 19: disks that are full, read-only, failing, forbidden or gone."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Home
from faulty import (
    Start,
    Wait,
    drive,
    engine_works,
    fill,
    having,
    make_disk,
    mount,
    needs_root,
    needs_strace,
    reasons,
    small_disk,
    states,
    unmount,
)
from twins import is_cloaked, make_photo

from daemon.config.settings import Settings
from daemon.publish.marker import MARKER_NAME

# Root may read everything; without these two rights it is a user like any other.
AS_A_USER = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all")


def on(disk: Path, home: Home) -> Home:
    """The same home with its sync and staging folders on a disk of their own."""
    (user,) = home.settings.users
    user = user.model_copy(update={"sync": disk / "sync"})
    user.sync.mkdir()
    return Home(home.outbox, user.sync, home.settings.model_copy(update={"users": (user,)}))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "256k") as place:
        yield place


@needs_root
def test_fault_10_a_full_disk_pauses_and_goes_on_when_there_is_room(
    home: Home, disk: Path, start: Start, eventually: Wait
) -> None:
    home = on(disk, home)
    daemon = start(home.settings)
    eventually(lambda: "engine ready" in daemon.log)
    filler = fill(disk)

    (home.outbox / "a.jpg").write_bytes(make_photo())
    eventually(lambda: "user ada: paused" in daemon.log)
    assert (states(home), home.published(), engine_works(daemon)) == (["ready"], [], 0)
    filler.unlink()

    eventually(lambda: home.published() == ["a.jpg"])
    assert is_cloaked((home.sync / "a.jpg").read_bytes())
    assert daemon.log.count("user ada: paused") == 1
    daemon.stop()


@needs_root
def test_fault_10_a_result_that_finds_the_disk_full_is_kept_and_not_made_again(
    home: Home, disk: Path, start: Start, eventually: Wait
) -> None:
    home = on(disk, home)
    (home.outbox / "a.jpg").write_bytes(make_photo())
    with home.engine_held():
        daemon = start(home.settings)
        eventually(lambda: states(home) == ["working"])
        filler = fill(disk)
    eventually(lambda: "user ada: paused" in daemon.log and states(home) == ["ready"])
    assert len(list((home.state_dir / "results").iterdir())) == 1
    assert [path.name for path in home.sync.parent.glob(".fawkesd-staging-sync/*")] == ["lock"]
    daemon.stop()

    second = start(home.settings)
    eventually(lambda: "user ada: paused" in second.log and "engine ready" in second.log)
    filler.unlink()

    eventually(lambda: states(home) == ["published"])
    eventually(lambda: list((home.state_dir / "results").iterdir()) == [])
    assert home.published() == ["a.jpg"]
    assert (engine_works(daemon), engine_works(second)) == (1, 0)
    second.stop()


@needs_root
def test_fault_11_a_full_disk_below_the_ledger_makes_everything_wait(
    home: Home, start: Start, eventually: Wait, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "small", "8m") as disk:
        settings = home.settings.model_copy(update={"state_dir": disk / "state"})
        daemon = start(settings)
        eventually(lambda: "engine ready" in daemon.log)
        filler = fill(disk)
        for number in range(40):
            (home.outbox / f"{number}.jpg").write_bytes(make_photo(seed=number))
        eventually(lambda: "all work is suspended" in daemon.log)
        time.sleep(0.5)
        assert daemon.process.poll() is None
        filler.unlink()

        eventually(lambda: len(home.published()) == 40)
        assert all(is_cloaked((home.sync / name).read_bytes()) for name in home.published())
        assert daemon.stop() == 0


@needs_strace
@pytest.mark.parametrize("failing", [3, 4], ids=["of the staged file", "of the sync folder"])
def test_fault_12_a_failed_fsync_is_a_failed_write_and_is_made_again(
    home: Home, start: Start, eventually: Wait, failing: int
) -> None:
    # The first two are those of the marker and of its folder.
    strace = ("strace", "-D", "-qq", "-o", "/dev/null", "-e", f"inject=fsync:error=EIO:when={failing}")
    daemon = start(home.settings, under=strace)
    eventually(lambda: "engine ready" in daemon.log)

    (home.outbox / "a.jpg").write_bytes(make_photo())

    eventually(lambda: states(home) == ["published"])
    assert "Input/output error" in daemon.log
    assert home.published() == ["a.jpg"]
    assert [path.name for path in home.sync.parent.glob(".fawkesd-staging-sync/*")] == ["lock"]


@needs_root
def test_fault_13_a_disk_that_turns_read_only_pauses_and_goes_on(
    home: Home, start: Start, eventually: Wait, tmp_path: Path
) -> None:
    disk, image = tmp_path / "disk", tmp_path / "image"
    disk.mkdir()
    make_disk(image, "ext4", 8 << 20, "-O", "^has_journal")
    mount("-o", "loop,errors=remount-ro", image, disk)
    try:
        home = on(disk, home)
        daemon = start(home.settings)
        eventually(lambda: "engine ready" in daemon.log)
        mount("-o", "remount,abort", disk)  # what the kernel does when the disk gives errors
        (home.outbox / "a.jpg").write_bytes(make_photo())
        eventually(lambda: "Read-only file system" in daemon.log and states(home) == ["ready"])
        unmount(disk)
        eventually(lambda: not subprocess.check_output(["losetup", "-j", str(image)]))

        mount("-o", "loop", image, disk)

        eventually(lambda: home.published() == ["a.jpg"])
        daemon.stop()
    finally:
        unmount(disk)


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed")
def test_fault_14_a_photo_nobody_may_read_is_held_with_its_mode_and_tried_when_that_changes(
    home: Home, start: Start, eventually: Wait
) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())
    (home.outbox / "a.jpg").chmod(0)
    start(having(home, rescan_s=0.5), under=AS_A_USER)
    eventually(lambda: states(home) == ["held"])
    assert "Permission denied (its mode is ----------, its owner" in reasons(home)[0]

    (home.outbox / "a.jpg").chmod(0o644)

    eventually(lambda: home.published() == ["a.jpg"])


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed")
def test_fault_14_a_forbidden_sync_folder_pauses_and_goes_on_and_nothing_is_held(
    home: Home, start: Start, eventually: Wait
) -> None:
    retry = home.settings.retry.model_copy(update={"attempts": 1})
    settings = home.settings.model_copy(update={"retry": retry})
    daemon = start(settings, under=AS_A_USER)
    eventually(lambda: "engine ready" in daemon.log)
    home.sync.chmod(0o500)
    (home.outbox / "a.jpg").write_bytes(make_photo())
    eventually(lambda: daemon.log.count("user ada: paused") > 1)
    assert reasons(home) == []

    home.sync.chmod(0o700)

    eventually(lambda: home.published() == ["a.jpg"])


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed")
def test_fault_14_one_forbidden_subfolder_does_not_stop_the_other_photos(
    home: Home, start: Start, eventually: Wait
) -> None:
    (home.sync / "closed").mkdir(mode=0o500)
    (home.outbox / "closed").mkdir()
    (home.outbox / "closed" / "a.jpg").write_bytes(make_photo())
    start(home.settings, under=AS_A_USER)
    for number in range(3):
        (home.outbox / f"{number}.jpg").write_bytes(make_photo(seed=number))

    eventually(lambda: home.published() == ["0.jpg", "1.jpg", "2.jpg"])


@needs_root
def test_fault_16_nothing_is_written_where_the_sync_drive_was(
    home: Home, start: Start, eventually: Wait, tmp_path: Path
) -> None:
    place = tmp_path / "usb"
    (place / "sync").mkdir(parents=True)  # what shows when the drive is away
    with drive(place) as content:
        mount("--bind", content, place)
        home = on(place, home)
        daemon = start(home.settings)
        eventually(lambda: "engine ready" in daemon.log)
        unmount(place)
        (home.outbox / "a.jpg").write_bytes(make_photo())
        eventually(lambda: "user ada: paused" in daemon.log)
        time.sleep(0.5)
        assert [path for path in place.rglob("*") if path.is_file() and path.name != "lock"] == []

        mount("--bind", content, place)

        eventually(lambda: home.published() == ["a.jpg"])
        assert (home.sync / MARKER_NAME).exists()
        daemon.stop()


def calls_of_a_publish(
    settings: Settings, log: Path, start: Start, eventually: Wait, home: Home
) -> list[str]:
    strace = (
        "strace",
        "-D",
        "-qq",
        "-y",
        "-o",
        str(log),
        "-e",
        "trace=fsync,fdatasync,link,linkat,rename,renameat",
    )
    daemon = start(settings, under=strace)
    eventually(lambda: "engine ready" in daemon.log)
    before = len(log.read_text().splitlines())
    (home.outbox / "a.jpg").write_bytes(make_photo())
    eventually(lambda: states(home) == ["published"])
    daemon.process.kill()
    daemon.process.wait()
    return log.read_text().splitlines()[before:]


@needs_strace
def test_fault_19_everything_is_on_disk_in_the_order_that_a_power_cut_needs(
    home: Home, start: Start, eventually: Wait, tmp_path: Path
) -> None:
    calls = calls_of_a_publish(home.settings, tmp_path / "calls", start, eventually, home)

    def after(position: int, pattern: str) -> int:
        found = next((n for n, call in enumerate(calls) if n > position and re.search(pattern, call)), None)
        assert found is not None, f"{pattern} is missing after call {position} of {calls}"
        return found

    staged = after(-1, r"^fsync\(\d+</.*\.fawkesd-staging-sync/[0-9a-f]{16}>")
    intent = after(staged, r"^fdatasync\(.*ledger\.sqlite3-wal")
    link = after(intent, r"^linkat\(")
    folder = after(link, rf"^fsync\(\d+<{re.escape(str(home.sync))}>")
    after(folder, r"^fdatasync\(.*ledger\.sqlite3-wal")
