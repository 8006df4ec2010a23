"""`fawkesd models` as it is typed, against a web server of this machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Home
from web import WEIGHTS, Web

from daemon.cli.main import run_command
from fawkes_engine.extractors import dlib
from fawkes_engine.weights import catalog

NAMES = ("sface", "facenet-casia", "lightcnn", "facenet-vggface2")


@pytest.fixture
def folder(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of fetched models where there is no configuration; the catalogue's files are a test's."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "no-config"))
    monkeypatch.setenv("FAWKESD_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(catalog, "CATALOG", {name: web.model(name) for name in NAMES})
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
    assert capsys.readouterr().out.splitlines() == [
        f"{name} is in {folder / name}.onnx." for name in ("sface", "facenet-casia", "lightcnn")
    ]

    assert run_command(["models", "list"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:5]]
    assert [row[:4] for row in rows] == [
        ["sface", "yes", "1", "MB"],
        ["facenet-casia", "yes", "1", "MB"],
        ["lightcnn", "yes", "1", "MB"],
        ["facenet-vggface2", "no", "1", "MB"],
    ]

    assert run_command(["models", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["folder"] == str(folder)
    assert [(row["name"], row["on_disk"]) for row in listed["models"]] == list(
        zip(NAMES, (True, True, True, False), strict=True)
    )


def test_fetch_brings_what_is_named_to_the_folder_of_the_configuration(folder: Path, home: Home) -> None:
    chosen = home.state_dir / "models"
    engine = home.settings.engine.model_copy(update={"models_dir": chosen})
    config = home.write_config()
    config.write_text(home.settings.model_copy(update={"engine": engine}).model_dump_json())

    assert run_command(["models", "fetch", "facenet-vggface2", "-c", str(config)]) == 0

    assert catalog.on_disk(chosen) == ("facenet-vggface2",)
    assert not folder.exists()


def test_fetch_takes_a_file_one_has(folder: Path, web: Web, tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(WEIGHTS)

    assert run_command(["models", "fetch", "sface", "--from", str(tmp_path / "mine")]) == 0

    assert catalog.on_disk(folder) == ("sface",)
    assert web.asked == []


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["arcface"], 64, "known: sface, facenet-casia, lightcnn, facenet-vggface2"),
        (["--from", "mine"], 64, "name the one model"),
        (["sface", "facenet-casia", "--from", "mine"], 64, "name the one model"),
        (["sface", "--from", "/nowhere/mine"], 78, "check the path"),
        (["sface"], 75, "404"),
    ],
)
def test_what_cannot_be_fetched_is_told_with_its_code(
    arguments: list[str], code: int, says: str, folder: Path, web: Web, capsys: pytest.CaptureFixture[str]
) -> None:
    web.files.clear()

    assert run_command(["models", "fetch", *arguments]) == code

    assert says in " ".join(capsys.readouterr().err.replace("│", "").split())
    assert catalog.on_disk(folder) == ()


def test_verify_reads_what_was_fetched_and_what_came_with_the_package(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_command(["models", "fetch"])
    capsys.readouterr()

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
