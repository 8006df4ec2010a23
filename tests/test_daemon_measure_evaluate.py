"""The command `evaluate`, with the real engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from evaluation_pictures import make_data, photo_of

from daemon.cli.main import run_command
from daemon.exits import Exit
from fawkes_engine.modes import Budget

pytestmark = pytest.mark.numeric


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of ada, among others who look like ben: the usual others are hers, squeezed, too near."""
    folder = make_data(tmp_path_factory.mktemp("data"))
    for number, other in enumerate(sorted((folder / "others").iterdir())):
        (other / "0.jpg").write_bytes(photo_of("ben", number))
    return folder


@pytest.fixture(scope="module")
def result(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command leaves behind after it cloaked two photos and a portrait."""
    out = tmp_path_factory.mktemp("result") / "new"
    sizes = ("--people", "1", "--cloaked", "2", "--tested", "2", "--mode", "quick")
    portraits = data.parent / f"{data.name}-portraits"
    (portraits / "ada").mkdir(parents=True)
    (portraits / "ada" / "large.jpg").write_bytes((data / "users/ada/0.jpg").read_bytes())
    code = run_command(
        ["evaluate", "--data", str(data), *sizes, "--portraits", str(portraits), "--keep", "--out", str(out)]
    )
    assert code == Exit.OK
    return out


def told(folder: Path) -> Any:
    return json.loads((folder / "evaluation.json").read_text())


def recognised(folder: Path, gallery: str) -> dict[str, float]:
    return {
        r["head"]: r["recognised"]["share"] for r in told(folder)["recognition"] if r["gallery"] == gallery
    }


def test_cloaks_fool_the_recogniser_they_were_made_with_and_noise_does_not(result: Path) -> None:
    everyone = dict.fromkeys(("nearest", "centroid", "linear"), 1.0)
    assert told(result)["costs"]["published"] == 2
    assert recognised(result, "as they were") == everyone
    assert recognised(result, "random warp and noise, as strong") == everyone
    assert recognised(result, "cloaked") == dict.fromkeys(everyone, 0.0)


def test_the_costs_are_inside_the_budget(result: Path) -> None:
    for costs in (told(result)["costs"], told(result)["portraits"]):
        figures = costs["visibility"]
        assert 0 < figures["dssim"]["mean"] <= figures["dssim"]["largest"] <= Budget().dssim
        assert 0 < figures["moved"]["largest"] <= Budget().warp
        assert 0.85 < figures["ms_ssim"]["smallest"] < 1  # against the original, so the warp lowers it
        assert costs["seconds_per_photo"] > 0


def test_photos_that_were_kept_are_judged_again_without_the_engine(
    data: Path, result: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fawkes_engine.engine.Engine", None)
    code = run_command(
        [
            *("evaluate", "--data", str(data), "--people", "1", "--cloaked", "2", "--tested", "2"),
            *("--head", "nearest", "--published", str(result / "published"), "--out", str(tmp_path)),
        ]
    )
    assert code == Exit.OK
    assert recognised(tmp_path, "cloaked") == {"nearest": 0.0}
    for part in ("fingerprint", "settings", "costs", "portraits"):
        assert told(tmp_path)[part] == told(result)[part]


def test_an_evaluation_is_not_written_over(
    data: Path, result: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (result / "evaluation.json").read_bytes()
    assert run_command(["evaluate", "--data", str(data), "--out", str(result)]) == Exit.CANT_CREATE
    assert "already contains an evaluation" in capsys.readouterr().err
    assert (result / "evaluation.json").read_bytes() == before


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (["--tracker", "onyx"], "unknown extractor 'onyx'"),
        (["--head", "forest"], "unknown head 'forest'"),
        (["--cloaked", "9"], "ask for fewer (--cloaked, --tested)"),
        (["--published", "there", "--keep"], "--published cloaks nothing"),
        (["--fine-tune", "-1"], "--fine-tune"),
    ],
)
def test_a_wrong_order_is_told_before_anything_is_cloaked(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: list[str], told: str
) -> None:
    sizes = ["--cloaked", "2", "--tested", "2"]
    out = tmp_path / "out"
    assert run_command(["evaluate", "--data", str(data), "--out", str(out), *sizes, *wrong]) == Exit.USAGE
    assert told in capsys.readouterr().err
    assert not out.exists()
