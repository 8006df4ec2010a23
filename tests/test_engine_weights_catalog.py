"""The catalogue of weights: where they lie, what is on disk, what is pinned."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from small_weights import WEIGHTS, web_model

from fawkes_engine import EngineError, WeightsError
from fawkes_engine.weights import catalog
from fawkes_engine.weights.catalog import CATALOG, Model, Wheel, check

ROOT = Path(__file__).parents[1]


@pytest.fixture
def one_model(monkeypatch: pytest.MonkeyPatch) -> Model:
    """The only model of the catalogue."""
    model = web_model("https://example.invalid/tiny")
    monkeypatch.setattr(catalog, "CATALOG", {model.name: model})
    return model


def test_weights_are_checked_by_their_hash(one_model: Model, tmp_path: Path) -> None:
    file = tmp_path / one_model.file
    with pytest.raises(WeightsError, match="is missing: fetch it with `fawkesd models fetch tiny`"):
        check("tiny", tmp_path)
    assert catalog.on_disk(tmp_path) == ()

    file.write_bytes(WEIGHTS[:-1])
    with pytest.raises(WeightsError, match="is not the pinned weights file: fetch it again"):
        check("tiny", tmp_path)
    assert catalog.on_disk(tmp_path) == ("tiny",)

    file.write_bytes(WEIGHTS)
    assert check("tiny", tmp_path) == catalog.path("tiny", tmp_path) == file


def test_weights_with_terms_are_in_no_default_and_their_command_accepts_them(
    one_model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unfree = replace(one_model, name="unfree", file="unfree.onnx", terms="only for research")
    monkeypatch.setattr(catalog, "CATALOG", {one_model.name: one_model, unfree.name: unfree})
    with pytest.raises(WeightsError, match="`fawkesd models fetch unfree --accept-licence`"):
        check("unfree", tmp_path)
    for model in (one_model, unfree):
        (tmp_path / model.file).write_bytes(WEIGHTS)

    assert catalog.on_disk(tmp_path) == ("tiny", "unfree")
    assert catalog.best_on_disk(tmp_path) == ("dlib", "tiny")


def test_a_name_that_is_not_in_the_catalogue_is_told_with_those_that_are() -> None:
    with pytest.raises(
        EngineError, match="known: sface, facenet-casia, lightcnn, facenet-vggface2, w600k-mbf"
    ):
        catalog.path("arcface", Path())


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"FAWKESD_MODELS": "/m", "XDG_DATA_HOME": "/d"}, "/m"),
        ({"XDG_DATA_HOME": "/d"}, "/d/fawkesd/models"),
        ({"XDG_DATA_HOME": "relative"}, "/h/.local/share/fawkesd/models"),
        ({}, "/h/.local/share/fawkesd/models"),
    ],
)
def test_the_default_folder_follows_the_environment(
    variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FAWKESD_MODELS", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/h", **variables}.items():
        monkeypatch.setenv(name, value)

    assert catalog.default_folder() == Path(expected)


def test_the_catalogue_pins_every_file_by_hash_and_names_no_mirror() -> None:
    assert list(CATALOG) == ["sface", "facenet-casia", "lightcnn", "facenet-vggface2", "w600k-mbf"]
    assert [name for name, model in CATALOG.items() if model.terms] == ["w600k-mbf"]
    assert len({model.file for model in CATALOG.values()}) == len(CATALOG)
    for name, model in CATALOG.items():
        assert model.name == name
        assert model.source.size_bytes > 0
        assert len(bytes.fromhex(model.sha256)) == 32
        if isinstance(model.source, Wheel):
            assert re.fullmatch(r"[a-z0-9-]+", model.source.package), "as pip normalises it"
            assert len(bytes.fromhex(model.source.sha256)) == 32
        else:
            assert urlsplit(model.source.url).scheme == "https"


def test_the_catalogue_is_read_without_torch_numpy_and_ssl() -> None:
    unwanted = "{'torch', 'numpy', 'ssl'} & sys.modules.keys()"
    program = f"import sys, fawkes_engine.weights.catalog; sys.exit(bool({unwanted}))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=dict(os.environ), check=False)
    assert done.returncode == 0
