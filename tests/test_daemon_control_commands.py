"""The commands that change something, with the service stopped and with it running."""

from __future__ import annotations

import contextlib
import json
import math
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from multiprocessing.connection import wait
from pathlib import Path

import pytest
from conftest import WITHIN_S, DaemonProcess, Home
from faulty import FACTORY, Counter, column, states
from twins import Deed, is_cloaked, make_photo

from daemon.cli.main import run_command
from daemon.config.settings import UserSettings, WatchSettings
from daemon.control.commands import Command, Reload
from daemon.control.server import SOCKET_NAME, ControlServer
from daemon.fs.locks import LOCK_NAME, DirectoryLock
from daemon.model import Change, Outbox, QueueOrder, Settled, Snapshot, Source, State
from daemon.service.run import once
from daemon.state.history import reading
from daemon.state.ledger import Ledger
from daemon.state.schema import LEDGER_NAME
from daemon.status import status

Start = Callable[..., DaemonProcess]
Wait = Callable[[Callable[[], object]], None]
Deeds = Callable[[Callable[[], None]], None]

HOUR_S = 3600.0
OUTBOX = Outbox("ada", Path("/out"))
OTHER = Outbox("ada", Path("/other"))
BOTH = [OUTBOX, OTHER]


@pytest.fixture
def running(home: Home, start: Start, eventually: Wait) -> DaemonProcess:
    daemon = start(home.settings)
    eventually(lambda: "engine ready" in daemon.log)
    return daemon


def fawkesd(home: Home, *arguments: str) -> int:
    return run_command([*arguments, "-c", str(home.write_config())])


def is_open_by(daemon: DaemonProcess, path: Path) -> bool:
    return any(fd.samefile(path) for fd in Path(f"/proc/{daemon.process.pid}/fd").iterdir() if fd.exists())


def ready(ledger: Ledger) -> list[str]:
    found = ledger.queue.ready(BOTH, longest_s=HOUR_S, limit=9)
    return [photo.source.relative.name for photo in found]


def admit(ledger: Ledger, name: str, mtime_ns: int = 1, outbox: Outbox = OUTBOX) -> Source:
    source = Source(outbox, Path(name))
    ledger.admit([Settled(source, Snapshot(dev=1, ino=1, size=1, mtime_ns=mtime_ns, ctime_ns=1))])
    return source


def test_a_pause_elapses_by_itself(tmp_path: Path) -> None:
    now = 1000.0
    ledger = Ledger(tmp_path / LEDGER_NAME, clock=lambda: now)
    admit(ledger, "a.jpg")
    admit(ledger, "b.jpg", outbox=OTHER)

    ledger.pauses.add(OUTBOX, 2 * HOUR_S)

    assert ready(ledger) == ["b.jpg"]
    assert ledger.queue.waiting(BOTH) == 1
    now += 2 * HOUR_S
    assert sorted(ready(ledger)) == ["a.jpg", "b.jpg"]
    assert ledger.queue.waiting(BOTH) == 2
    assert ledger.pauses.remove(OUTBOX) is False
    ledger.close()


def test_the_service_knows_when_a_pause_ends(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / LEDGER_NAME, clock=lambda: 1000.0)
    admit(ledger, "a.jpg")

    ledger.pauses.add(OUTBOX, HOUR_S)
    assert ledger.queue.next_ready_at(BOTH) == 1000.0 + HOUR_S
    ledger.pauses.add(OUTBOX)
    assert ledger.queue.next_ready_at(BOTH) is None
    assert ledger.pauses.remove(OUTBOX) is True
    assert ledger.queue.next_ready_at(BOTH) == 0.0
    ledger.close()


@pytest.mark.parametrize(
    ("order", "names"), [(QueueOrder.NEWEST, ["b", "a"]), (QueueOrder.OLDEST, ["a", "b"])]
)
def test_the_order_of_waiting_photos_is_selectable(
    ledger: Ledger, order: QueueOrder, names: list[str]
) -> None:
    for mtime_ns, name in enumerate("ab"):
        admit(ledger, name, mtime_ns)

    found = ledger.queue.ready(BOTH, longest_s=HOUR_S, limit=9, order=order)

    assert [photo.source.relative.name for photo in found] == names


def test_photos_of_a_removed_outbox_wait_until_it_is_back(ledger: Ledger) -> None:
    admit(ledger, "a.jpg")

    ledger.pauses.configure([Outbox("ada", Path("/elsewhere"))])
    assert ready(ledger) == []
    ledger.pauses.configure([OUTBOX])
    assert ready(ledger) == ["a.jpg"]


def test_a_retry_forgets_every_failure_and_wait(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / LEDGER_NAME)
    held, waiting = admit(ledger, "held.jpg"), admit(ledger, "waiting.jpg")
    for source, to in ((held, State.HELD), (waiting, State.READY)):
        photo = ledger.latest(source)
        assert photo is not None
        ledger.move(photo, State.WORKING)
        ledger.move(photo, to, Change(reason="broken", attempts=4, engine_deaths=2, not_before=math.inf))

    assert ledger.retry(None) == 2

    for source in (held, waiting):
        photo = ledger.latest(source)
        assert photo is not None
        assert (photo.state, photo.attempts, photo.engine_deaths) == (State.READY, 0, 0)
    assert ledger.queue.next_ready_at(BOTH) == 0.0
    assert ledger.retry(None) == 0
    ledger.close()


@pytest.mark.parametrize("arguments", [["--all"], ["held.jpg"]])
def test_a_held_photo_is_tried_again_after_a_stopped_retry(home: Home, arguments: list[str]) -> None:
    (home.outbox / "held.jpg").write_bytes(make_photo(Deed.REFUSE))
    once(home.settings, Counter(), FACTORY)
    paths = [one if one == "--all" else str(home.outbox / one) for one in arguments]

    assert fawkesd(home, "retry", *paths) == 0

    assert states(home) == ["ready"]
    assert once(home.settings, Counter(), FACTORY).held[0].reason == "no face was found"


def test_a_held_photo_is_tried_again_by_a_running_service(
    home: Home, running: DaemonProcess, eventually: Wait
) -> None:
    (home.outbox / "held.jpg").write_bytes(make_photo(Deed.REFUSE))
    eventually(lambda: states(home) == ["held"])

    assert fawkesd(home, "retry", "--all") == 0

    eventually(lambda: running.log.count("held.jpg: no face was found") == 2)


def test_a_retry_of_what_did_not_fail_says_so(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())
    once(home.settings, Counter(), FACTORY)

    assert fawkesd(home, "retry", str(home.outbox / "a.jpg")) == 66
    assert "a.jpg is published; `retry` is for photos that failed" in capsys.readouterr().err
    assert fawkesd(home, "retry", str(home.outbox / "b.jpg")) == 66
    assert "b.jpg is not known" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["a.jpg", "--all"]])
def test_retry_wants_photos_or_all(home: Home, arguments: list[str]) -> None:
    assert fawkesd(home, "retry", *arguments) == 64


@pytest.mark.parametrize("folder", ["outbox", "sync"])
def test_a_removed_result_is_made_again_after_a_stopped_redo(home: Home, folder: str) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())
    once(home.settings, Counter(), FACTORY)
    (home.sync / "a.jpg").unlink()

    assert fawkesd(home, "redo", str(home.outbox.with_name(folder) / "a.jpg")) == 0
    assert status.read(home.settings).users[0].waiting == 1  # it has no row yet, and is counted all the same

    assert once(home.settings, Counter(), FACTORY).published == 1
    assert is_cloaked((home.sync / "a.jpg").read_bytes())
    assert states(home) == ["superseded", "published"]


def test_a_removed_result_is_made_again_by_a_running_service(
    home: Home, running: DaemonProcess, eventually: Wait
) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())
    eventually(lambda: home.published() == ["a.jpg"])
    (home.sync / "a.jpg").unlink()

    assert fawkesd(home, "redo", str(home.outbox / "a.jpg")) == 0

    eventually(lambda: states(home) == ["superseded", "published"])
    assert home.published() == ["a.jpg"]
    assert running.stop() == 0


def test_a_result_that_is_there_is_replaced_by_a_redo(home: Home) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())
    once(home.settings, Counter(), FACTORY)
    inode = (home.sync / "a.jpg").stat().st_ino

    assert fawkesd(home, "redo", str(home.outbox / "a.jpg")) == 0
    once(home.settings, Counter(), FACTORY)

    assert home.published() == ["a.jpg"]
    assert (home.sync / "a.jpg").stat().st_ino != inode


def test_a_redo_without_the_original_changes_nothing(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())
    (home.outbox / "held.jpg").write_bytes(make_photo(Deed.REFUSE))
    once(home.settings, Counter(), FACTORY)
    (home.outbox / "a.jpg").unlink()

    (home.outbox / "album").mkdir()

    for name, reason in (
        ("a.jpg", "no longer exists"),
        ("held.jpg", "is held"),
        ("b.jpg", "is not known"),
        ("album", "is a folder; `redo` is for published photos"),
    ):
        assert fawkesd(home, "redo", str(home.outbox / name)) == 66
        assert reason in capsys.readouterr().err
    assert sorted(states(home)) == ["held", "published"]


def reports(home: Home) -> list[tuple[str | None, int]]:
    """Mode and strength of every result that was published, oldest first."""
    with reading(home.state_dir) as history:
        told = [record.report for record in history.newest() if record.report]
    return [(report["mode"], report["strength"]) for report in reversed(told)]


def test_a_strength_stays_with_its_photo_when_it_is_written_again_or_copied(home: Home) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())
    (home.outbox / "other.jpg").write_bytes(make_photo(seed=1))
    once(home.settings, Counter(), FACTORY)

    assert fawkesd(home, "redo", str(home.outbox / "a.jpg"), "--strength", "80") == 0
    once(home.settings, Counter(), FACTORY)
    (home.outbox / "a.jpg").write_bytes(make_photo(seed=2))
    once(home.settings, Counter(), FACTORY)
    assert fawkesd(home, "redo", str(home.outbox / "a.jpg")) == 0
    once(home.settings, Counter(), FACTORY)
    (home.outbox / "copy.jpg").write_bytes(make_photo(seed=2))
    (home.outbox / "new.jpg").write_bytes(make_photo(seed=3))
    once(home.settings, Counter(), FACTORY)

    assert sorted(reports(home), key=str) == [*[("strong", 80)] * 4, *[(None, 100)] * 3]
    assert sorted(states(home)) == ["published"] * 4 + ["superseded"] * 3


def test_a_strength_that_is_too_little_holds_the_photo_until_another_is_chosen(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = home.outbox / "a.jpg"
    photo.write_bytes(make_photo())
    once(home.settings, Counter(), FACTORY)
    before = (home.sync / "a.jpg").read_bytes()

    assert fawkesd(home, "redo", str(photo), "--strength", "10") == 0
    assert once(home.settings, Counter(), FACTORY).published == 0
    assert (home.sync / "a.jpg").read_bytes() == before
    capsys.readouterr()
    assert fawkesd(home, "held") == 1
    assert "strength 10 is too little" in capsys.readouterr().out

    assert fawkesd(home, "redo", str(photo), "--mode", "quick") == 0
    assert once(home.settings, Counter(), FACTORY).published == 1
    assert reports(home) == [(None, 100), ("quick", 100)]


def test_a_running_service_takes_a_strength(home: Home, running: DaemonProcess, eventually: Wait) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())
    eventually(lambda: home.published() == ["a.jpg"])

    assert fawkesd(home, "redo", str(home.outbox / "a.jpg"), "--mode", "standard", "--strength", "70") == 0

    eventually(lambda: states(home) == ["superseded", "published"])
    assert reports(home) == [(None, 100), ("standard", 70)]
    assert running.stop() == 0


@pytest.mark.parametrize("arguments", [["--strength", "101"], ["--strength", "-1"], ["--mode", "invisible"]])
def test_a_redo_wants_a_strength_and_a_mode_that_exist(home: Home, arguments: list[str]) -> None:
    assert fawkesd(home, "redo", str(home.outbox / "a.jpg"), *arguments) == 64


def test_a_redo_of_a_photo_that_is_ignored_now_changes_nothing_and_the_others_are_redone(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())
    (home.outbox / "private").mkdir()
    (home.outbox / "private" / "b.jpg").write_bytes(make_photo(seed=1))
    once(home.settings, Counter(), FACTORY)
    ignoring = home.ignoring("private/")

    assert fawkesd(ignoring, "redo", str(home.outbox / "private" / "b.jpg"), str(home.outbox / "a.jpg")) == 66

    assert "b.jpg is ignored now, by private/" in capsys.readouterr().err
    once(ignoring.settings, Counter(), FACTORY)
    assert sorted(states(home)) == ["published", "published", "superseded"]
    assert home.published() == ["a.jpg", "private/b.jpg"]


def test_a_pause_of_a_stopped_service_holds_at_its_start_until_resumed(
    home: Home, start: Start, eventually: Wait, tmp_path: Path
) -> None:
    other = tmp_path / "bob-out", tmp_path / "bob-sync"
    for folder in other:
        folder.mkdir()
    bob = UserSettings(name="bob", outboxes=(other[0],), sync=other[1])
    both = replace(home, settings=home.settings.model_copy(update={"users": (*home.settings.users, bob)}))
    assert fawkesd(both, "pause", "ada") == 0
    (home.outbox / "a.jpg").write_bytes(make_photo())
    (other[0] / "b.jpg").write_bytes(make_photo(seed=1))

    start(both.settings)

    eventually(lambda: sorted(states(home)) == ["published", "ready"])
    assert home.published() == []
    assert fawkesd(both, "resume", str(home.outbox)) == 0
    eventually(lambda: home.published() == ["a.jpg"])


def test_a_running_service_pauses_for_a_time(home: Home, running: DaemonProcess, eventually: Wait) -> None:
    began = time.time()
    assert fawkesd(home, "pause", "--for", "1s") == 0
    (home.outbox / "a.jpg").write_bytes(make_photo())

    eventually(lambda: states(home) == ["published"])
    assert column(home, "updated")[0] > began + 1.0
    assert running.stop() == 0


def test_once_says_what_waits_for_a_pause(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())
    config = str(home.write_config())
    assert run_command(["pause", "-c", config]) == 0
    capsys.readouterr()
    assert run_command(["once", "-c", config]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "0 published, 0 held",
        f"  paused: {home.outbox}: paused by hand (1 waiting)",
    ]


def test_once_leaves_what_is_paused(home: Home) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())
    assert fawkesd(home, "pause") == 0

    assert once(home.settings, Counter(), FACTORY).published == 0
    assert states(home) == ["ready"]


@pytest.mark.parametrize("duration", ["2", "0h", "-1h", "9999d", "2 weeks", "nanh", ""])
def test_a_time_nobody_can_mean_is_refused(home: Home, duration: str) -> None:
    assert fawkesd(home, "pause", "--for", duration) == 64


def test_a_pause_of_nobody_says_who_there_is(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert fawkesd(home, "pause", "eve") == 66
    assert "eve is neither an outbox nor a user" in capsys.readouterr().err


def test_replies_are_json_on_request(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert fawkesd(home, "resume", "--json") == 0
    assert json.loads(capsys.readouterr().out) == [{"code": 0, "message": f"{home.outbox}: was not paused"}]


def test_a_reload_needs_a_running_service(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert fawkesd(home, "reload") == 69
    assert "fawkesd is not running" in capsys.readouterr().err


def test_a_service_that_holds_the_lock_and_does_not_answer_is_told(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("daemon.control.client._START_S", 0.0)
    home.state_dir.mkdir()
    lock = DirectoryLock(home.state_dir)

    assert fawkesd(home, "retry", "--all") == 69
    assert "does not answer commands" in capsys.readouterr().err
    lock.release()


@pytest.fixture
def state_lock(home: Home) -> DirectoryLock:
    """The state directory is held, as a service holds it."""
    home.state_dir.mkdir()
    return DirectoryLock(home.state_dir)


@pytest.fixture
def in_background() -> Iterator[Callable[[Callable[[], None]], None]]:
    with ThreadPoolExecutor(1) as executor:
        begun: list[Future[None]] = []
        yield lambda deed: begun.append(executor.submit(deed))
        for one in begun:
            one.result(30)


def test_a_command_that_an_ending_service_did_not_take_is_carried_out_without_it(
    home: Home, state_lock: DirectoryLock, in_background: Deeds, capsys: pytest.CaptureFixture[str]
) -> None:
    control = ControlServer(home.state_dir)

    def end() -> None:
        assert wait(control.waitables, 30)
        control.close()
        state_lock.release()

    in_background(end)
    assert fawkesd(home, "retry", "--all") == 0
    assert "0 photo(s) will be retried" in capsys.readouterr().out


def test_a_command_that_a_reloading_service_did_not_take_is_taken_by_what_follows(
    home: Home, state_lock: DirectoryLock, in_background: Deeds, capsys: pytest.CaptureFixture[str]
) -> None:
    first = ControlServer(home.state_dir)
    taken: list[Command] = []

    def take(command: Command) -> str:
        taken.append(command)
        return "taken"

    def reload() -> None:
        assert wait(first.waitables, WITHIN_S)
        first.close()
        with contextlib.closing(ControlServer(home.state_dir)) as following:
            while not taken and wait(following.waitables, WITHIN_S):
                following.step(time.monotonic(), take)

    in_background(reload)
    assert fawkesd(home, "reload") == 0
    assert taken == [Reload()]
    state_lock.release()


def test_a_start_waits_for_a_command_that_has_the_ledger(
    home: Home, state_lock: DirectoryLock, start: Start, eventually: Wait
) -> None:
    daemon = start(home.settings)
    eventually(lambda: is_open_by(daemon, home.state_dir / LOCK_NAME))
    state_lock.release()

    eventually(lambda: "engine ready" in daemon.log)
    assert daemon.stop() == 0


def test_a_reload_takes_up_a_new_outbox_and_lets_the_old_ones_photos_wait(
    home: Home, running: DaemonProcess, eventually: Wait, tmp_path: Path
) -> None:
    assert fawkesd(home, "pause") == 0
    (home.outbox / "kept.jpg").write_bytes(make_photo())
    eventually(lambda: states(home) == ["ready"])
    (tmp_path / "new").mkdir()
    moved = home.with_outbox(tmp_path / "new")

    assert fawkesd(moved, "reload") == 0
    (moved.outbox / "a.jpg").write_bytes(make_photo(seed=1))

    eventually(lambda: states(home) == ["ready", "published"])
    assert home.published() == ["a.jpg"]
    assert running.stop() == 0


def test_a_reload_finishes_what_is_in_work(
    home: Home, running: DaemonProcess, eventually: Wait, tmp_path: Path
) -> None:
    (tmp_path / "new").mkdir()
    with home.engine_held():
        (home.outbox / "a.jpg").write_bytes(make_photo())
        eventually(lambda: states(home) == ["working"])

        assert fawkesd(home.with_outbox(tmp_path / "new"), "reload") == 0

    eventually(lambda: running.log.count("engine ready") == 2)
    assert home.published() == ["a.jpg"]


@pytest.mark.parametrize("by_signal", [False, True])
@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda path: path.write_text("users: []\n"), "users: is empty"),
        (lambda path: path.unlink(), "no such file"),
        (lambda path: path.write_text("{"), "fawkesd.yaml"),
    ],
    ids=["wrong", "missing", "not-yaml"],
)
def test_a_bad_configuration_is_refused_and_the_old_one_stays(
    home: Home,
    running: DaemonProcess,
    eventually: Wait,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path], object],
    complaint: str,
    by_signal: bool,
) -> None:
    config = home.write_config()
    if by_signal:
        spoil(config)
        running.process.send_signal(signal.SIGHUP)
        eventually(lambda: "the previous configuration stays in use" in running.log)
        assert complaint in running.log
    else:
        aside = config.with_name("good.yaml")
        aside.write_text(config.read_text())
        spoil(config)
        assert run_command(["reload", "-c", str(aside)]) == 78
        assert complaint in capsys.readouterr().err

    (home.outbox / "a.jpg").write_bytes(make_photo())
    eventually(lambda: home.published() == ["a.jpg"])
    assert running.log.count("engine ready") == 1
    assert running.stop() == 0


def test_a_configuration_that_does_not_start_gives_way_to_the_last_one(
    home: Home, running: DaemonProcess, eventually: Wait, tmp_path: Path
) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    lock = DirectoryLock(taken)
    (user,) = home.settings.users
    users = (user.model_copy(update={"staging": taken}),)
    other = replace(home, settings=home.settings.model_copy(update={"users": users}))

    assert fawkesd(other, "reload") == 0

    eventually(lambda: "the new configuration cannot be used" in running.log)
    (home.outbox / "a.jpg").write_bytes(make_photo())
    eventually(lambda: home.published() == ["a.jpg"])
    lock.release()


def test_the_state_directory_stays_the_same_in_a_reload(
    home: Home, running: DaemonProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = home.write_config()
    aside = config.with_name("good.yaml")
    aside.write_text(config.read_text())
    config.write_text(home.settings.model_copy(update={"state_dir": tmp_path / "x"}).model_dump_json())

    assert run_command(["reload", "-c", str(aside)]) == 78
    assert "state_dir cannot change" in capsys.readouterr().err
    assert running.process.poll() is None


def test_many_reloads_in_a_row_end_in_the_last_one(
    home: Home, running: DaemonProcess, eventually: Wait
) -> None:
    home.write_config()
    for _ in range(5):
        running.process.send_signal(signal.SIGHUP)
    oldest = home.settings.model_copy(update={"watch": WatchSettings(settle_s=0.1, order=QueueOrder.OLDEST)})
    assert fawkesd(replace(home, settings=oldest), "retry", "--all") == 0
    running.process.send_signal(signal.SIGHUP)

    (home.outbox / "a.jpg").write_bytes(make_photo())
    eventually(lambda: home.published() == ["a.jpg"])
    assert running.stop() == 0
    assert not (home.state_dir / SOCKET_NAME).exists()
