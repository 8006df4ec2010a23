"""A target that is lost: its user waits for a backup, or for a new target on purpose; nothing is replaced unnoticed."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from conftest import DaemonProcess, Home
from faulty import Counter, column, engine_works, states
from twins import any_target, make_photo

from daemon.cli.main import run_command
from daemon.config.settings import UserSettings
from daemon.doctor.examine import examine
from daemon.doctor.findings import Level
from daemon.service.run import once
from daemon.state.history import reading
from daemon.state.ledger import Ledger
from daemon.state.schema import LEDGER_NAME
from daemon.state.targets import FileTargetStore
from daemon.status.status import read
from daemon.status.status_text import status_lines

Start = Callable[..., DaemonProcess]
Wait = Callable[[Callable[[], object]], None]
Losing = Callable[[Path], None]
FACTORY = "twins:make_faithful_engine"


def drop_photo(home: Home, name: str) -> None:
    (home.outbox / name).write_bytes(make_photo(seed=sum(name.encode())))


def target_file(home: Home, user: str = "ada") -> Path:
    return home.settings.targets_dir / f"{user}.json"


def targets_published(home: Home) -> list[str]:
    """The target of each photo that was published, the oldest first."""
    reports = column(home, "report", "state = 'published'")
    return [face["target"] for report in reports for face in json.loads(report)["faces"]]


def is_paused(home: Home) -> bool:
    (user,) = read(home.settings).users
    return any("the target of ada is lost" in folder.reason for folder in user.paused)


def published_once(home: Home) -> str:
    """Publish a first photo; returns its target."""
    drop_photo(home, "first.jpg")
    assert once(home.settings, Counter(), FACTORY).published == 1
    (target,) = targets_published(home)
    return target


def remove(path: Path) -> None:
    path.unlink()


def remove_folder(path: Path) -> None:
    shutil.rmtree(path.parent)


def replace_target(path: Path) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), "identity": "somebody-else"}))


LOSSES = pytest.mark.parametrize(
    "lose", [remove, remove_folder, replace_target], ids=lambda one: one.__name__
)


@LOSSES
def test_a_user_waits_for_a_lost_target_and_goes_on_by_itself_once_it_is_back(
    home: Home, start: Start, eventually: Wait, lose: Losing
) -> None:
    target = published_once(home)
    backup = target_file(home).read_bytes()
    lose(target_file(home))
    lost = target_file(home).read_bytes() if target_file(home).exists() else None
    drop_photo(home, "second.jpg")

    daemon = start(home.settings, factory=FACTORY)

    eventually(lambda: "ready" in states(home))
    eventually(lambda: "engine ready" in daemon.log)
    eventually(lambda: is_paused(home))
    (line,) = (line for line in status_lines(read(home.settings)) if "paused:" in line)
    assert f"{target_file(home)}: the target of ada is lost: the published photos carry {target}" in line
    assert "restore that file from a backup, or choose a new target on purpose" in line
    assert f"waits for {target_file(home)}" in next(status_lines(read(home.settings)))
    faults = [
        one
        for one in examine(home.settings, home.write_config(), FACTORY, deep=False)
        if one.level is Level.FAULT
    ]
    assert [one.subject for one in faults] == [str(target_file(home))]
    assert home.published() == ["first.jpg"]
    assert (target_file(home).read_bytes() if target_file(home).exists() else None) == lost

    target_file(home).parent.mkdir(exist_ok=True)
    target_file(home).write_bytes(backup)
    eventually(lambda: home.published() == ["first.jpg", "second.jpg"])
    eventually(lambda: states(home) == ["published", "published"])
    assert targets_published(home) == [target, target]
    assert daemon.stop() == 0
    assert daemon.log.count("paused: the target of ada is lost") == 1


def test_a_target_lost_while_the_engine_works_is_missed_before_the_next_photo(
    home: Home, start: Start, eventually: Wait
) -> None:
    target = published_once(home)
    daemon = start(home.settings, factory=FACTORY)
    with home.engine_held():
        drop_photo(home, "slow.jpg")
        eventually(lambda: engine_works(daemon))  # it has read the target by then
        backup = target_file(home).read_bytes()
        target_file(home).unlink()
        drop_photo(home, "next.jpg")

    eventually(lambda: is_paused(home) and states(home) == ["published", "published", "ready"])
    assert not target_file(home).exists()
    target_file(home).write_bytes(backup)
    eventually(lambda: states(home) == ["published"] * 3)
    assert targets_published(home) == [target] * 3
    assert daemon.stop() == 0


@pytest.mark.parametrize("is_running", [False, True])
def test_a_new_target_on_purpose_is_that_of_later_photos_only(
    home: Home, start: Start, eventually: Wait, is_running: bool
) -> None:
    first = published_once(home)
    target_file(home).unlink()
    drop_photo(home, "second.jpg")
    config = str(home.write_config())
    if is_running:
        start(home.settings, factory=FACTORY)
        eventually(lambda: "ready" in states(home) and is_paused(home))

    assert run_command(["resume", "ada", "--new-target", "--yes", "-c", config]) == 0

    if is_running:
        eventually(lambda: states(home) == ["published", "published"])
    else:
        assert once(home.settings, Counter(), FACTORY).published == 1
    old, new = targets_published(home)
    assert old == first != new
    assert json.loads(target_file(home).read_text())["identity"] == new
    with reading(home.state_dir) as history:
        assert history.targets.of("ada") == new


def test_the_new_target_is_as_fixed_as_the_first(home: Home) -> None:
    published_once(home)
    former = target_file(home).read_bytes()
    target_file(home).unlink()
    assert run_command(["resume", "ada", "--new-target", "--yes", "-c", str(home.write_config())]) == 0
    drop_photo(home, "second.jpg")
    assert once(home.settings, Counter(), FACTORY).unavailable == ()
    target_file(home).write_bytes(former)
    drop_photo(home, "third.jpg")

    (reason,) = once(home.settings, Counter(), FACTORY).unavailable

    assert "the target of ada is lost" in reason
    assert home.published() == ["first.jpg", "second.jpg"]


def test_only_the_user_whose_target_is_lost_waits(home: Home) -> None:
    (ada,) = home.settings.users
    folders = [home.outbox.with_name(name) for name in ("bobs-outbox", "bobs-sync")]
    for folder in folders:
        folder.mkdir()
    bob = UserSettings(name="bob", outboxes=(folders[0],), sync=folders[1])
    settings = home.settings.model_copy(update={"users": (ada, bob)})
    published_once(home)
    target_file(home).unlink()
    drop_photo(home, "second.jpg")
    (folders[0] / "b.jpg").write_bytes(make_photo(seed=9))

    result = once(settings, Counter(), FACTORY)

    assert result.published == 1
    assert [reason[:31] for reason in result.unavailable] == ["nothing can be published for ada"[:31]]
    assert (folders[1] / "b.jpg").exists()


def test_once_tells_a_lost_target_by_its_exit_code(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    published_once(home)
    target_file(home).unlink()
    drop_photo(home, "second.jpg")

    assert run_command(["once", "-c", str(home.write_config())]) == 69

    said = capsys.readouterr()
    assert said.out == "0 published, 0 held\n"
    assert "the target of ada is lost" in said.err
    assert "`fawkesd resume ada --new-target`" in said.err
    assert run_command(["why", str(home.outbox / "second.jpg"), "-c", str(home.write_config())]) == 0
    assert "note: the target of ada is lost" in capsys.readouterr().out


def test_a_user_without_published_photos_needs_no_target_yet(home: Home) -> None:
    FileTargetStore(home.settings.targets_dir).add("ada", any_target())
    target_file(home).unlink()
    drop_photo(home, "a.jpg")

    assert once(home.settings, Counter(), FACTORY).published == 1


def test_a_copy_of_a_photo_published_before_does_not_fix_the_former_target(home: Home) -> None:
    published_once(home)
    target_file(home).unlink()
    assert run_command(["resume", "ada", "--new-target", "--yes", "-c", str(home.write_config())]) == 0
    shutil.copy(home.outbox / "first.jpg", home.outbox / "copy.jpg")

    assert once(home.settings, Counter(), FACTORY).published == 1
    drop_photo(home, "second.jpg")
    assert once(home.settings, Counter(), FACTORY).published == 1

    first, copy, second = targets_published(home)
    assert first == copy != second


def test_targets_of_ledgers_from_before_are_fixed_too(home: Home) -> None:
    target = published_once(home)
    with closing(Ledger(home.state_dir / LEDGER_NAME)) as ledger:
        ledger.targets.release("ada")
        database = ledger._db
        database.execute("DROP TABLE fixed_targets")
        for index in ("photos_by_change", "photos_approved"):
            database.execute(f"DROP INDEX {index}")
        for later in ("chosen_mode", "chosen_strength", "result_sha256", "approved", "no_face"):
            database.execute(f"ALTER TABLE photos DROP COLUMN {later}")
        database.execute("PRAGMA user_version = 5")

    with closing(Ledger(home.state_dir / LEDGER_NAME)) as ledger:
        assert ledger.targets.of("ada") == target


@pytest.mark.parametrize("command", ["cloak", "enroll"])
def test_no_command_replaces_a_lost_target(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    published_once(home)
    target_file(home).unlink()
    photo = tmp_path / "me.jpg"
    photo.write_bytes(make_photo(seed=7))
    out = ["--out", str(tmp_path / "out")] if command == "cloak" else []

    assert run_command([command, str(photo), "--user", "ada", *out, "-c", str(home.write_config())]) == 69

    assert "the target of ada is lost" in capsys.readouterr().err
    assert not target_file(home).exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["ada", "--new-target", "--yes"], 66, "the target of ada is in place"),
        (["--new-target", "--yes"], 64, "needs the name of a user"),
        (["eve", "--new-target", "--yes"], 64, "needs the name of a user"),
    ],
)
def test_a_target_that_is_not_lost_stays(
    home: Home, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, words: str
) -> None:
    target = published_once(home)

    assert run_command(["resume", *arguments, "-c", str(home.write_config())]) == code

    assert words in " ".join(capsys.readouterr().err.replace("│", " ").split())
    with reading(home.state_dir) as history:
        assert history.targets.of("ada") == target


@pytest.mark.parametrize(("answer", "code", "is_fixed"), [("y", 0, False), ("n", 1, True), (None, 1, True)])
def test_a_new_target_is_asked_for(home: Home, answer: str | None, code: int, is_fixed: bool) -> None:
    """On a terminal; where there is none (answer None), nobody can say yes but by --yes."""
    target = published_once(home)
    target_file(home).unlink()
    command = [
        *(sys.executable, "-m", "daemon", "resume", "ada", "--new-target", "-c"),
        str(home.write_config()),
    ]
    ours, theirs = pty.openpty() if answer else (os.open(os.devnull, os.O_RDWR), subprocess.DEVNULL)
    process = subprocess.Popen(
        command, stdin=theirs, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    os.write(ours, f"{answer}\n".encode())
    _, said = process.communicate()

    assert process.returncode == code
    assert f"keep their target, {target}" in said
    assert "Trackers then learn two faces for ada" in said
    with reading(home.state_dir) as history:
        assert history.targets.of("ada") == (target if is_fixed else None)
