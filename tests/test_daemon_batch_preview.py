"""`fawkesd preview`: one picture of a photo's faces at several strengths."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_daemon_batch_cloak import FACE

from daemon.batch import cloak
from daemon.cli.main import run_command
from fawkes_engine import EngineSettings, Look, Request

BOX = (20.0, 20.0, 60.0, 70.0)  # with its surroundings 52 x 65 px
TELLING = replace(FACE, cosine_own={"dlib": 0.2, "sface": 0.9})


def png(value: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (100, 90), (value, value, value)).save(out, "PNG")
    return out.getvalue()


class Previewing:
    """An engine whose photos are as grey as their strength; what is weaker than 50 would be held."""

    def __init__(self) -> None:
        self.settings: list[EngineSettings] = []

    def looks(self, request: Request, strengths: Sequence[int]) -> list[Look]:
        assert request.user == "alice"
        return [
            Look(s, png(s), (BOX, BOX), (), "too little")
            if s < 50
            else Look(s, png(s), (BOX, BOX), (TELLING,), None)
            for s in strengths
        ]


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Previewing:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    engine = Previewing()

    def load(settings: EngineSettings, _targets_dir: Path) -> Previewing:
        engine.settings.append(settings)
        return engine

    monkeypatch.setattr(cloak, "load_engine", load)
    return engine


def preview(photo: Path, *arguments: str) -> int:
    return run_command(["preview", str(photo), "--user", "alice", *arguments])


def test_the_picture_has_a_row_per_face_and_the_original_first(
    tmp_path: Path, engine: Previewing, capsys: pytest.CaptureFixture[str]
) -> None:
    photo, out = tmp_path / "a.png", tmp_path / "preview.png"
    photo.write_bytes(png(200))

    assert preview(photo, "--out", str(out), "--strength", "40", "--strength", "70") == 0

    with Image.open(out) as picture:
        sheet = np.asarray(picture)
    middles = [[int(sheet[row, column, 0]) for column in (26, 86, 146)] for row in (60, 153)]
    assert middles == [[200, 40, 70]] * 2
    held, published = capsys.readouterr().out.splitlines()
    assert held == "strength 40: held: too little"
    assert published.startswith("strength 70: weak: ")
    assert engine.settings == [EngineSettings.of_mode("strong")]


def test_each_strength_is_one_json_object(
    tmp_path: Path, engine: Previewing, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = tmp_path / "a.png"
    photo.write_bytes(png(200))

    assert preview(photo, "--out", str(tmp_path / "p.png"), "--mode", "quick", "--json") == 0

    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["strength"] for one in told] == [40, 60, 80, 100]
    assert (told[0]["held"], told[0]["against_others"]) == ("too little", None)
    assert told[1]["against_others"].startswith("weak: ")
    assert engine.settings == [EngineSettings.of_mode("quick")]


@pytest.mark.usefixtures("engine")
def test_an_existing_file_is_replaced_only_by_force_and_the_photo_never(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo, out = tmp_path / "a.png", tmp_path / "preview.png"
    photo.write_bytes(png(200))
    out.write_bytes(b"mine")

    assert preview(photo, "--out", str(out)) == 73
    assert "exists already" in capsys.readouterr().err
    assert out.read_bytes() == b"mine"
    assert preview(photo, "--out", str(photo), "--force") == 73
    assert "the photo itself" in capsys.readouterr().err
    assert photo.read_bytes() == png(200)
    assert preview(photo, "--out", str(out), "--force") == 0
    with Image.open(out) as picture:
        assert picture.format == "PNG"


@pytest.mark.parametrize(("photo", "out", "code"), [("none.png", "p.png", 66), ("a.png", "no/p.png", 73)])
def test_what_is_sure_to_fail_fails_before_the_engine_is_loaded(
    tmp_path: Path, engine: Previewing, photo: str, out: str, code: int
) -> None:
    (tmp_path / "a.png").write_bytes(png(200))

    assert preview(tmp_path / photo, "--out", str(tmp_path / out)) == code

    assert not engine.settings
