"""Backups of targets: encrypted, whole, and never in the place of another target."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.cli.main import run_command
from daemon.config.settings import Settings, UserSettings, default_state_dir
from daemon.doctor import state
from daemon.doctor.findings import Level
from daemon.errors import InputError, TargetError
from daemon.exits import Exit
from daemon.state import target_backup
from daemon.state.history import reading
from daemon.state.ledger import Ledger
from daemon.state.schema import LEDGER_NAME
from daemon.state.targets import FileTargetStore
from fawkes_engine import MeanFace, Target

PASSPHRASE = "correct horse battery"
TARGET = Target(
    identity="mix-17",
    pool="1",
    vectors={"dlib": (0.6, -0.8, 1e-17)},
    known_by={"dlib": ((1.0, 0.0, 0.0),)},
    chosen_at="2026-01-02T03:04:05+00:00",
    chosen_from=("00ff",),
    mean_faces={"dlib": MeanFace((0.3, 0.2, 0.1), faces=2)},
)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileTargetStore:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return FileTargetStore(default_state_dir() / "targets")


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    file = tmp_path / "passphrase"
    file.write_text(f"{PASSPHRASE}\n")
    return ["--passphrase-file", str(file)]


def published(state_dir: Path, user: str, identity: str) -> None:
    with contextlib.closing(Ledger(state_dir / LEDGER_NAME)) as ledger:
        ledger.targets.fix(user, identity)


def test_a_lost_target_comes_back_exactly_and_its_user_goes_on(
    store: FileTargetStore, tmp_path: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    store.add("ada", TARGET)
    store.add("~0123456789ab", replace(TARGET, identity="mix-3"))
    published(default_state_dir(), "ada", TARGET.identity)
    file = tmp_path / "targets.age"

    assert run_command(["targets", "export", str(file), *options]) == Exit.OK
    assert file.stat().st_mode & 0o777 == 0o600
    assert b"mix-17" not in file.read_bytes()
    store.path("ada").unlink()
    with reading(default_state_dir()) as history:
        assert store.objection("ada", history.targets) is not None
        assert run_command(["targets", "import", str(file), *options]) == Exit.OK
        assert store.objection("ada", history.targets) is None

    assert store.get("ada") == TARGET
    assert store.path("ada").stat().st_mode & 0o777 == 0o600
    assert run_command(["targets", "import", str(file), *options]) == Exit.OK
    said = capsys.readouterr().out
    assert said == f"{file} holds the target of ada.\nada: restored\nada: is there already\n"


def test_another_target_is_never_replaced_and_then_nothing_is_imported(
    store: FileTargetStore, tmp_path: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for number, user in enumerate(("ada", "bob", "eve")):
        store.add(user, replace(TARGET, identity=f"mix-{number}"))
    file = tmp_path / "targets.age"
    assert run_command(["targets", "export", str(file), *options]) == Exit.OK
    for user in ("ada", "bob", "eve"):
        store.forget(user)
    mine, stranger = replace(TARGET, identity="mix-9"), replace(TARGET, identity="mix-2")
    store.add("ada", mine)
    store.add("~0123456789ab", stranger)
    published(default_state_dir(), "bob", "mix-8")

    assert run_command(["targets", "import", str(file), *options]) == Exit.UNAVAILABLE

    said = capsys.readouterr().err
    assert "nothing was imported" in said
    assert "ada.json names mix-9, and the backup has mix-0 for ada; move that file away" in said
    assert "the photos published for bob carry mix-8, and the backup has mix-1" in said
    assert "mix-2, which the backup has for eve, is the target of ~0123456789ab here" in said
    assert store.people() == ["ada", "~0123456789ab"]
    assert store.get("ada") == mine


def test_a_damaged_target_is_restored_and_kept_aside(store: FileTargetStore) -> None:
    store.add("ada", TARGET)
    store.path("ada").write_text('{"identity": "mi')

    assert target_backup.restore(store.path("x").parent, {"ada": TARGET}) == ["ada"]

    assert store.get("ada") == TARGET
    assert store.path("ada").with_suffix(".json.damaged").read_text() == '{"identity": "mi'
    assert store.people() == ["ada"]


def test_what_was_kept_aside_stays_when_another_file_is_damaged(store: FileTargetStore) -> None:
    for text in ("first", "second"):
        store.path("ada").parent.mkdir(parents=True, exist_ok=True)
        store.path("ada").write_text(text)
        target_backup.restore(store.path("x").parent, {"ada": TARGET})

    kept = sorted(path.read_text() for path in store.path("x").parent.glob("ada.json.damaged*"))
    assert kept == ["first", "second"]


def test_a_target_that_cannot_be_read_now_is_not_replaced(store: FileTargetStore) -> None:
    store.path("ada").mkdir(parents=True)  # reading it fails for root, too

    with pytest.raises(TargetError, match="cannot be read"):
        target_backup.restore(store.path("x").parent, {"ada": TARGET})

    assert store.path("ada").is_dir()


def test_what_was_imported_counts_as_exported(
    store: FileTargetStore, tmp_path: Path, options: list[str]
) -> None:
    store.add("ada", TARGET)
    file = tmp_path / "targets.age"
    assert run_command(["targets", "export", str(file), *options]) == Exit.OK
    shutil.rmtree(store.path("x").parent)

    assert run_command(["targets", "import", str(file), *options]) == Exit.OK

    assert target_backup.is_exported(store.path("x").parent, "ada")


NAMES = st.dictionaries(st.sampled_from(["ada", "bob", "eve"]), st.sampled_from(["mix-1", "mix-2", "mix-3"]))


@settings(max_examples=30)  # each writes a ledger
@given(here=NAMES, carried=NAMES, backup=NAMES)
def test_whatever_the_backup_holds_no_identity_changes(
    here: dict[str, str], carried: dict[str, str], backup: dict[str, str]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        targets_dir = Path(folder) / "targets"
        store = FileTargetStore(targets_dir)
        for user, identity in here.items():
            store.add(user, replace(TARGET, identity=identity))
        for user, identity in carried.items():
            published(targets_dir.parent, user, identity)

        wanted = {user: replace(TARGET, identity=identity) for user, identity in backup.items()}
        try:
            target_backup.restore(targets_dir, wanted)
            expected = {**backup, **here}
            assert all(carried.get(user, identity) == identity for user, identity in backup.items())
        except TargetError:
            expected = here

        assert {user: (store.get(user) or TARGET).identity for user in store.people()} == expected


def test_the_wrong_passphrase_and_other_files_are_told(
    store: FileTargetStore, tmp_path: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "targets.age"
    backup = target_backup.encrypt({"ada": TARGET}, "another passphrase")
    for data in (backup, backup[:-5], b"", b"a photo"):
        file.write_bytes(data)
        assert run_command(["targets", "import", str(file), *options]) == Exit.NO_INPUT
        assert "cannot be decrypted: the passphrase is another one" in capsys.readouterr().err
    assert store.people() == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not JSON", "no backup of targets"),
        (b"[1]", "no backup of targets"),
        (b'{"kind": "fawkesd targets", "version": 2}', "install a newer fawkesd"),
        (b'{"kind": "fawkesd targets", "version": 1, "targets": {"ada": {}}}', "cannot be read"),
        (b'{"kind": "fawkesd targets", "version": 1}', "cannot be read"),
    ],
)
def test_what_is_encrypted_must_be_a_backup(content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        target_backup.from_json(content)


@pytest.mark.parametrize("name", ["../ada", "/etc/ada", "", ".", "..", "~stranger", "a\nb"])
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="a name that no user can have"):
        target_backup.from_json(target_backup.as_json({name: TARGET}))


def test_an_existing_file_stays_unless_forced_and_a_failed_export_leaves_none(
    store: FileTargetStore, tmp_path: Path, options: list[str]
) -> None:
    file = tmp_path / "targets.age"
    assert run_command(["targets", "export", str(file), *options]) == Exit.NO_INPUT  # no target yet
    store.add("ada", TARGET)
    assert run_command(["targets", "export", str(tmp_path / "none" / "x"), *options]) == Exit.CANT_CREATE
    assert not target_backup.is_exported(store.path("x").parent, "ada")

    file.write_bytes(b"mine")
    assert run_command(["targets", "export", str(file), *options]) == Exit.CANT_CREATE
    assert file.read_bytes() == b"mine"
    assert run_command(["targets", "export", str(file), "--force", *options]) == Exit.OK
    assert target_backup.decrypt(file.read_bytes(), PASSPHRASE) == {"ada": TARGET}


def test_the_passphrase_comes_from_a_descriptor_and_has_a_length(
    store: FileTargetStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store.add("ada", TARGET)
    file = str(tmp_path / "targets.age")

    def export(passphrase: bytes) -> int:
        reader, writer = os.pipe()
        os.write(writer, passphrase)
        os.close(writer)
        try:
            return run_command(["targets", "export", file, "--passphrase-file", f"/dev/fd/{reader}"])
        finally:
            os.close(reader)

    assert export(b"") == Exit.NO_INPUT
    assert export(b"short\n") == Exit.USAGE
    assert export(b"\xff\xff\xff") == Exit.NO_INPUT
    assert not Path(file).exists()
    assert export(PASSPHRASE.encode() + b"\r\nand a second line\n") == Exit.OK
    assert target_backup.decrypt(Path(file).read_bytes(), PASSPHRASE) == {"ada": TARGET}
    assert (
        run_command(["targets", "import", file, "--passphrase-file", str(tmp_path / "none")]) == Exit.NO_INPUT
    )


def test_the_passphrase_is_asked_twice_at_a_terminal_and_not_shown(
    store: FileTargetStore, tmp_path: Path
) -> None:
    store.add("ada", TARGET)
    file = tmp_path / "targets.age"
    command = [sys.executable, "-m", "daemon", "targets", "export", str(file)]
    mine, theirs = pty.openpty()
    root = Path(__file__).parents[1]
    with subprocess.Popen(
        command, cwd=root, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as process:
        os.close(theirs)
        shown = b""
        answers = [b"Passphrase: ", b"Repeat for confirmation: "]  # the space comes once the echo is off
        with contextlib.suppress(OSError):  # the end, on Linux
            while part := os.read(mine, 1024):
                shown += part
                if answers and answers[0] in shown:
                    answers.pop(0)
                    os.write(mine, f"{PASSPHRASE}\n".encode())
    os.close(mine)

    assert process.returncode == Exit.OK, shown
    assert PASSPHRASE.encode() not in shown
    assert target_backup.decrypt(file.read_bytes(), PASSPHRASE) == {"ada": TARGET}


def test_without_a_terminal_the_option_is_named(
    store: FileTargetStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store.add("ada", TARGET)

    assert run_command(["targets", "export", str(tmp_path / "x")]) == Exit.USAGE
    assert "--passphrase-file" in capsys.readouterr().err


def test_doctor_warns_until_what_cannot_be_made_again_is_exported(tmp_path: Path) -> None:
    wanted = Settings(
        state_dir=tmp_path / "state",
        users=(UserSettings(name="ada", outboxes=(tmp_path / "outbox",), sync=tmp_path / "sync"),),
    )
    store = FileTargetStore(wanted.targets_dir)

    def found() -> list[tuple[Level, str]]:
        with reading(wanted.state_dir) as history:
            return [(one.level, one.message) for one in state.target(wanted, "ada", history)]

    store.add("ada", TARGET)
    assert found() == []  # nothing is published
    published(wanted.state_dir, "ada", TARGET.identity)
    ((level, message),) = found()
    assert level is Level.WARNING
    assert "was never exported" in message

    target_backup.note_export(wanted.targets_dir, target_backup.read_all(wanted.targets_dir))
    assert [level for level, _message in found()] == [Level.FINE]
    more = replace(TARGET, known_by={"dlib": ((0.0, 1.0, 0.0),)})
    store.learn("ada", more)  # how faces looked lately is learned again by itself
    assert [level for level, _message in found()] == [Level.FINE]
    store.learn("ada", replace(more, mean_faces={"dlib": MeanFace((0.3, 0.2, 0.1), faces=3)}))
    assert "has changed since it was exported" in found()[0][1]
    assert target_backup.is_exported(wanted.targets_dir, "bob") is None


def test_the_record_of_exports_is_private_and_no_person(store: FileTargetStore) -> None:
    store.add("ada", TARGET)
    directory = store.path("x").parent
    target_backup.note_export(directory, target_backup.read_all(directory))

    record = directory / ".exported"
    assert record.stat().st_mode & 0o777 == 0o600
    assert list(json.loads(record.read_text())) == ["ada"]
    assert store.people() == ["ada"]
