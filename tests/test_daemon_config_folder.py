"""`.fawkesd.yaml` in a folder of an outbox, with the tiny engine: for which photos it is, and what a bad one does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conftest import Home
from faulty import FACTORY, Counter
from hypothesis import given
from hypothesis import strategies as st
from twins import make_photo

from daemon.cli.main import run_command
from daemon.config.folder import FOLDER_FILE, choice_for
from daemon.errors import ConfigError
from daemon.model import Choice, Outbox, Source
from daemon.service.run import once
from daemon.state.history import reading


def made(home: Home) -> dict[str, tuple[str | None, int]]:
    """Mode and strength of what is published now."""
    with reading(home.state_dir) as history:
        newest = [record for record in history.newest() if record.photo.state.value == "published"]
    found = {}
    for record in newest:
        assert record.report is not None
        found[str(record.photo.source.relative)] = (record.report["mode"], record.report["strength"])
    return found


def test_the_nearest_file_counts_and_a_photos_own_choice_comes_first(home: Home) -> None:
    for folder, text in (
        ("public", "mode: strong\n"),
        ("public/club", "mode: quick\nstrength: 90\n"),
        ("other", ""),
    ):
        (home.outbox / folder).mkdir()
        (home.outbox / folder / FOLDER_FILE).write_text(text)
    (home.outbox / "public" / "deep").mkdir()
    names = [
        "a.jpg",
        "public/b.jpg",
        "public/deep/c.jpg",
        "public/club/d.jpg",
        "other/e.jpg",
        "public/own.jpg",
    ]
    for seed, name in enumerate(names):
        (home.outbox / name).write_bytes(make_photo(seed=seed))
    once(home.settings, Counter(), FACTORY)
    own = str(home.outbox / "public/own.jpg")
    assert run_command(["redo", own, "--strength", "70", "-c", str(home.write_config())]) == 0
    once(home.settings, Counter(), FACTORY)

    assert home.published() == sorted(names)
    assert made(home) == {
        "a.jpg": (None, 100),
        "public/b.jpg": ("strong", 100),
        "public/deep/c.jpg": ("strong", 100),
        "public/club/d.jpg": ("quick", 90),
        "other/e.jpg": (None, 100),
        "public/own.jpg": ("strong", 70),
    }


def test_a_change_is_for_later_photos_and_is_not_remembered_for_one(home: Home) -> None:
    rule = home.outbox / FOLDER_FILE
    rule.write_text("strength: 80")
    for seed, name in enumerate(("a.jpg", "b.jpg")):
        (home.outbox / name).write_bytes(make_photo(seed=seed))
    once(home.settings, Counter(), FACTORY)
    rule.write_text("mode: quick")
    once(home.settings, Counter(), FACTORY)
    assert made(home) == dict.fromkeys(("a.jpg", "b.jpg"), ("strong", 80))

    (home.outbox / "a.jpg").write_bytes(make_photo(seed=2))
    once(home.settings, Counter(), FACTORY)
    assert made(home) == {"a.jpg": ("quick", 100), "b.jpg": ("strong", 80)}
    rule.unlink()
    (home.outbox / "a.jpg").write_bytes(make_photo(seed=3))
    (home.outbox / "b2.jpg").write_bytes((home.outbox / "b.jpg").read_bytes())
    once(home.settings, Counter(), FACTORY)
    assert made(home) == {"a.jpg": (None, 100), "b.jpg": ("strong", 80), "b2.jpg": (None, 100)}


def test_a_strength_that_does_not_protect_holds(home: Home) -> None:
    (home.outbox / FOLDER_FILE).write_text("strength: 10")
    (home.outbox / "a.jpg").write_bytes(make_photo())

    assert "strength 10 is too little" in once(home.settings, Counter(), FACTORY).held[0].reason
    assert home.published() == []


def test_a_faulty_file_holds_the_photos_of_its_folder_alone_until_it_is_corrected(home: Home) -> None:
    (home.outbox / "club").mkdir()
    rule = home.outbox / "club" / FOLDER_FILE
    rule.write_text("# ours\nmode: strongest\n")
    for seed, name in enumerate(("club/a.jpg", "b.jpg")):
        (home.outbox / name).write_bytes(make_photo(seed=seed))

    (held,) = once(home.settings, Counter(), FACTORY).held

    assert held.path.name == "a.jpg"
    assert held.reason.startswith(f"{rule}:2: mode: ")
    assert held.reason.endswith("; correct that file, then run `fawkesd retry`")
    assert home.published() == ["b.jpg"]

    rule.write_text("mode: strong\n")
    assert run_command(["retry", "--all", "-c", str(home.write_config())]) == 0
    once(home.settings, Counter(), FACTORY)
    assert made(home)["club/a.jpg"] == ("strong", 100)


def source(outbox: Path) -> Source:
    return Source(Outbox("ada", outbox), Path("a.jpg"))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b"mode: [strong", ":1: is not valid YAML"),
        (b"mode: " + b"[" * 1500, "is nested too deeply"),
        (b"mode: !!int ''", ":1: is not valid YAML"),
        (b"mode: !!bool x", ":1: is not valid YAML"),
        (b"mode: !!timestamp x", ":1: is not valid YAML"),
        (b"strenght: 80", ":1: strenght: "),
        (b"strength: 101", ":1: strength: "),
        (b"strength: true", ":1: strength: "),
        (b"strength: 80\nstrength: 90", "is written twice"),
        (b"- mode", "the file: "),
        (b"mode: \xff", "is not UTF-8"),
        (b"#" * 5000, "is larger than 4096 bytes"),
    ],
)
def test_a_fault_is_told_with_its_place(tmp_path: Path, text: bytes, fault: str) -> None:
    (tmp_path / FOLDER_FILE).write_bytes(text)

    with pytest.raises(ConfigError) as raised:
        choice_for(source(tmp_path))
    assert str(raised.value).startswith(str(tmp_path / FOLDER_FILE))
    assert fault in str(raised.value)


def test_what_is_no_plain_file_is_neither_followed_nor_waited_for(tmp_path: Path) -> None:
    rule = tmp_path / FOLDER_FILE
    rule.symlink_to("/etc/hostname")
    with pytest.raises(ConfigError, match="is a symbolic link"):
        choice_for(source(tmp_path))
    rule.unlink()
    os.mkfifo(rule)
    with pytest.raises(ConfigError, match="is not a file"):
        choice_for(source(tmp_path))


@given(data=st.binary(max_size=200))
def test_any_bytes_are_a_choice_or_a_fault(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    outbox = tmp_path_factory.getbasetemp()
    (outbox / FOLDER_FILE).write_bytes(data)

    try:
        choice = choice_for(source(outbox))
    except ConfigError:
        return
    assert choice is None or isinstance(choice, Choice)
