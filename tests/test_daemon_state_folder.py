"""The state folder shows faces to nobody else, however it was made."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import DaemonProcess, Home
from faulty import Counter, states
from twins import any_target, make_photo

from daemon.cli.main import run_command
from daemon.service.run import once
from daemon.state.folder import open_to_others, prepare
from daemon.state.schema import LEDGER_NAME
from daemon.state.targets import FileTargetStore

FACTORY = "twins:make_faithful_engine"
Make = Callable[[Home], object]


@pytest.fixture(autouse=True)
def _lax_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def command(*arguments: str) -> Make:
    return lambda home: run_command([*arguments, "-c", str(home.write_config())])


def enroll(home: Home) -> None:
    """As `enroll` and `cloak` do without a service."""
    store = FileTargetStore(home.settings.targets_dir)
    with store.alone():
        store.add("ada", any_target())


def publish(home: Home) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())
    once(home.settings, Counter(), FACTORY)


def open_paths(home: Home) -> list[Path]:
    return [path for path in (home.state_dir, *home.state_dir.rglob("*")) if path.lstat().st_mode & 0o077]


MAKERS = {
    "once": publish,
    "enroll": enroll,
    "pause": command("pause"),
    "retry": command("retry", "--all"),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
def test_whatever_makes_the_state_folder_makes_it_private(home: Home, make: Make) -> None:
    make(home)

    assert home.state_dir.is_dir()
    assert open_paths(home) == []


@pytest.mark.parametrize("arguments", [("people",), ("forget", "--strangers"), ("status",), ("history",)])
def test_what_only_looks_makes_no_state_folder(home: Home, arguments: tuple[str, ...]) -> None:
    command(*arguments)(home)

    assert not home.state_dir.exists()


def test_a_running_service_has_nothing_open_to_others(
    home: Home, start: Callable[..., DaemonProcess], eventually: Callable[..., None]
) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())
    start(home.settings, factory=FACTORY)

    eventually(lambda: states(home) == ["published"])
    assert (home.state_dir / f"{LEDGER_NAME}-wal").exists()
    assert open_paths(home) == []
    (home.state_dir / LEDGER_NAME).unlink()
    eventually((home.state_dir / LEDGER_NAME).exists)  # written anew
    assert open_to_others(home.state_dir) == []


def test_the_modes_of_an_earlier_version_are_corrected_at_start_and_told_once(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    publish(home)
    files = [home.state_dir / LEDGER_NAME, home.settings.targets_dir / "ada.json"]
    folders = [home.state_dir, home.settings.targets_dir]
    for path in files:
        path.chmod(0o644)
    for path in folders:
        path.chmod(0o755)
    assert set(open_to_others(home.state_dir)) == {*files, *folders}

    for _ in range(2):
        once(home.settings, Counter(), FACTORY)

    assert open_paths(home) == []
    assert [one.getMessage() for one in caplog.records if "could open" in one.getMessage()] == [
        f"other users of this machine could open {home.state_dir} and 3 more; now only its owner can"
    ]


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP])
def test_a_disk_without_modes_is_used_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    """As FAT, which says so by an error, or changes nothing."""
    state = tmp_path / "state"
    state.mkdir(mode=0o755)

    def chmod(path: Path, _mode: int) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(Path, "chmod", chmod)
    prepare(state)
    monkeypatch.setattr(Path, "chmod", lambda _path, _mode: None)
    prepare(state)

    assert open_to_others(state) == [state]
    assert caplog.records == []
