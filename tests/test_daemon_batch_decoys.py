"""The command `sybil`, with a stand-in for the engine, and once with the real one."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import Home
from engine_pictures import encoded, portrait, somebody_else
from own_photos import publish
from test_daemon_batch_cloak import FACE

from daemon.batch import decoys as sybil
from daemon.batch import own_photos
from daemon.cli.main import run_command
from daemon.exits import Exit
from fawkes_engine import Decoy, NoDecoy, Refusal


class ReversingMaker:
    """Reverses the bytes of a photo; refuses an empty one. own: the photos that it learned the user from."""

    def __init__(self) -> None:
        self.own: list[bytes] = []

    def likeness(self, user: str, photos: Iterable[bytes]) -> Any:
        self.own = list(photos)
        return SimpleNamespace(photos=1)

    def decoys(self, photos: Sequence[bytes], like: Any) -> list[Decoy | Refusal]:
        return [
            Decoy(data[::-1], ".jpg", FACE, {"dlib": -0.1}, 1.5) if data else NoDecoy("it shows 2 faces")
            for data in photos
        ]


@pytest.fixture
def maker(monkeypatch: pytest.MonkeyPatch) -> ReversingMaker:
    made = ReversingMaker()
    monkeypatch.setattr(sybil, "load_engine", lambda settings, targets_dir: made)
    return made


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    """The options for a folder of images, one of them of no use, and one of the user's own photos."""
    for name, data in {"images/a.jpg": b"photo", "images/b.jpg": b"", "own/me.jpg": b"me"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    return [
        *("--user", "ada", "--images", str(tmp_path / "images"), "--like", str(tmp_path / "own")),
        *("--out", str(tmp_path / "out")),
    ]


@pytest.fixture(autouse=True)
def _no_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def test_decoys_are_written_and_what_became_none_is_told(
    maker: ReversingMaker, folders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["sybil", *folders, "--i-have-consent"]) == Exit.HELD
    assert [(p.name, p.read_bytes()) for p in (tmp_path / "out").iterdir()] == [("a.jpg", b"otohp")]
    assert maker.own == [b"me"]
    told = capsys.readouterr()
    assert "likeness to mix-7 (1 is the same): dlib -0.10 -> 0.60" in told.out
    assert "b.jpg: no decoy: it shows 2 faces" in told.out
    assert "Learned ada's features from 1 of 1 photos" in told.err
    for warning in ("has not agreed", "does not remove any photo", "pass as somebody"):
        assert warning in told.err


def test_json_has_one_object_per_photo(
    maker: ReversingMaker, folders: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run_command(["sybil", *folders, "--i-have-consent", "--json"])
    decoy, refused = map(json.loads, capsys.readouterr().out.splitlines())
    assert decoy["cosine_before"] == {"dlib": -0.1}
    assert decoy["face"]["cosine_target"] == {"dlib": 0.6}
    assert refused["refused"] == "it shows 2 faces"


@pytest.mark.parametrize(("answer", "made"), [("y\n", True), ("n\n", False), ("", False)])
def test_without_consent_nothing_is_made(
    maker: ReversingMaker,
    folders: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    made: bool,
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    run_command(["sybil", *folders])
    assert (tmp_path / "out").exists() is made
    assert bool(maker.own) is made


def test_an_original_is_never_written_over(
    maker: ReversingMaker, folders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders[folders.index("--out") + 1] = str(tmp_path / "images")
    assert run_command(["sybil", *folders, "--i-have-consent", "--force"]) == Exit.CANT_CREATE
    assert "originals stay" in capsys.readouterr().err
    assert not maker.own


@pytest.mark.parametrize("missing", ["--images", "--like"])
def test_a_folder_without_photos_is_told(
    maker: ReversingMaker,
    folders: list[str],
    tmp_path: Path,
    missing: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folders[folders.index(missing) + 1] = str(tmp_path / "empty")
    (tmp_path / "empty").mkdir()
    assert run_command(["sybil", *folders, "--i-have-consent"]) == Exit.NO_INPUT
    assert "contains no photos" in capsys.readouterr().err


def test_the_user_is_learned_from_originals_of_published_photos(
    maker: ReversingMaker, folders: list[str], home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    like = folders.index("--like")
    arguments = [
        "sybil",
        *folders[:like],
        *folders[like + 2 :],
        "--i-have-consent",
        "-c",
        str(home.write_config()),
    ]
    assert run_command(arguments) == Exit.NO_INPUT
    assert "name a folder of photos with --like" in capsys.readouterr().err
    publish(home, "alone.jpg", b"ada alone", b"cloaked")
    publish(home, "both.jpg", b"ada and ben", b"cloaked", people=("ada", "ben"))
    (home.sync / "foreign.jpg").write_bytes(b"not made by fawkesd")
    assert run_command(arguments) == Exit.HELD
    assert maker.own == [b"ada alone"]


def test_of_what_is_shared_the_newest_is_first_and_group_photos_are_left_out(home: Home) -> None:
    publish(home, "alone.jpg", b"ada alone", b"cloaked")
    publish(home, "both.jpg", b"ada and ben", b"cloaked", people=("ada", "ben"))
    publish(home, "gone.jpg", b"ada again", b"cloaked")
    (home.outbox / "gone.jpg").unlink()
    (home.sync / "foreign.jpg").write_bytes(b"not made by fawkesd")
    (user,) = home.settings.users
    found = own_photos.shared_by(home.settings, user, 10)
    assert {(photo.path.name, photo.original) for photo in found} == {
        ("alone.jpg", home.outbox / "alone.jpg"),
        ("gone.jpg", None),
        ("foreign.jpg", None),
    }
    assert [photo.path.name for photo in own_photos.shared_by(home.settings, user, 1)] == ["foreign.jpg"]


@pytest.mark.numeric
def test_the_real_engine_makes_a_decoy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder, pixels in {"images": somebody_else(), "own": portrait()}.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "photo.jpg").write_bytes(encoded(pixels, "JPEG"))
    options = ["--images", str(tmp_path / "images"), "--like", str(tmp_path / "own"), "--mode", "quick"]
    arguments = [
        "sybil",
        "--user",
        "ada",
        *options,
        "--out",
        str(tmp_path / "out"),
        "--i-have-consent",
        "--json",
    ]
    assert run_command(arguments) == Exit.OK
    told = json.loads(capsys.readouterr().out)
    assert told["face"]["cosine_target"]["dlib"] > told["cosine_before"]["dlib"] + 0.2
    assert (tmp_path / "out" / "photo.jpg").read_bytes()[:2] == b"\xff\xd8"
