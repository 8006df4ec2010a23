"""Faults 1 to 9, 15, 20, 27, 35: how files come, change and go while somebody else handles them."""

from __future__ import annotations

import io
import mmap
import os
import random
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Home
from faulty import (
    FACTORY,
    Counter,
    Start,
    Wait,
    column,
    drive,
    fact,
    having,
    mount,
    needs_bindfs,
    needs_root,
    reasons,
    states,
    unmount,
)
from PIL import Image
from twins import Deed, is_cloaked, make_photo

from daemon.config.settings import WatchSettings
from daemon.fs.files import snapshot_of
from daemon.model import Change, Outbox, Settled, Source, State
from daemon.service.run import once
from daemon.state import facts
from daemon.state.ledger import Ledger
from daemon.timing import DEFAULT_TIMING
from daemon.watch.completeness import why_unfinished
from daemon.watch.intake import Intake
from daemon.watch.outboxes import Outboxes
from daemon.watch.readiness import Readiness
from daemon.watch.watcher import Arrival, Watcher

QUEUE_LIMIT = Path("/proc/sys/fs/inotify/max_queued_events")


def looks_like(path: Path, deed: Deed) -> bool:
    """Whether a published photo was made from one of this colour."""
    with Image.open(path) as image:
        pixel = image.convert("RGB").getpixel((4, 4))
    assert isinstance(pixel, tuple)
    return max(abs(255 - a - b) for a, b in zip(pixel, deed.value, strict=True)) < 30


def test_fault_01_a_slow_writer_gives_one_photo_with_all_its_bytes(
    home: Home, start: Start, eventually: Wait
) -> None:
    start(having(home, settle_s=1.0))
    eventually((home.state_dir / "ledger.sqlite3").exists)
    data = make_photo()
    step = len(data) // 12 + 1
    for begin in range(0, len(data), step):  # a scanner opens and closes its file many times
        with (home.outbox / "a.jpg").open("ab") as file:
            file.write(data[begin : begin + step])
        time.sleep(0.1)

    eventually(lambda: states(home) == ["published"])
    assert is_cloaked((home.sync / "a.jpg").read_bytes())


def make_noise(file_format: str) -> bytes:
    """A photo that is large in every format."""
    image = Image.frombytes("RGB", (128, 128), random.Random(1).randbytes(3 * 128 * 128))
    image.paste(Deed.PROTECT.value, (0, 0, 16, 16))
    stream = io.BytesIO()
    image.save(stream, file_format, quality=95)
    return stream.getvalue()


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.webp"])
def test_fault_02_a_preallocated_file_waits_for_its_content(
    home: Home, start: Start, eventually: Wait, name: str
) -> None:
    file_format = {"jpg": "JPEG", "tif": "TIFF"}.get(name[2:], name[2:].upper())
    data = make_noise(file_format)
    with (home.outbox / name).open("wb") as file:
        os.truncate(file.fileno(), len(data) + 8192 * (name == "a.jpg"))
        file.write(data[: len(data) // 2])
    start(home.settings)
    (home.outbox / "other.jpg").write_bytes(make_photo(seed=1))
    eventually(lambda: states(home) == ["published"])
    time.sleep(0.5)
    assert (states(home), home.published()) == (["published"], ["other.jpg"])

    (home.outbox / name).write_bytes(data)

    eventually(lambda: home.published() == sorted([name, "other.jpg"]))


@pytest.mark.parametrize("is_mapped", [False, True], ids=["open", "mapped"])
def test_fault_03_a_file_that_somebody_has_open_for_writing_waits(
    home: Home, start: Start, eventually: Wait, is_mapped: bool
) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())
    writer = (home.outbox / "a.jpg").open("r+b")
    mapping = mmap.mmap(writer.fileno(), 0) if is_mapped else None
    if mapping:
        writer.close()
    start(home.settings)
    (home.outbox / "other.jpg").write_bytes(make_photo(seed=1))
    eventually(lambda: states(home) == ["published"])
    time.sleep(0.5)
    assert (states(home), home.published()) == (["published"], ["other.jpg"])

    (mapping or writer).close()

    eventually(lambda: home.published() == ["a.jpg", "other.jpg"])


def write(path: Path, seed: int) -> None:
    path.write_bytes(make_photo(seed=seed))


def arrive_by_rename(outbox: Path, outside: Path) -> None:
    write(outbox / "rename.jpg.part", 1)
    (outbox / "rename.jpg.part").rename(outbox / "rename.jpg")


def arrive_by_move(outbox: Path, outside: Path) -> None:
    write(outside / "move.jpg", 2)
    (outside / "move.jpg").rename(outbox / "move.jpg")


def arrive_by_hard_link(outbox: Path, outside: Path) -> None:
    write(outside / "link.jpg", 3)
    (outbox / "link.jpg").hardlink_to(outside / "link.jpg")


def arrive_in_a_moved_directory(outbox: Path, outside: Path) -> None:
    (outside / "moved" / "deep").mkdir(parents=True)
    write(outside / "moved" / "deep" / "a.jpg", 4)
    (outside / "moved").rename(outbox / "moved")


def arrive_in_a_new_directory(outbox: Path, outside: Path) -> None:
    (outbox / "new" / "deep").mkdir(parents=True)
    write(outbox / "new" / "deep" / "a.jpg", 5)


def arrive_in_a_hidden_directory(outbox: Path, outside: Path) -> None:
    (outbox / ".export").mkdir()
    write(outbox / ".export" / "a.jpg", 6)
    (outbox / ".export").rename(outbox / "shown")


def arrive_without_a_name(outbox: Path, outside: Path) -> None:
    fd = os.open(outbox, os.O_TMPFILE | os.O_WRONLY)
    os.write(fd, make_photo(seed=7))
    os.link(f"/proc/self/fd/{fd}", outbox / "nameless.jpg", src_dir_fd=0)
    os.close(fd)


def arrive_plainly(outbox: Path, outside: Path) -> None:
    write(outbox / "plain.jpg", 8)


def test_fault_04_photos_are_published_however_they_arrive(
    home: Home, start: Start, eventually: Wait, tmp_path: Path
) -> None:
    daemon = start(home.settings)
    eventually(lambda: "engine ready" in daemon.log)
    outside = tmp_path / "outside"
    outside.mkdir()
    for arrive in (
        arrive_by_rename,
        arrive_by_move,
        arrive_by_hard_link,
        arrive_in_a_moved_directory,
        arrive_in_a_new_directory,
        arrive_in_a_hidden_directory,
        arrive_without_a_name,
        arrive_plainly,
    ):
        arrive(home.outbox, outside)

    eventually(lambda: len(home.published()) == 8)
    assert home.published() == [
        *("link.jpg", "move.jpg", "moved/deep/a.jpg", "nameless.jpg", "new/deep/a.jpg"),
        *("plain.jpg", "rename.jpg", "shown/a.jpg"),
    ]


def test_fault_05_an_overwrite_during_the_work_publishes_the_second_content_only(
    home: Home, start: Start, eventually: Wait
) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo(Deed.TAKE_A_SECOND))
    with home.engine_held():
        start(home.settings)
        eventually(lambda: states(home) == ["working"])
        (home.outbox / "a.jpg").write_bytes(make_photo(Deed.PROTECT))

    eventually(lambda: "published" in states(home))
    assert states(home) == ["superseded", "published"]
    assert looks_like(home.sync / "a.jpg", Deed.PROTECT)


@pytest.mark.parametrize("stage", ["settling", "ready", "working"])
def test_fault_06_a_photo_removed_at_any_stage_is_gone_without_noise(
    home: Home, start: Start, eventually: Wait, stage: str
) -> None:
    daemon = start(having(home, settle_s=5.0 if stage == "settling" else 0.1))
    eventually(lambda: "engine ready" in daemon.log)
    with home.engine_held():
        if stage == "ready":  # the engine is busy with another one
            (home.outbox / "first.jpg").write_bytes(make_photo(seed=1))
            eventually(lambda: states(home) == ["working"])
        (home.outbox / "a.jpg").write_bytes(make_photo())
        if stage != "settling":
            eventually(lambda: column(home, "state", "path = CAST('a.jpg' AS BLOB)") == [stage])
        (home.outbox / "a.jpg").unlink()

    if stage == "settling":
        (home.outbox / "last.jpg").write_bytes(make_photo(seed=2))
        eventually(lambda: states(home) == ["published"])
        assert home.published() == ["last.jpg"]
    else:
        eventually(lambda: column(home, "state", "path = CAST('a.jpg' AS BLOB)") == ["gone"])
    assert not (home.sync / "a.jpg").exists()
    assert "ERROR" not in daemon.log


def write_again(path: Path, data: bytes) -> None:
    """As darktable does: the final name, and later the metadata into it."""
    path.write_bytes(data[:-2])
    time.sleep(0.02)
    with path.open("ab") as file:
        file.write(data[-2:])


def rename_over(path: Path, data: bytes) -> None:
    """As exiftool does: a temporary file beside it, and the original kept."""
    path.write_bytes(make_photo(seed=200))
    temporary = path.with_name(f"{path.name}_exiftool_tmp")
    temporary.write_bytes(data)
    path.rename(path.with_name(f"{path.name}_original"))
    temporary.rename(path)


def change_in_place(path: Path, data: bytes) -> None:
    """As digiKam does, after a temporary file that ends in .jpg."""
    temporary = path.with_name("BatchTool-Xy12.digikamtempfile.jpg")
    temporary.write_bytes(data)
    temporary.rename(path)
    with path.open("r+b") as file:
        file.write(data[:20])


@pytest.mark.parametrize("export", [write_again, rename_over, change_in_place], ids=lambda f: f.__name__)
def test_fault_07_metadata_written_after_the_export_costs_no_second_photo(
    home: Home, start: Start, eventually: Wait, export: Callable[[Path, bytes], None]
) -> None:
    daemon = start(having(home, settle_s=3.0))  # longer than a busy machine takes from one step to the next
    eventually(lambda: "engine ready" in daemon.log)

    export(home.outbox / "a.jpg", make_photo())

    eventually(lambda: states(home) == ["published"])
    assert home.published() == ["a.jpg"]


@pytest.fixture
def short_queue() -> Iterator[None]:
    """The kernel keeps 64 events for watches made from now on."""
    before = QUEUE_LIMIT.read_text()
    QUEUE_LIMIT.write_text("64")
    yield
    QUEUE_LIMIT.write_text(before)


def make_intake(outbox: Outbox, ledger: Ledger) -> tuple[Intake, Watcher]:
    """An intake that looks at the outbox by itself only at the start, and its watcher."""
    readiness = Readiness(
        settle_s=0.05, give_up_s=600, doubt_s=60, look=snapshot_of, why_unfinished=why_unfinished
    )
    arrivals: deque[Arrival] = deque()
    watcher = Watcher(arrivals.append)
    outboxes, watch = Outboxes([outbox], ledger), WatchSettings(rescan_s=86400.0)
    return Intake(outboxes, ledger, readiness, watcher, arrivals, watch, DEFAULT_TIMING), watcher


@needs_root
@pytest.mark.usefixtures("short_queue")
def test_fault_08_events_that_are_lost_cost_no_photo(
    tmp_path: Path, ledger: Ledger, eventually: Wait, caplog: pytest.LogCaptureFixture
) -> None:
    outbox = Outbox("ada", tmp_path / "outbox")
    outbox.root.mkdir()
    intake, watcher = make_intake(outbox, ledger)
    watcher.start()
    try:
        intake.step(time.monotonic())
        (tmp_path / "a.jpg").write_bytes(make_photo())
        # Another process, so that the watcher's thread cannot slow the burst down.
        burst = "import os, sys\nfor n in range(3000): os.link(sys.argv[1], f'{sys.argv[2]}/{n}.jpg')"
        subprocess.run([sys.executable, "-c", burst, str(tmp_path / "a.jpg"), str(outbox.root)], check=True)

        def admitted() -> int:
            intake.step(time.monotonic())
            return ledger.count(State.READY)

        eventually(lambda: admitted() == 3000)
    finally:
        watcher.stop()
    assert "overflow" in caplog.text


@needs_root
def test_fault_09_where_no_more_folders_can_be_watched_they_are_polled(
    home: Home, start: Start, eventually: Wait
) -> None:
    for number in range(20):
        (home.outbox / f"{number:02}").mkdir()
    few = 'echo 5 > /proc/sys/user/max_inotify_watches && exec "$@"'
    if subprocess.run(["unshare", "-Ur", "sh", "-c", few, "sh", "true"], check=False).returncode:
        pytest.skip("user namespaces are not allowed here")
    daemon = start(home.settings, under=("unshare", "-Ur", "sh", "-c", few, "sh"))
    eventually(lambda: "engine ready" in daemon.log)

    for number in range(20):
        (home.outbox / f"{number:02}" / "a.jpg").write_bytes(make_photo(seed=number))

    eventually(lambda: len(home.published()) == 20)
    watching = fact(home, facts.WATCHING)
    assert watching is not None
    assert watching.startswith(f"polling {home.outbox} every 0.5 s (")


@needs_bindfs
@needs_root
def test_fault_09_a_share_that_brings_no_events_is_polled(
    home: Home, start: Start, eventually: Wait, tmp_path: Path
) -> None:
    (tmp_path / "server").mkdir()
    subprocess.run(["bindfs", str(tmp_path / "server"), str(home.outbox)], check=True)
    try:
        daemon = start(home.settings)
        eventually(lambda: "engine ready" in daemon.log)
        (tmp_path / "server" / "a.jpg").write_bytes(make_photo())

        eventually(lambda: home.published() == ["a.jpg"])
        assert str(fact(home, facts.WATCHING)).startswith(f"polling {home.outbox} every 0.5 s (fuse")
        daemon.stop()
    finally:
        unmount(home.outbox)


@needs_root
def test_fault_15_an_unplugged_outbox_loses_no_photo_and_goes_on_when_it_is_back(
    home: Home, start: Start, eventually: Wait, tmp_path: Path
) -> None:
    with drive(home.outbox) as content:
        mount("--bind", content, home.outbox)
        daemon = start(home.settings)
        (home.outbox / "held.jpg").write_bytes(make_photo(Deed.REFUSE))
        eventually(lambda: states(home) == ["held"])
        home.sync.rename(tmp_path / "away")  # so that photos wait
        (home.outbox / "waits.jpg").write_bytes(make_photo(seed=1))
        eventually(lambda: "user ada: paused" in daemon.log and states(home) == ["held", "ready"])

        unmount(home.outbox)
        eventually(lambda: f"waiting for the outbox {home.outbox}" in daemon.log)
        (tmp_path / "away").rename(home.sync)
        write(content / "came meanwhile.jpg", 2)
        time.sleep(0.5)
        assert (states(home), home.published()) == (["held", "ready"], [])

        mount("--bind", content, home.outbox)
        eventually(lambda: home.published() == ["came meanwhile.jpg", "waits.jpg"])
        write(home.outbox / "heard of.jpg", 3)
        eventually(lambda: len(home.published()) == 3)
        assert states(home).count("held") == 1
        daemon.stop()


@needs_root
def test_fault_15_a_drive_that_goes_during_the_work_costs_no_photo(
    home: Home, start: Start, eventually: Wait
) -> None:
    with drive(home.outbox) as content:
        mount("--bind", content, home.outbox)
        (home.outbox / "a.jpg").write_bytes(make_photo())
        with home.engine_held():
            daemon = start(home.settings)
            eventually(lambda: states(home) == ["working"])
            unmount(home.outbox)
        eventually(lambda: states(home) == ["ready"])

        mount("--bind", content, home.outbox)

        eventually(lambda: home.published() == ["a.jpg"])
        daemon.stop()


def test_fault_20_times_of_other_centuries_change_nothing(home: Home) -> None:
    for number, seconds in enumerate((4_102_444_800, 1, -1_000_000)):
        (home.outbox / f"{number}.jpg").write_bytes(make_photo(seed=number))
        os.utime(home.outbox / f"{number}.jpg", (seconds, seconds))

    once(home.settings, Counter(), FACTORY)

    assert home.published() == ["0.jpg", "1.jpg", "2.jpg"]
    assert [(home.sync / f"{n}.jpg").stat().st_mtime for n in range(3)] == [4_102_444_800, 1, -1_000_000]


def test_fault_20_a_clock_set_back_makes_no_photo_wait_for_years(tmp_path: Path) -> None:
    now = time.time()
    ledger = Ledger(tmp_path / "ledger.sqlite3", clock=lambda: now)
    outbox = Outbox("ada", tmp_path)
    path = tmp_path / "a.jpg"
    path.write_bytes(b"a")
    snapshot = snapshot_of(path)
    assert snapshot is not None
    ledger.admit([Settled(Source(outbox, Path("a.jpg")), snapshot)])
    (photo,) = ledger.in_state(State.READY)
    ledger.move(photo, State.WORKING)
    ledger.move(photo, State.READY, Change(not_before=now + 3600))
    assert ledger.queue.ready([outbox], longest_s=3600, limit=1) == []

    now -= 2 * 365 * 86400

    assert len(ledger.queue.ready([outbox], longest_s=3600, limit=1)) == 1
    ledger.close()


def test_fault_35_a_removed_folder_keeps_its_photos_until_it_is_configured_again(
    home: Home, tmp_path: Path
) -> None:
    once(home.settings, Counter(), FACTORY)
    (home.outbox / "a.jpg").write_bytes(make_photo())
    other = tmp_path / "other"
    other.mkdir()

    once(home.with_outbox(other).settings, Counter(), FACTORY)
    assert home.published() == []
    once(home.settings, Counter(), FACTORY)

    assert home.published() == ["a.jpg"]


def test_fault_35_a_bad_configuration_at_a_hangup_changes_nothing(
    home: Home, start: Start, eventually: Wait
) -> None:
    config = home.write_config()
    daemon = start(home.settings)
    eventually(lambda: "engine ready" in daemon.log)
    config.write_text("users: 7\n")
    daemon.process.send_signal(1)
    eventually(lambda: "not reloaded" in daemon.log)

    (home.outbox / "a.jpg").write_bytes(make_photo())

    eventually(lambda: home.published() == ["a.jpg"])
    assert reasons(home) == []
