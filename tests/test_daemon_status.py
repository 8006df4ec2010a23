"""Status from the ledger, with and without a running daemon."""

from __future__ import annotations

from collections.abc import Callable

from conftest import DaemonProcess, Home
from test_daemon_service import FACTORY, Counter
from test_daemon_targets import TARGET
from twins import Deed, make_photo

from daemon.service import once
from daemon.status import read
from daemon.targets import FileTargetStore


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


def test_a_running_daemon_tells_its_process_and_device(
    home: Home, start: Callable[..., DaemonProcess], eventually: Callable[[Callable[[], object]], None]
) -> None:
    daemon = start(home.settings)
    eventually(lambda: "engine ready" in daemon.log)

    status = read(home.settings)

    assert (status.running, status.pid) == (True, daemon.process.pid)
    assert status.engine == "dlib on abacus"
