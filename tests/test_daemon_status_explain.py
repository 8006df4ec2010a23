"""`fawkesd why`, from the ledger alone."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import DaemonProcess, Home
from faulty import FACTORY, Counter
from twins import Deed, make_photo

from daemon.cli.main import run_command
from daemon.model import Outbox, Photo, Snapshot, Source, State
from daemon.service.run import once
from daemon.state.history import Record
from daemon.status.explain import Explanation
from daemon.status.explain_text import why_lines
from fawkes_engine import unseen


def why(home: Home, path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    """The JSON object that the command prints."""
    capsys.readouterr()
    assert run_command(["why", str(path), "--json", "-c", str(home.write_config())]) == 0
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def test_a_published_photo_tells_its_report_from_both_of_its_places(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    (home.outbox / "trip").mkdir()
    (home.outbox / "trip" / "a.jpg").write_bytes(make_photo())
    once(home.settings, Counter(), FACTORY)

    found = why(home, home.outbox / "trip" / "a.jpg", capsys)

    assert (found["state"], found["user"], found["generation"]) == ("published", "ada", 1)
    assert found["output"] == str(home.sync / "trip" / "a.jpg")
    told = {"faces": [], "seconds": 0.01, "fingerprint": "tiny-1", "mode": None, "strength": 100}
    assert found["report"] == told
    assert found["notes"] == []
    assert {**why(home, home.sync / "trip" / "a.jpg", capsys), "path": found["path"]} == found


def test_a_held_photo_tells_its_reason(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo(Deed.REFUSE))
    once(home.settings, Counter(), FACTORY)

    found = why(home, home.outbox / "a.jpg", capsys)

    assert (found["state"], found["reason"], found["output"]) == ("held", "no face was found", None)


def test_a_path_is_asked_for_as_a_person_writes_it(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())
    once(home.settings, Counter(), FACTORY)
    (tmp_path / "link").symlink_to(home.outbox)
    monkeypatch.chdir(home.outbox)

    assert why(home, Path("a.jpg"), capsys)["state"] == "published"
    assert why(home, tmp_path / "link" / "a.jpg", capsys)["state"] == "published"


def test_every_generation_is_told_newest_first(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in (1, 2):
        (home.outbox / "a.jpg").write_bytes(make_photo(seed=seed))
        once(home.settings, Counter(), FACTORY)

    generations = why(home, home.outbox / "a.jpg", capsys)["generations"]

    assert isinstance(generations, list)
    assert [(one["generation"], one["state"]) for one in generations] == [(2, "published"), (1, "superseded")]


@pytest.mark.parametrize(
    ("name", "pattern", "origin", "words"),
    [
        ("a.part", "*.part", "built in", "ignored: its name matches *.part (built in)"),
        (".a.jpg", ".*", "built in", "ignored: its name matches .* (built in)"),
        ("@eaDir/x/a.jpg", "@eadir", "built in", "ignored: the folder @eaDir matches @eadir (built in)"),
        (
            "raw/a.jpg",
            "raw/",
            "users[0].ignore[1]",
            "ignored: the folder raw matches raw/ (users[0].ignore[1])",
        ),
    ],
)
def test_an_ignored_name_tells_the_pattern_and_not_that_it_is_taken(
    home: Home, name: str, pattern: str, origin: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ignoring = home.ignoring("*_draft.jpg", "raw/")
    (home.outbox / name).parent.mkdir(parents=True, exist_ok=True)
    (home.outbox / name).write_bytes(make_photo())

    found = why(ignoring, home.outbox / name, capsys)

    assert (found["state"], found["ignored_by"], found["ignored_from"]) == (None, pattern, origin)
    assert found["notes"] == []
    assert run_command(["why", str(home.outbox / name), "-c", str(ignoring.write_config())]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [f"  {words}"]


def test_an_ignored_folder_is_told_as_such(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    (home.outbox / "raw").mkdir()

    assert why(home.ignoring("raw/"), home.outbox / "raw", capsys)["ignored_by"] == "raw/"


def test_what_is_behind_a_symbolic_link_is_told(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "elsewhere" / "deep").mkdir(parents=True)
    (tmp_path / "elsewhere" / "deep" / "a.jpg").write_bytes(make_photo())
    (home.outbox / "2022").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "way").symlink_to(home.outbox)

    for path in (home.outbox / "2022" / "deep" / "a.jpg", tmp_path / "way" / "2022" / "deep" / "a.jpg"):
        assert why(home, path, capsys)["notes"] == [
            f"it lies behind the symbolic link {home.outbox}/2022, which is not followed"
        ]
    assert why(home, home.outbox / "2022", capsys)["notes"] == [
        "it is a symbolic link, which is not followed"
    ]


def test_a_symbolic_link_to_another_folder_of_the_outbox_tells_of_the_photo_there(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    (home.outbox / "trip").mkdir()
    (home.outbox / "trip" / "a.jpg").write_bytes(make_photo())
    (home.outbox / "link").symlink_to("trip")
    once(home.settings, Counter(), FACTORY)

    assert why(home, home.outbox / "link" / "a.jpg", capsys)["source"] == str(home.outbox / "trip" / "a.jpg")


def test_a_file_that_never_was_is_a_wrong_path(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    config = str(home.write_config())
    assert run_command(["why", str(home.outbox / "missing.jpg"), "-c", config]) == 66
    assert "no such file, nor was there ever one" in capsys.readouterr().err

    assert run_command(["history", "/etc", "-c", config]) == 66
    home.outbox.rmdir()  # nobody knows what is in it
    assert run_command(["why", str(home.outbox / "missing.jpg"), "-c", config]) == 0


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("new.jpg", "it is new; fawkesd is not running: start it"),
        ("notes.txt", "files named *.txt are not photos and are ignored"),
        ("link.jpg", "it is a symbolic link, which is not followed"),
        ("pipe.jpg", "it is not a regular file, so it is ignored"),
        ("album", "it is a folder; `fawkesd history` lists what happened in it"),
    ],
)
def test_what_the_ledger_does_not_know_is_told(
    home: Home, name: str, note: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (home.outbox / "new.jpg").write_bytes(make_photo())
    (home.outbox / "notes.txt").write_bytes(b"milk")
    (home.outbox / "link.jpg").symlink_to("new.jpg")
    os.mkfifo(home.outbox / "pipe.jpg")
    (home.outbox / "album").mkdir()

    assert why(home, home.outbox / name, capsys)["notes"] == [note]
    assert not home.state_dir.exists()


def test_a_changed_original_and_a_removed_result_are_told(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())
    once(home.settings, Counter(), FACTORY)
    (home.outbox / "a.jpg").write_bytes(make_photo(seed=1))
    (home.sync / "a.jpg").unlink()

    assert why(home, home.outbox / "a.jpg", capsys)["notes"] == [
        "the published copy was deleted and stays deleted; `fawkesd redo` publishes it again",
        "it has changed since; fawkesd is not running: start it",
    ]


def test_a_renamed_photo_is_told_under_both_names(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())
    once(home.settings, Counter(), FACTORY)
    (home.outbox / "a.jpg").rename(home.outbox / "b.jpg")
    once(home.settings, Counter(), FACTORY)

    old, new = (why(home, home.outbox / name, capsys) for name in ("a.jpg", "b.jpg"))

    assert (old["state"], old["reason"]) == ("gone", f"renamed to {home.outbox}/b.jpg; its copy was moved")
    assert (old["output"], old["notes"]) == (None, ["the file no longer exists"])
    assert (new["state"], new["output"]) == ("published", str(home.sync / "b.jpg"))
    assert new["reason"] == "the same photo was published as a.jpg; its copy was used"
    assert why(home, home.sync / "a.jpg", capsys)["source"] == str(home.outbox / "a.jpg")
    assert why(home, home.sync / "b.jpg", capsys)["source"] == str(home.outbox / "b.jpg")


def test_a_foreign_file_in_the_sync_folder_is_told(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    (home.sync / "theirs.jpg").write_bytes(b"")

    assert why(home, home.sync / "theirs.jpg", capsys)["notes"] == ["this file was not published by fawkesd"]


def test_a_link_to_an_outbox_has_its_history(home: Home, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(home.outbox)
    assert run_command(["history", str(tmp_path / "link"), "-c", str(home.write_config())]) == 0


def test_a_path_outside_every_folder_exits_66(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    config = str(home.write_config())
    assert run_command(["why", "/etc/passwd", "-c", config]) == 66
    assert "is not in any outbox or sync folder" in capsys.readouterr().err
    assert run_command(["why", str(home.outbox), "-c", config]) == 66
    assert "is the outbox itself; name a photo in it" in capsys.readouterr().err


def test_a_photo_of_an_outbox_no_longer_configured_keeps_its_history(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())
    once(home.settings, Counter(), FACTORY)
    (tmp_path / "other").mkdir()

    found = why(home.with_outbox(tmp_path / "other"), home.outbox / "a.jpg", capsys)

    assert (found["state"], found["notes"]) == (
        "published",
        ["its outbox is no longer in the configuration, so it is not processed"],
    )


def test_a_running_daemon_is_not_disturbed(
    home: Home,
    start: Callable[..., DaemonProcess],
    eventually: Callable[[Callable[[], object]], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())
    with home.engine_held():
        start(home.settings)
        eventually(lambda: why(home, home.outbox / "a.jpg", capsys)["state"] == "working")

    eventually(lambda: why(home, home.outbox / "a.jpg", capsys)["state"] == "published")


def test_the_text_shows_every_figure_of_a_face() -> None:
    face = {"box": [10.2, 20, 110, 140], "height_px": 120, "person": "ada", "target": "mix-7", "steps": 42}
    figures = {"dssim": 0.0061, "dssim_224": 0.0065, "colour_mean": 0.41, "colour_p99": 1.2, "moved": 0.0183}
    cosines = {"cosine_own": {"dlib": -0.12}, "cosine_target": {"dlib": 0.66}}
    stranger = {**face, "person": "~c4f1"}
    faces = [one | figures | cosines for one in (face, stranger)]
    report = {"faces": faces, "seconds": 2.14, "fingerprint": "dlib-1", "mode": "strong", "strength": 80}
    photo = Photo(
        id=1,
        source=Source(Outbox("ada", Path("/out")), Path("a.jpg")),
        generation=2,
        state=State.PUBLISHED,
        snapshot=Snapshot(1, 2, 3, 4, 5),
        attempts=0,
        alone=False,
        engine_deaths=0,
        input_sha256=None,
        output=None,
        reason=None,
    )
    record = Record(photo, created=0.0, updated=0.0, not_before=0.0, report=report)
    found = Explanation(
        Path("/out/a.jpg"), "ada", Path("/out/a.jpg"), (record,), Path("/sync/a.jpg"), None, None, ()
    )

    assert list(why_lines(found))[2:] == [
        "  published as /sync/a.jpg",
        f"  face of ada: {unseen.in_words({'dlib': -0.12})}",
        f"  face of another person, ~c4f1: {unseen.in_words({'dlib': -0.12})}",
    ]
    lines = list(why_lines(found, figures=True))
    assert lines[2:7] == [
        "  published as /sync/a.jpg",
        "  2 faces, 2.1 s, mode strong, strength 80, engine dlib-1",
        "  face of ada at (10, 20)-(110, 140), 120 px high, toward mix-7: DSSIM 0.0061 (at 224 px 0.0065), "
        "colour 0.41 mean 1.20 p99, moved by up to 1.8% of its height, 42 steps",
        f"    against recognisers that took no part: {unseen.in_words({'dlib': -0.12})}",
        "    dlib: cosine -0.12 to the person, +0.66 to the target",
    ]
    assert lines[7].startswith("  face of another person, ~c4f1 at ")

    newer_keys = {"mode", "strength"}
    older = replace(record, report={key: value for key, value in report.items() if key not in newer_keys})
    for one in faces:
        del one["moved"]
    told = list(why_lines(replace(found, records=(older,)), figures=True))
    assert "  2 faces, 2.1 s, engine dlib-1" in told
    assert told[4].endswith("colour 0.41 mean 1.20 p99, 42 steps")


def test_the_copy_of_a_photo_that_was_deleted_or_is_ignored_now_is_told_to_stay(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, name in enumerate(("culled.jpg", "private.jpg", "unpublished.jpg")):
        (home.outbox / name).write_bytes(make_photo(seed=seed))
    once(home.settings, Counter(), FACTORY)
    (home.outbox / "culled.jpg").unlink()
    (home.outbox / "unpublished.jpg").unlink()
    (home.sync / "unpublished.jpg").unlink()
    home = home.ignoring("private.jpg")

    stays = "its published copy stays; delete that yourself if it is to go, too"
    assert why(home, home.outbox / "culled.jpg", capsys)["notes"] == ["the file no longer exists", stays]
    assert why(home, home.outbox / "private.jpg", capsys)["notes"] == [stays]
    assert stays not in str(why(home, home.outbox / "unpublished.jpg", capsys)["notes"])


def test_the_text_shows_no_control_character(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    (home.outbox / "two\nlines.jpg").write_bytes(make_photo())
    once(home.settings, Counter(), FACTORY)
    capsys.readouterr()

    assert run_command(["why", str(home.outbox / "two\nlines.jpg"), "-c", str(home.write_config())]) == 0

    first, state, *_ = capsys.readouterr().out.splitlines()
    assert first == f"{home.outbox}/two\\nlines.jpg"
    assert state.startswith("  held ")
