"""The command `study`, on photos as `evaluate --keep` leaves them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from evaluation_pictures import make_data, photo_of

from daemon.cli.main import run_command
from daemon.exits import Exit
from fawkes_engine import evaluation
from fawkes_engine.evaluation import Publication
from fawkes_engine.evaluation.data.publication import Published, key

pytestmark = pytest.mark.numeric
OTHER = {"ada": "ben", "ben": "ada"}
SIZES = ("--cloaked", "2", "--tested", "2")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def published(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Perfect cloaks: each user publishes the other's face."""
    kept = tmp_path_factory.mktemp("published")
    photos = [
        Published(
            key(photo),
            hashlib.sha256(photo.read_bytes()).hexdigest(),
            ".jpg",
            photo_of(OTHER[photo.parent.name], number),
            True,
            (),
        )
        for number, photo in enumerate(evaluation.draw(data, cloaked=2, tested=2).cloaked)
    ]
    evaluation.save_publication(Publication("tiny-1", {}, tuple(photos), (), 1.5), kept / "users")
    return kept


@pytest.fixture(scope="module")
def result(data: Path, published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command leaves behind after two studies."""
    out = tmp_path_factory.mktemp("result") / "new"
    assert study("leak", "linkage", data=data, published=published, out=out) == Exit.OK
    return out


def study(*arguments: str, data: Path, published: Path, out: Path) -> int:
    places = ("--data", str(data), "--published", str(published), "--out", str(out))
    return run_command(["study", *arguments, *places, *SIZES])


def test_each_study_is_written_as_json_and_as_tables(result: Path) -> None:
    assert {path.name for path in result.iterdir()} == {
        "leak.json",
        "leak.md",
        "linkage.json",
        "linkage.md",
        "cache",
    }
    (found,) = json.loads((result / "leak.json").read_text())["tables"]
    for row in found["rows"]:
        assert (row["rates"][0]["share"], row["rates"][-1]["share"]) == (0.0, 1.0)
    assert (result / "leak.md").read_text().startswith("## Leaked originals\n")


def test_what_trackers_saw_is_kept_and_used_again(
    data: Path, published: Path, result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cached = ("--cache", str(result / "cache"))
    assert study("linkage", *cached, data=data, published=published, out=tmp_path) == Exit.OK
    assert "finding" not in capsys.readouterr().err
    one, again = (json.loads((folder / "linkage.json").read_text()) for folder in (result, tmp_path))
    assert one["tables"] == again["tables"]


def test_a_study_is_not_written_over(
    data: Path, published: Path, result: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (result / "leak.json").read_bytes()
    assert study("leak", data=data, published=published, out=result) == Exit.CANT_CREATE
    assert "already contains the study leak" in capsys.readouterr().err
    assert (result / "leak.json").read_bytes() == before


def test_the_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["study", "--help"]) == Exit.OK
    assert "Examples:\n    fawkesd study" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (["astrology"], "unknown study 'astrology'; known: leak, gallery"),
        (["leak", "--tracker", "onyx"], "unknown extractor 'onyx'"),
        (["leak", "--published", "nowhere"], "is missing; name a folder written with --keep"),
        (["leak", "--seed", "1"], "is not among the photos that were cloaked before"),
        (["detection"], "4 people are needed"),
    ],
)
def test_a_wrong_order_is_told(
    data: Path,
    published: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    wrong: list[str],
    told: str,
) -> None:
    out = tmp_path / "out"
    assert study(*wrong, data=data, published=published, out=out) == Exit.USAGE
    assert told in capsys.readouterr().err
    assert not list(out.glob("*.json"))


def test_two_publications_of_one_mode_are_refused(
    data: Path, published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    twice = ("--published", str(published))
    assert study("leak", *twice, data=data, published=published, out=tmp_path) == Exit.USAGE
    assert "name only one per mode" in capsys.readouterr().err
