"""The commands about people, with the real engine where a face must be known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from engine_pictures import encoded, portrait
from own_photos import record

from daemon.cli.main import run_command
from daemon.config.settings import default_state_dir
from daemon.exits import Exit
from daemon.state.targets import FileTargetStore
from fawkes_engine import Target

pytestmark = pytest.mark.numeric
TARGET = Target(
    "nobody-01", "1", {"dlib": (1.0, 0.0)}, {"dlib": ((0.0, 1.0),)}, "2026-01-02T03:04:05+00:00", ()
)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileTargetStore:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return FileTargetStore(default_state_dir() / "targets")


def test_an_enrolled_user_is_known_and_keeps_the_target(
    store: FileTargetStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = tmp_path / "me.jpg"
    photo.write_bytes(encoded(portrait(), "JPEG"))

    assert run_command(["enroll", str(photo), "--user", "ada"]) == Exit.OK
    first = store.get("ada")
    assert run_command(["enroll", str(photo), "--user", "ada"]) == Exit.OK
    second = store.get("ada")

    assert first is not None
    assert second is not None
    assert first.identity == second.identity
    assert len(second.known_by["dlib"]) == len(first.known_by["dlib"]) + 1
    assert "Learned ada's face from 1 of 1 photos" in capsys.readouterr().out


def test_strangers_are_listed_and_forgotten_and_users_are_not(
    store: FileTargetStore, capsys: pytest.CaptureFixture[str]
) -> None:
    for person in ("ada", "~0123456789ab", "~ba9876543210"):
        store.add(person, TARGET)
    assert run_command(["people", "--json"]) == Exit.OK
    assert set(json.loads(capsys.readouterr().out)) == {"ada", "~0123456789ab", "~ba9876543210"}

    assert run_command(["forget", "ada"]) == Exit.USAGE
    assert run_command(["forget"]) == Exit.USAGE
    assert run_command(["forget", "~0123456789ab"]) == Exit.OK
    assert store.people() == ["ada", "~ba9876543210"]
    assert run_command(["forget", "--strangers"]) == Exit.OK
    assert store.people() == ["ada"]


def test_a_photo_to_enroll_that_is_missing_is_told(store: FileTargetStore, tmp_path: Path) -> None:
    assert run_command(["enroll", str(tmp_path / "none.jpg"), "--user", "ada"]) != Exit.OK
    assert store.people() == []


def test_a_published_copy_is_not_enrolled_as_a_clean_face(
    store: FileTargetStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    original, copy = tmp_path / "me.jpg", tmp_path / "download.jpg"
    original.write_bytes(encoded(portrait(), "JPEG"))
    copy.write_bytes(b"cloaked")
    record(default_state_dir(), original, b"cloaked")

    assert run_command(["enroll", str(original), str(copy), "--user", "ada"]) == Exit.NO_INPUT
    assert f"download.jpg is the cloaked copy of {original}" in capsys.readouterr().err.replace("\n", " ")
    assert store.people() == []
