"""The command `audit`, with dlib as the tracker: ada's perfect cloaks show ben."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from conftest import Home
from evaluation_pictures import make_data, photo_of
from own_photos import publish

from daemon.cli.main import run_command
from daemon.exits import Exit

pytestmark = pytest.mark.numeric
PUBLISHED, CLEAN = "what was published", "the clean photos"


class Tags(HTMLParser):
    """Collects what a page loads, and how many pictures it marks."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.marked = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loaded += [value or "" for name, value in attrs if name in {"src", "href"}]
        self.marked += ("class", "marked") in attrs


@pytest.fixture
def shared(home: Home) -> Home:
    """Three of ada's photos, cloaked; and a photo that somebody put into the sync folder as it was."""
    for number in range(3):
        publish(home, f"{number}.jpg", photo_of("ada", number), photo_of("ben", number))
    (home.sync / "<leak>.jpg").write_bytes(photo_of("ada", 3))
    return home


def audit(*options: str | Path) -> int:
    return run_command(["audit", "--user", "ada", *map(str, options)])


def shares(told: Any) -> Iterator[tuple[str, float]]:
    return ((row["learned"], row["recognised"]["share"]) for row in told["rows"] if row["head"] == "nearest")


def test_what_the_service_published_is_judged_on_the_originals(
    shared: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    (shared.sync / "<leak>.jpg").unlink()
    assert audit("-c", shared.write_config(), "--json") == Exit.OK
    told = json.loads(capsys.readouterr().out)
    assert dict(shares(told)) == {PUBLISHED: 0, CLEAN: 1}
    assert len(told["clean"]) == len(told["published"]) == 3


def test_a_leak_is_told_with_its_name_and_marked_in_a_report_that_loads_nothing(
    shared: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.html"
    assert audit("-c", shared.write_config(), "--html", report) == Exit.OK
    told = capsys.readouterr().out
    assert f"  - {shared.sync / '<leak>.jpg'}" in told
    assert "1 of the published photos still look like ada to dlib" in told
    assert re.search(r"\| dlib \| nearest photo \| 100.0% .* \| 100.0% .* \| 0.0% ", told)
    page, tags = report.read_text(), Tags()
    tags.feed(page)
    assert tags.marked == 1 + 3  # the leak, and the clean photos it gives away
    assert len(tags.loaded) == 4 + 3
    assert all(url.startswith("data:image/jpeg;base64,") for url in tags.loaded)
    assert "<leak>" not in page
    assert page.count("<svg") == 1
    assert audit("-c", shared.write_config(), "--html", report) == Exit.CANT_CREATE


def test_folders_are_judged_without_a_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    data = make_data(tmp_path)
    folders = ("--published", data / "users/ben", "--clean", data / "users/ada", "--gallery", data / "others")
    assert audit(*folders, "--json") == Exit.OK
    told = json.loads(capsys.readouterr().out)
    assert dict(shares(told)) == {PUBLISHED: 0, CLEAN: 1}
    assert told["other_people"] == {"dlib": 4}
    assert audit("--clean", data / "users/ada") == Exit.NO_INPUT
    assert "name the folder with --published" in capsys.readouterr().err


def test_a_recogniser_on_disk_without_bundled_people_is_left_out_and_told(
    shared: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = f"onnx:{tmp_path / 'own.onnx'}"
    engine = shared.settings.engine.model_copy(update={"extractors": ("dlib", own)})
    home = replace(shared, settings=shared.settings.model_copy(update={"engine": engine}))
    assert audit("-c", home.write_config(), "--json") == Exit.OK
    told = capsys.readouterr()
    assert f"left out: {own} (fawkesd has no other people's faces for it" in told.err
    assert set(json.loads(told.out)["other_people"]) == {"dlib"}


def test_a_user_whom_nobody_configured_is_told_with_those_who_are(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["audit", "--user", "nobody", "-c", str(home.write_config())]) == Exit.NO_INPUT
    assert "no user 'nobody' in the configuration (users: ada)" in capsys.readouterr().err


def test_too_few_photos_are_told_before_anything_is_loaded(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit("-c", home.write_config()) == Exit.NO_INPUT
    assert "needs at least 1 published and 2 clean photos of ada; found 0 and 0" in capsys.readouterr().err
