"""Folders that are away when anything starts: the daemon waits for them, every command answers, nothing is created."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import DaemonProcess, Home
from faulty import FACTORY, Counter, drive, mount, needs_root, states, unmount
from twins import Deed, make_photo

from daemon.cli.main import run_command
from daemon.config.settings import Settings
from daemon.doctor.examine import examine
from daemon.doctor.findings import as_line
from daemon.fs import absence
from daemon.publish.marker import MARKER_NAME
from daemon.service.run import once
from daemon.status.status import Status, read
from daemon.status.status_text import status_lines
from daemon.workers import protocol

Start = Callable[..., DaemonProcess]
Wait = Callable[[Callable[[], object]], None]
Say = Callable[..., tuple[int, str, str]]
AWAY = [("outbox",), ("sync",), ("outbox", "sync")]


@pytest.fixture
def say(home: Home, capsys: pytest.CaptureFixture[str]) -> Say:
    """Run a command with this home's configuration; returns its exit code and what it printed."""

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run_command([*arguments, "-c", str(home.write_config())])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def unplug(home: Home, *names: str) -> list[Path]:
    """Move folders away, as an unplugged drive does; returns where they should be."""
    places = [home.outbox.with_name(name) for name in names]
    for place in places:
        place.rename(place.with_name(f"unplugged {place.name}"))
    return places


def plug_in(*places: Path) -> None:
    for place in places:
        place.with_name(f"unplugged {place.name}").rename(place)


def waits_for(settings: Settings) -> list[str]:
    return sorted(folder.path for folder in read(settings).waits_for)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def first_line(status: Status) -> str:
    return next(status_lines(status))


@pytest.mark.parametrize("names", AWAY, ids=" and ".join)
def test_the_daemon_starts_without_its_folders_and_goes_on_by_itself_when_they_come(
    home: Home, start: Start, eventually: Wait, names: tuple[str, ...]
) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())
    places = unplug(home, *names)
    daemon = start(home.settings)

    eventually(lambda: "engine ready" in daemon.log)
    eventually(lambda: waits_for(home.settings) == [str(place) for place in places])
    assert f"waits for {', '.join(map(str, places))}" in first_line(read(home.settings))
    (user,) = home.settings.users
    assert not any(place.exists() for place in places)
    assert user.staging_dir.exists() == home.sync.exists()  # it might be on the wrong disk
    plug_in(*places)

    eventually(lambda: home.published() == ["a.jpg"])
    eventually(lambda: read(home.settings).waits_for == ())
    assert daemon.stop() == 0
    for place in places:
        assert daemon.log.count(f"{place} does not exist") + daemon.log.count(f"{place}: does not exist") == 1


@pytest.mark.parametrize("names", AWAY, ids=" and ".join)
def test_every_command_answers_while_a_folder_is_away(
    home: Home,
    start: Start,
    eventually: Wait,
    say: Say,
    monkeypatch: pytest.MonkeyPatch,
    names: tuple[str, ...],
) -> None:
    monkeypatch.setattr(protocol, "DEFAULT_FACTORY", FACTORY)
    (home.outbox / "a.jpg").write_bytes(make_photo())
    (home.outbox / "no.jpg").write_bytes(make_photo(Deed.REFUSE))
    once(home.settings, Counter(), FACTORY)
    places = unplug(home, *names)
    daemon = start(home.settings)
    eventually(lambda: "engine ready" in daemon.log)
    eventually(lambda: waits_for(home.settings) == [str(place) for place in places])

    answers(home, say, places)
    assert all(str(place) in say("status")[1].splitlines()[0] for place in places)
    assert len(json.loads(say("status", "--json")[1])["waits_for"]) == len(places)
    assert say("reload")[0] == 0
    eventually(lambda: daemon.log.count("engine ready") == 2)
    eventually(lambda: waits_for(home.settings) == [str(place) for place in places])
    assert daemon.stop() == 0
    answers(home, say, places)
    assert say("reload")[0] == 69
    assert say("once")[0] == 69
    code, _, err = say("redo", str(home.outbox / "a.jpg"))
    assert (code, "is its drive mounted?" in err) == ((66, True) if "outbox" in names else (0, False))
    assert say("retry", "--all")[1] == "1 photo(s) will be retried\n"
    assert not any(place.exists() for place in places)


def test_a_health_check_fails_until_the_service_runs_and_has_its_folders(
    home: Home, start: Start, eventually: Wait, say: Say
) -> None:
    check = ("status", "--check")
    assert say(*check)[0] == 69
    assert say("status")[0] == 0
    (home.outbox / "no.jpg").write_bytes(make_photo(Deed.REFUSE))
    daemon = start(home.settings)

    eventually(lambda: ", 1 held" in first_line(read(home.settings)))
    assert say(*check)[0] == 0  # held photos are no fault of the service
    places = unplug(home, "sync")
    eventually(lambda: waits_for(home.settings) == [str(place) for place in places])
    code, out, _ = say(*check)
    assert (code, str(places[0]) in out) == (69, True)
    plug_in(*places)
    eventually(lambda: say(*check, "--json")[0] == 0)
    assert daemon.stop() == 0
    assert say(*check)[0] == 69


def answers(home: Home, say: Say, places: list[Path]) -> None:
    """Ask what may be asked with folders away, whether or not the daemon runs."""
    for arguments in (["status"], ["history"], ["people"], ["check-config"]):
        assert say(*arguments)[0] == 0, arguments
    assert say("check-config")[2].count("does not exist; mount its drive or create it") == len(places)
    assert say("held")[:2] == (1, say("held")[1])
    assert "no face was found" in say("held")[1]
    for whose in (str(home.outbox), "ada"):
        assert say("pause", whose)[:2] == (0, f"{home.outbox}: paused\n")
        assert say("resume", whose)[:2] == (0, f"{home.outbox}: resumed\n")
    for photo in (home.outbox / "a.jpg", home.sync / "a.jpg"):
        code, out, _ = say("why", str(photo))
        assert (code, out.count("does not exist")) == (0, len(places))
        assert "no longer exists" not in out
        assert "was deleted" not in out
    assert say("retry", str(home.outbox / "a.jpg"))[0] == 66  # it did not fail
    code, out, _ = say("doctor", "--deep")
    assert code == 1
    assert all(f"fault    {place}: does not exist; its photos wait for it" in out for place in places)
    assert "deleted by their owner" not in out or home.sync not in places


def test_a_sync_folder_that_goes_while_nothing_is_to_publish_is_told_and_so_is_its_return(
    home: Home, start: Start, eventually: Wait
) -> None:
    daemon = start(home.settings)
    eventually(lambda: "engine ready" in daemon.log)
    places = unplug(home, "sync")

    eventually(lambda: waits_for(home.settings) == [str(home.sync)])

    plug_in(*places)
    eventually(lambda: waits_for(home.settings) == [])
    assert "publishing again" in daemon.log


def test_what_was_never_there_is_a_warning_for_doctor(
    home: Home, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "DEFAULT_FACTORY", FACTORY)
    home.outbox.rename(home.outbox.with_name("outbix"))
    home.sync.rmdir()

    code, out, _ = say("doctor")

    assert code == 0
    assert f"warning  {home.outbox}: does not exist, and was never used; fawkesd waits for it" in out
    assert f"did you mean {home.outbox.with_name('outbix')}?" in out
    assert f"warning  {home.sync}: does not exist" in out
    assert sorted(path.name for path in home.outbox.parent.iterdir()) == ["fawkesd.yaml", "outbix"]


def test_once_publishes_what_it_can_and_tells_what_is_away(home: Home, say: Say) -> None:
    other = home.outbox.with_name("other")
    (user,) = home.settings.users
    users = (user.model_copy(update={"outboxes": (home.outbox, other)}),)
    settings = home.settings.model_copy(update={"users": users})
    (home.outbox / "a.jpg").write_bytes(make_photo())

    result = once(settings, Counter(), FACTORY)

    assert (result.published, home.published()) == (1, ["a.jpg"])
    assert result.unavailable == (f"the outbox {other} cannot be used: does not exist",)
    assert not other.exists()
    unplug(home, "sync")
    code, out, err = say("once")
    assert (code, out) == (69, "0 published, 0 held\n")
    assert f"fawkesd: nothing can be published for ada: {home.sync} does not exist" in err


def test_systemd_hears_what_is_waited_for(
    home: Home, start: Start, eventually: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    unplug(home, "outbox")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(f"\0fawkesd-{os.getpid()}")
        systemd.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@fawkesd-{os.getpid()}")
        start(home.settings)
        heard: list[str] = []

        def hears(words: str) -> bool:
            with contextlib.suppress(BlockingIOError):
                heard.extend(systemd.recv(4096).decode().splitlines())
            return any(line.startswith("STATUS=") and words in line for line in heard)

        eventually(lambda: hears(f"waits for {home.outbox}"))
    assert "READY=1" in heard


def test_an_outbox_that_turns_out_to_be_a_link_is_followed_and_nothing_is_published_twice(
    home: Home, start: Start, eventually: Wait
) -> None:
    real = home.outbox.with_name("2026")
    home.outbox.rename(real)
    (real / "a.jpg").write_bytes(make_photo())
    assert once(home.with_outbox(real).settings, Counter(), FACTORY).published == 1
    home.write_config()
    daemon = start(home.settings)
    eventually(lambda: waits_for(home.settings) == [str(home.outbox)])

    home.outbox.symlink_to(real)
    (real / "b.jpg").write_bytes(make_photo(seed=1))

    eventually(lambda: states(home) == ["published", "published"])
    assert daemon.stop() == 0
    assert home.published() == ["a.jpg", "b.jpg"]


def test_a_sync_folder_that_turns_out_to_be_the_outbox_is_not_used(
    home: Home, start: Start, eventually: Wait
) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())
    home.sync.rmdir()
    home.write_config()
    daemon = start(home.settings)
    eventually(lambda: waits_for(home.settings) == [str(home.sync)])

    home.sync.symlink_to(home.outbox)

    eventually(lambda: "is the same folder as the outbox" in daemon.log)  # the reload is refused
    assert "the previous configuration stays in use" in daemon.log
    home.sync.unlink()
    home.sync.mkdir()
    eventually(lambda: home.published() == ["a.jpg"])
    assert names_in(home.outbox) == ["a.jpg"]


@needs_root
def test_a_drive_that_turns_out_to_be_another_configured_folder_is_not_used(
    home: Home, start: Start, eventually: Wait
) -> None:
    """A bind mount of the sync folder would make originals of copies."""
    (home.sync / "theirs.jpg").write_bytes(make_photo())
    unplug(home, "outbox")
    daemon = start(home.settings)
    eventually(lambda: waits_for(home.settings) == [str(home.outbox)])
    daemon.process.send_signal(signal.SIGSTOP)  # in between it would see a new, empty outbox
    home.outbox.mkdir()
    mount("--bind", home.sync, home.outbox)
    daemon.process.send_signal(signal.SIGCONT)
    try:
        eventually(lambda: f"is the same folder as the sync folder users[0].sync ({home.sync})" in daemon.log)
        eventually(lambda: waits_for(home.settings) == [str(home.outbox)])
        assert states(home) == []
        reason = f"fault    {home.outbox}: the running service waits for it: {home.outbox} is the same folder"
        config = home.write_config()

        def is_told() -> bool:
            found = examine(home.settings, config, FACTORY, deep=False)
            return any(as_line(one).startswith(reason) for one in found)

        eventually(is_told)
    finally:
        unmount(home.outbox)
    (home.outbox / "a.jpg").write_bytes(make_photo(seed=1))
    eventually(lambda: home.published() == ["a.jpg", "theirs.jpg"])


@needs_root
def test_a_mounted_drive_is_used_and_its_mount_point_stays_empty(
    home: Home, start: Start, eventually: Wait
) -> None:
    place = home.sync.with_name("drive")
    (user,) = home.settings.users
    users = (user.model_copy(update={"sync": place / "sync", "outboxes": (place / "outbox",)}),)
    settings = home.settings.model_copy(update={"users": users})
    place.mkdir()
    with drive(place) as content:
        for name in ("outbox", "sync"):
            (content / name).mkdir()
        (content / "outbox" / "a.jpg").write_bytes(make_photo())
        daemon = start(settings)
        eventually(lambda: waits_for(settings) == [str(place / "outbox"), str(place / "sync")])
        assert names_in(place) == []

        mount("--bind", content, place)
        eventually((content / "sync" / "a.jpg").exists)
        assert names_in(content) == [".fawkesd-staging-sync", "outbox", "sync"]
        assert daemon.stop() == 0
        unmount(place)
        assert names_in(place) == []


def test_a_folder_on_the_empty_mount_point_of_fstab_is_not_taken_for_a_new_one(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())
    (tmp_path / "fstab").write_text(f"/dev/sdb1 {home.sync} ext4 nofail 0 2\n")
    monkeypatch.setattr(absence, "_FSTAB", tmp_path / "fstab")

    (reason,) = once(home.settings, Counter(), FACTORY).unavailable

    assert f"{home.sync} is on {home.sync}, which is not mounted" in reason
    assert names_in(home.sync) == []
    (tmp_path / "fstab").unlink()
    assert once(home.settings, Counter(), FACTORY).published == 1


def test_a_folder_that_could_not_be_used_is_not_waited_for_by_its_marker(home: Home, tmp_path: Path) -> None:
    """Such as the mount point of a drive: the drive itself, when it comes, is as new as that was."""
    (user,) = home.settings.users
    users = (user.model_copy(update={"staging": tmp_path / "nowhere" / "staging"}),)
    (home.outbox / "a.jpg").write_bytes(make_photo())
    (reason,) = once(home.settings.model_copy(update={"users": users}), Counter(), FACTORY).unavailable
    assert f"{tmp_path}/nowhere, the place for the staging folder, does not exist" in reason
    assert not (tmp_path / "nowhere").exists()
    (home.sync / MARKER_NAME).unlink()

    assert once(home.settings, Counter(), FACTORY).published == 1
