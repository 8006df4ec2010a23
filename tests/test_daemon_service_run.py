"""The whole daemon with the tiny engine: real folders, real observer, real processes, real signals."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import WITHIN_S, DaemonProcess, Home
from faulty import FACTORY, Counter, engine_works, fact, reasons, states
from twins import Deed, is_cloaked, make_photo

from daemon.config.settings import Settings, UserSettings
from daemon.control import commands
from daemon.control.decisions import Effects
from daemon.errors import AlreadyRunning
from daemon.publish.marker import MARKER_NAME
from daemon.service.run import once
from daemon.state.facts import ENGINE
from daemon.state.ledger import Ledger
from daemon.state.schema import LEDGER_NAME
from daemon.workers.auto import keep

Start = Callable[..., DaemonProcess]
Wait = Callable[[Callable[[], object]], None]


def test_once_publishes_what_waits_and_holds_what_the_engine_refuses(home: Home) -> None:
    (home.outbox / "trip").mkdir()
    (home.outbox / "trip" / "a.jpg").write_bytes(make_photo())
    (home.outbox / "b.JPEG").write_bytes(make_photo(seed=1))
    (home.outbox / "empty.jpg").write_bytes(make_photo(Deed.REFUSE))
    progress = Counter()

    result = once(home.settings, progress, FACTORY)

    assert home.published() == ["b.JPEG", "trip/a.jpg"]
    assert all(is_cloaked((home.sync / name).read_bytes()) for name in home.published())
    assert result.published == 2
    assert [(photo.user, photo.path, photo.reason) for photo in result.held] == [
        ("ada", home.outbox / "empty.jpg", "no face was found")
    ]
    assert (progress.totals, progress.advanced) == ([3], 3)


def test_once_with_nothing_to_do_starts_no_engine(home: Home) -> None:
    result = once(home.settings, Counter(), "twins:make_broken_engine")

    assert (result.published, result.held) == (0, ())


def test_once_repeats_nothing_and_a_deleted_result_stays_deleted(home: Home) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())
    (home.outbox / "b.jpg").write_bytes(make_photo(seed=1))
    once(home.settings, Counter(), FACTORY)
    (home.sync / "a.jpg").unlink()

    assert once(home.settings, Counter(), FACTORY).published == 0
    assert home.published() == ["b.jpg"]


def test_a_deleted_result_stays_deleted_when_the_same_photo_is_written_again(home: Home) -> None:
    original = home.outbox / "a.jpg"
    original.write_bytes(make_photo())
    once(home.settings, Counter(), FACTORY)
    (home.sync / "a.jpg").unlink()

    for days in (1, 2):  # as by a phone that sends its photos anew
        original.unlink()
        original.write_bytes(make_photo())
        os.utime(original, (days * 86400, days * 86400))
        progress = Counter()
        assert (once(home.settings, progress, FACTORY).published, progress.advanced) == (0, 1)
        assert home.published() == []

    original.write_bytes(make_photo(seed=1))
    assert once(home.settings, Counter(), FACTORY).published == 1
    assert home.published() == ["a.jpg"]


def test_redo_publishes_again_what_was_deleted_and_written_again(home: Home) -> None:
    original = home.outbox / "a.jpg"
    original.write_bytes(make_photo())
    once(home.settings, Counter(), FACTORY)
    (home.sync / "a.jpg").unlink()
    os.utime(original, (1, 1))
    once(home.settings, Counter(), FACTORY)
    assert home.published() == []

    ledger = Ledger(home.settings.state_dir / LEDGER_NAME)
    effects = Effects(look_again=print, drop_result=print, recall=None)
    commands.apply(commands.Redo("ada", home.outbox, Path("a.jpg")), ledger, effects)
    ledger.close()
    assert once(home.settings, Counter(), FACTORY).published == 1
    assert home.published() == ["a.jpg"]


def test_a_published_copy_that_comes_back_as_an_original_is_known_and_not_cloaked_again(home: Home) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())
    once(home.settings, Counter(), FACTORY)
    (home.outbox / "downloaded").mkdir()
    (home.outbox / "downloaded" / "b.jpg").write_bytes((home.sync / "a.jpg").read_bytes())

    result = once(home.settings, Counter(), FACTORY)

    assert [(photo.path, photo.reason) for photo in result.held] == [
        (
            home.outbox / "downloaded" / "b.jpg",
            f"already cloaked: this is the published copy of {home.outbox}/a.jpg",
        )
    ]
    assert home.published() == ["a.jpg"]


def test_an_original_overwritten_by_its_published_copy_keeps_that_copy(home: Home) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())
    once(home.settings, Counter(), FACTORY)
    copy = (home.sync / "a.jpg").read_bytes()
    (home.outbox / "a.jpg").write_bytes(copy)

    assert [photo.reason[:15] for photo in once(home.settings, Counter(), FACTORY).held] == [
        "already cloaked"
    ]
    assert (home.sync / "a.jpg").read_bytes() == copy


def test_once_says_why_nothing_can_be_published(home: Home) -> None:
    once(home.settings, Counter(), FACTORY)
    (home.sync / MARKER_NAME).unlink()
    (home.outbox / "a.jpg").write_bytes(make_photo())

    (reason,) = once(home.settings, Counter(), FACTORY).unavailable

    assert "is its drive mounted" in reason
    assert list(home.sync.iterdir()) == []


def test_photos_present_at_start_and_dropped_later_are_published(
    home: Home, start: Start, eventually: Wait
) -> None:
    (home.outbox / "early.jpg").write_bytes(make_photo())
    daemon = start(home.settings)
    eventually(lambda: home.published() == ["early.jpg"])

    (home.outbox / "late.png").write_bytes(make_photo(seed=1, file_format="PNG"))

    eventually(lambda: home.published() == ["early.jpg", "late.png"])
    assert all(is_cloaked((home.sync / name).read_bytes()) for name in home.published())
    assert daemon.stop() == 0


def test_a_restart_repeats_nothing(home: Home, start: Start, eventually: Wait) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())
    first = start(home.settings)
    eventually(lambda: home.published() == ["a.jpg"])
    inode = (home.sync / "a.jpg").stat().st_ino
    assert first.stop() == 0

    second = start(home.settings)
    (home.outbox / "b.jpg").write_bytes(make_photo(seed=1))

    eventually(lambda: home.published() == ["a.jpg", "b.jpg"])
    assert second.stop() == 0
    assert states(home) == ["published", "published"]
    assert (home.sync / "a.jpg").stat().st_ino == inode


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_engine_finish_what_it_does(
    home: Home, start: Start, eventually: Wait, number: signal.Signals
) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())
    with home.engine_held():
        daemon = start(home.settings)
        eventually(lambda: states(home) == ["working"])
        daemon.process.send_signal(number)

    assert daemon.process.wait(WITHIN_S) == 0
    assert home.published() == ["a.jpg"]
    assert f"ended by {number.name}" in daemon.log


def test_a_second_ctrl_c_does_not_wait_for_the_photo_in_work(
    home: Home, start: Start, eventually: Wait
) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo(Deed.HANG))
    daemon = start(home.settings, finish_s=600.0)
    eventually(lambda: states(home) == ["working"])

    daemon.process.send_signal(signal.SIGINT)
    eventually(lambda: "finishing 1 photo (Ctrl-C again: stop at once" in daemon.log)

    assert daemon.stop(signal.SIGINT) == 0
    assert states(home) == ["ready"]
    assert home.published() == []


class Interrupted(Counter):
    """Ctrl-C is pressed as soon as it is known how many photos wait."""

    def total(self, n: int) -> None:
        super().total(n)
        os.kill(os.getpid(), signal.SIGINT)


def test_once_ended_early_tells_how_many_photos_are_left(home: Home) -> None:
    for number in range(3):
        (home.outbox / f"{number}.jpg").write_bytes(make_photo(seed=number))

    early = once(home.settings, Interrupted(), FACTORY)
    late = once(home.settings, Counter(), FACTORY)

    assert (early.published, early.left) == (0, 3)
    assert (late.published, late.left) == (3, 0)


def test_a_signal_puts_back_what_takes_too_long(home: Home, start: Start, eventually: Wait) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo(Deed.HANG))
    daemon = start(home.settings, finish_s=0.2)
    eventually(lambda: states(home) == ["working"])

    assert daemon.stop() == 0
    assert states(home) == ["ready"]
    assert home.published() == []


def kill_in_work(home: Home, start: Start, eventually: Wait) -> None:
    """A daemon was killed while its engine worked on a.jpg."""
    (home.outbox / "a.jpg").write_bytes(make_photo())
    with home.engine_held():
        daemon = start(home.settings)
        eventually(lambda: states(home) == ["working"])
        daemon.stop(signal.SIGKILL)


def test_a_killed_supervisor_publishes_once_after_its_restart(
    home: Home, start: Start, eventually: Wait
) -> None:
    kill_in_work(home, start, eventually)
    assert home.published() == []

    start(home.settings)

    eventually(lambda: states(home) == ["published"])
    assert home.published() == ["a.jpg"]


def test_a_killed_engine_costs_no_photo(home: Home, start: Start, eventually: Wait) -> None:
    for number in range(3):
        (home.outbox / f"{number}.jpg").write_bytes(make_photo(seed=number))
    with home.engine_held():
        daemon = start(home.settings)
        eventually(lambda: "working" in states(home))

        os.kill(daemon.engine_pid, signal.SIGKILL)

    eventually(lambda: states(home) == ["published"] * 3)
    assert home.published() == ["0.jpg", "1.jpg", "2.jpg"]


@pytest.mark.parametrize("deed", [Deed.DIE, Deed.RAISE])
def test_a_photo_that_stops_the_engine_twice_is_held_and_the_others_go_on(
    home: Home, start: Start, eventually: Wait, deed: Deed
) -> None:
    (home.outbox / "bad.jpg").write_bytes(make_photo(deed))
    (home.outbox / "good.jpg").write_bytes(make_photo())
    start(home.settings)

    eventually(lambda: sorted(states(home)) == ["held", "published"])
    assert home.published() == ["good.jpg"]
    assert reasons(home)[0].startswith("the engine stopped twice while working on this photo")


def with_two_engines(home: Home) -> Settings:
    engine = home.settings.engine.model_copy(update={"device": "cpu,cpu"})
    return home.settings.model_copy(update={"engine": engine})


def test_two_engines_share_what_waits(home: Home) -> None:
    for number in range(5):
        (home.outbox / f"{number}.jpg").write_bytes(make_photo(seed=number))

    assert once(with_two_engines(home), Counter(), FACTORY).published == 5
    assert states(home) == ["published"] * 5


def test_an_engine_leaves_one_that_still_loads_its_share(home: Home, start: Start, eventually: Wait) -> None:
    for number in range(6):
        (home.outbox / f"{number}.jpg").write_bytes(make_photo(seed=number))
    with home.engine_held():
        start(with_two_engines(home), factory="twins:make_engine_of_which_one_loads_first")
        eventually(lambda: len(states(home)) == 6 and "working" in states(home))
        assert states(home).count("working") <= 3

    eventually(lambda: states(home) == ["published"] * 6)


def test_while_one_engine_hangs_the_other_one_publishes(home: Home, start: Start, eventually: Wait) -> None:
    daemon = start(with_two_engines(home), finish_s=0.1)
    eventually(lambda: daemon.log.count("engine ready") == 2)
    assert fact(home, ENGINE) == "abacus, abacus"
    (home.outbox / "hung.jpg").write_bytes(make_photo(Deed.HANG))
    eventually(lambda: states(home) == ["working"])
    for number in range(3):
        (home.outbox / f"{number}.jpg").write_bytes(make_photo(seed=number))

    eventually(lambda: home.published() == ["0.jpg", "1.jpg", "2.jpg"])
    assert daemon.stop() == 0
    assert sorted(states(home)) == ["published"] * 3 + ["ready"]


def test_auto_starts_two_engines_where_bench_found_that_they_gain(
    home: Home, start: Start, eventually: Wait
) -> None:
    home.state_dir.mkdir(mode=0o700)
    keep(home.state_dir, home.settings.engine, 2)
    for number in range(3):
        (home.outbox / f"{number}.jpg").write_bytes(make_photo(seed=number))

    daemon = start(home.settings)

    eventually(lambda: daemon.log.count("engine ready") == 2)
    assert fact(home, ENGINE) == "abacus, abacus"
    eventually(lambda: home.published() == ["0.jpg", "1.jpg", "2.jpg"])


def test_a_photo_overwritten_while_an_engine_hangs_on_it_is_published_by_the_other_one(
    home: Home, start: Start, eventually: Wait
) -> None:
    start(with_two_engines(home))
    (home.outbox / "a.jpg").write_bytes(make_photo(Deed.HANG))
    eventually(lambda: states(home) == ["working"])

    (home.outbox / "a.jpg").write_bytes(make_photo())

    eventually(lambda: home.published() == ["a.jpg"])
    assert is_cloaked((home.sync / "a.jpg").read_bytes())


def test_a_renamed_folder_is_not_cloaked_again_and_its_copies_move(
    home: Home, start: Start, eventually: Wait
) -> None:
    (home.outbox / "trip").mkdir()
    for number in range(3):
        (home.outbox / "trip" / f"{number}.jpg").write_bytes(make_photo(seed=number))
    daemon = start(home.settings)
    eventually(lambda: states(home) == ["published"] * 3)
    works = engine_works(daemon)

    (home.outbox / "trip").rename(home.outbox / "holiday")

    eventually(lambda: states(home) == ["gone"] * 3 + ["published"] * 3)
    assert home.published() == ["holiday/0.jpg", "holiday/1.jpg", "holiday/2.jpg"]
    assert engine_works(daemon) == works


def test_with_renamed_keep_both_copies_stay(home: Home) -> None:
    users = (home.settings.users[0].model_copy(update={"renamed": "keep"}),)
    settings = home.settings.model_copy(update={"users": users})
    (home.outbox / "a.jpg").write_bytes(make_photo())
    once(settings, Counter(), FACTORY)
    (home.outbox / "a.jpg").rename(home.outbox / "b.jpg")

    assert once(settings, Counter(), FACTORY).published == 1
    assert home.published() == ["a.jpg", "b.jpg"]


def test_two_copies_that_arrive_together_are_cloaked_once(home: Home, start: Start, eventually: Wait) -> None:
    for name in ("a.jpg", "b.jpg"):
        (home.outbox / name).write_bytes(make_photo(Deed.TAKE_A_SECOND))
    daemon = start(with_two_engines(home))

    eventually(lambda: states(home) == ["published"] * 2)
    assert home.published() == ["a.jpg", "b.jpg"]
    assert engine_works(daemon) == 1


def test_a_second_daemon_says_who_runs(home: Home, start: Start, eventually: Wait) -> None:
    first = start(home.settings)
    eventually(lambda: "engine ready" in first.log)

    second = start(home.settings)

    assert second.process.wait(WITHIN_S) == 75
    assert f"process {first.process.pid}" in second.log
    with pytest.raises(AlreadyRunning):
        once(home.settings, Counter(), FACTORY)


def test_two_configurations_cannot_share_a_sync_folder(
    home: Home, start: Start, eventually: Wait, tmp_path: Path
) -> None:
    first = start(home.settings)
    eventually(lambda: "engine ready" in first.log)

    second = start(home.settings.model_copy(update={"state_dir": tmp_path / "other"}))

    assert second.process.wait(WITHIN_S) == 75
    assert f"process {first.process.pid}" in second.log


def test_an_overwrite_during_the_work_publishes_the_later_content(
    home: Home, start: Start, eventually: Wait
) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())
    with home.engine_held():
        start(home.settings)
        eventually(lambda: states(home) == ["working"])
        (home.outbox / "a.jpg").write_bytes(make_photo(seed=77))

    eventually(lambda: states(home) == ["superseded", "published"])
    assert home.published() == ["a.jpg"]


def test_a_photo_removed_during_the_work_is_not_published(home: Home, start: Start, eventually: Wait) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())
    with home.engine_held():
        start(home.settings)
        eventually(lambda: states(home) == ["working"])
        (home.outbox / "a.jpg").unlink()

    eventually(lambda: states(home) == ["gone"])
    assert home.published() == []


def test_a_photo_that_waits_on_a_drive_mounted_anew_is_published(
    home: Home, start: Start, eventually: Wait
) -> None:
    kill_in_work(home, start, eventually)
    database = sqlite3.connect(home.state_dir / LEDGER_NAME)
    with database:
        database.execute("UPDATE photos SET dev = dev + 1")  # what a mount does to the device number
    database.close()

    start(home.settings)

    eventually(lambda: states(home) == ["superseded", "published"])
    assert home.published() == ["a.jpg"]


def test_a_missing_drive_pauses_one_user_until_it_is_back(
    home: Home, start: Start, eventually: Wait, tmp_path: Path
) -> None:
    other_outbox, other_sync = tmp_path / "bob-out", tmp_path / "bob-sync"
    other_outbox.mkdir()
    other_sync.mkdir()
    bob = UserSettings(name="bob", outboxes=(other_outbox,), sync=other_sync)
    settings = home.settings.model_copy(update={"users": (*home.settings.users, bob)})
    daemon = start(settings)
    eventually(lambda: (home.sync / MARKER_NAME).exists() and "engine ready" in daemon.log)
    home.sync.rename(tmp_path / "drive")
    home.sync.mkdir()

    (home.outbox / "a.jpg").write_bytes(make_photo())
    (other_outbox / "b.jpg").write_bytes(make_photo(seed=1))

    eventually(lambda: (other_sync / "b.jpg").exists() and "user ada: paused" in daemon.log)
    assert list(home.sync.iterdir()) == []
    home.sync.rmdir()
    (tmp_path / "drive").rename(home.sync)
    eventually(lambda: home.published() == ["a.jpg"])
    assert daemon.log.count("user ada: paused") == 1


def test_a_name_that_is_no_text_is_held_and_cannot_forge_a_log_line(
    home: Home, start: Start, eventually: Wait
) -> None:
    (home.outbox / os.fsdecode(b"bad\xff.jpg")).write_bytes(make_photo())
    (home.outbox / "two\nERROR lines.jpg").write_bytes(make_photo(seed=1))
    daemon = start(home.settings)

    eventually(lambda: states(home) == ["held", "held"])
    eventually(lambda: "bad\\xff.jpg" in daemon.log)
    eventually(lambda: "two\\nERROR lines.jpg" in daemon.log)


def test_a_reader_of_the_sync_folder_sees_whole_cloaked_photos_only(
    home: Home, start: Start, eventually: Wait
) -> None:
    for number in range(30):
        (home.outbox / f"{number}.jpg").write_bytes(make_photo(seed=number))
    start(home.settings)
    seen: set[bytes] = set()

    def all_published() -> bool:
        seen.update((home.sync / name).read_bytes() for name in home.published())
        return len(home.published()) == 30

    eventually(all_published)
    assert all(is_cloaked(data) for data in seen)
    originals = [(home.outbox / f"{number}.jpg").read_bytes() for number in range(30)]
    assert originals == [make_photo(seed=number) for number in range(30)]


def test_an_idle_daemon_uses_no_processor_time(home: Home, start: Start, eventually: Wait) -> None:
    daemon = start(home.settings, finish_s=None)  # what an installed service costs
    eventually(lambda: "engine ready" in daemon.log)

    def ticks() -> int:
        fields = Path(f"/proc/{daemon.process.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    def is_idle() -> bool:
        before = ticks()
        time.sleep(2.0)  # the subject of the test is what happens while nothing does
        return ticks() - before <= 2

    eventually(is_idle)  # what was begun before may take its time on a busy machine


def test_the_state_directory_is_private(home: Home) -> None:
    once(home.settings, Counter(), FACTORY)

    assert home.state_dir.stat().st_mode & 0o777 == 0o700
    assert Settings.model_validate_json(home.settings.model_dump_json()) == home.settings


def test_once_tells_what_it_does(home: Home) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())
    counter = Counter()

    once(home.settings, counter, FACTORY)

    assert counter.advanced == 1
    assert {"loading the recognisers", "finding faces"} <= set(counter.done)
