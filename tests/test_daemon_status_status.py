"""Status from the ledger, with and without a running daemon."""

from __future__ import annotations

import json
import math
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import DaemonProcess, Home
from faulty import FACTORY, Counter, needs_bindfs, needs_root, unmount
from test_daemon_state_targets import TARGET
from twins import Deed, make_photo

from daemon.cli.main import run_command
from daemon.model import Outbox
from daemon.publish.marker import MARKER_NAME
from daemon.service.run import once
from daemon.state.ledger import Ledger
from daemon.state.schema import LEDGER_NAME
from daemon.state.targets import FileTargetStore
from daemon.status.status import Batch, read


def test_before_the_first_start_everything_is_zero(home: Home) -> None:
    status = read(home.settings)

    assert (status.running, status.pid, status.engine) == (False, None, "not running")
    assert [(user.name, user.published, user.waiting, user.held) for user in status.users] == [
        ("ada", 0, 0, ())
    ]
    assert not home.state_dir.exists()


def test_a_stopped_daemon_tells_what_it_has_done(home: Home) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())
    (home.outbox / "b.jpg").write_bytes(make_photo(Deed.REFUSE))
    once(home.settings, Counter(), FACTORY)
    FileTargetStore(home.state_dir / "targets").add("ada", TARGET)

    status = read(home.settings)

    (user,) = status.users
    assert (status.running, status.engine) == (False, "not running")
    assert (user.published, user.published_today, user.waiting) == (1, 1, 0)
    assert [(photo.path.name, photo.reason) for photo in user.held] == [("b.jpg", "no face was found")]
    assert user.seconds_per_photo == 0.01
    assert (user.eta_s, user.target) == (0.0, "mix-17")


def test_paused_folders_are_told_with_what_waits_for_them(home: Home) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())
    once(home.settings, Counter(), FACTORY)
    for for_s in (math.inf, 3600.0):
        ledger = Ledger(home.state_dir / LEDGER_NAME)
        ledger.pauses.add(Outbox("ada", home.outbox), for_s)
        ledger.close()
        (home.outbox / "b.jpg").write_bytes(make_photo(seed=1))
        once(home.settings, Counter(), FACTORY)

        (user,) = read(home.settings).users

        (folder,) = user.paused
        assert (folder.path, folder.reason, folder.waiting) == (home.outbox, "paused by hand", 1)
        assert (folder.until is None) == math.isinf(for_s)
        assert (user.waiting, user.eta_s) == (1, 0.0)


def test_a_sync_folder_that_cannot_be_used_is_told_until_it_can(
    home: Home, start: Callable[..., DaemonProcess], eventually: Callable[[Callable[[], object]], None]
) -> None:
    daemon = start(home.settings)
    eventually(lambda: "engine ready" in daemon.log)
    (home.sync / MARKER_NAME).rename(home.sync.with_name("marker"))
    (home.outbox / "a.jpg").write_bytes(make_photo())

    eventually(lambda: [one.waiting for one in read(home.settings).users[0].paused] == [1])
    (folder,) = read(home.settings).users[0].paused
    assert folder.path == home.sync
    assert "is its drive mounted" in folder.reason
    home.sync.with_name("marker").rename(home.sync / MARKER_NAME)
    eventually(lambda: not read(home.settings).users[0].paused)


def test_a_running_daemon_tells_its_process_and_device(
    home: Home, start: Callable[..., DaemonProcess], eventually: Callable[[Callable[[], object]], None]
) -> None:
    daemon = start(home.settings)
    eventually(lambda: "engine ready" in daemon.log)

    status = read(home.settings)

    assert (status.running, status.pid) == (True, daemon.process.pid)
    assert status.engine == "dlib on abacus"


def redone(home: Home) -> None:
    """A photo was published, and is to be cloaked again."""
    (home.outbox / "a.jpg").write_bytes(make_photo())
    once(home.settings, Counter(), FACTORY)
    assert run_command(["redo", str(home.outbox / "a.jpg"), "-c", str(home.write_config())]) == 0


def waiting(home: Home) -> int:
    (user,) = read(home.settings).users
    return user.waiting


def test_a_photo_to_be_cloaked_again_waits_while_it_is_there(home: Home, tmp_path: Path) -> None:
    redone(home)
    assert waiting(home) == 1
    away = home.outbox.rename(tmp_path / "away")
    assert waiting(home) == 1, "nobody can tell"
    away.rename(home.outbox)
    (home.outbox / "a.jpg").unlink()
    assert waiting(home) == 0


@needs_root
@needs_bindfs
def test_a_share_that_died_is_no_fault_of_the_status(home: Home, tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    with subprocess.Popen(["bindfs", "-f", tmp_path / "server", home.outbox]) as share:
        try:
            while not home.outbox.is_mount():
                time.sleep(0.02)
            redone(home)
            share.kill()
            share.wait()
            assert waiting(home) == 1
        finally:
            share.kill()
            unmount(home.outbox)


def test_what_the_engine_does_is_told_with_how_far_it_is_until_it_is_done(
    home: Home, start: Callable[..., DaemonProcess], eventually: Callable[[Callable[[], object]], None]
) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())
    expected = (Batch((home.outbox / "a.jpg",), "cloaking", 0.25),)
    with home.engine_held():
        daemon = start(home.settings)
        eventually(lambda: read(home.settings).in_work == expected)

    eventually(lambda: read(home.settings).in_work == () and home.published() == ["a.jpg"])
    daemon.stop()
    assert read(home.settings).in_work == ()


def test_once_tells_that_it_watches_nothing(home: Home) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())
    said = []

    class Status(Counter):
        def advance(self, n: int = 1) -> None:
            said.append(read(home.settings).watching)

    once(home.settings, Status(), FACTORY)

    assert said == ["nothing, `fawkesd once` publishes what waits and ends"]


def test_photos_ignored_by_name_are_counted_with_their_pattern(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    ignoring = home.ignoring("*_draft.jpg", "raw/")
    for name in ("raw/a.jpg", "raw/b.nef", "raw/notes.txt", ".stversions/c.jpg", "d.jpg"):
        (home.outbox / name).parent.mkdir(exist_ok=True)
        (home.outbox / name).write_bytes(make_photo())
    once(ignoring.settings, Counter(), FACTORY)

    (user,) = read(ignoring.settings).users

    assert [(one.pattern, one.origin, one.photos, one.places) for one in user.ignored] == [
        ("raw/", "users[0].ignore[1]", 2, ("raw/",)),
        (".*", "built in", 1, (".stversions/",)),
    ]
    config = str(ignoring.write_config())
    assert run_command(["status", "-c", config]) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        f"  in {home.outbox}, 2 photos ignored by name: raw/ (pattern raw/, users[0].ignore[1])",
        f"  in {home.outbox}, 1 photo ignored by name: .stversions/ (pattern .*, built in)",
    ]
    assert run_command(["status", "--json", "-c", config]) == 0
    ignored = json.loads(capsys.readouterr().out)["users"][0]["ignored"]
    assert ignored[0] == {
        "outbox": str(home.outbox),
        "pattern": "raw/",
        "origin": "users[0].ignore[1]",
        "photos": 2,
        "is_all": True,
        "places": ["raw/"],
        "are_videos": False,
    }


def test_an_ignored_photo_may_have_any_name(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    (home.outbox / os.fsdecode(b".\xff\n.jpg")).write_bytes(make_photo())
    once(home.settings, Counter(), FACTORY)

    assert run_command(["status", "-c", str(home.write_config())]) == 0
    assert r"ignored by name: .\xff\n.jpg (pattern" in capsys.readouterr().out


def test_the_count_of_ignored_photos_follows_what_is_there(
    home: Home, start: Callable[..., DaemonProcess], eventually: Callable[[Callable[[], object]], None]
) -> None:
    watch = home.settings.watch.model_copy(update={"rescan_s": 0.2})
    settings = home.settings.model_copy(update={"watch": watch})
    (home.outbox / ".a.jpg").write_bytes(make_photo())
    start(settings)

    eventually(lambda: [one.photos for one in read(settings).users[0].ignored] == [1])
    (home.outbox / ".a.jpg").rename(home.outbox / "a.jpg")
    eventually(lambda: not read(settings).users[0].ignored)
