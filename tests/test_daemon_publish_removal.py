"""Recall: a published copy is taken back, exactly that, and stays away."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from conftest import WITHIN_S, Home
from faulty import column, engine_works, needs_strace, states
from test_daemon_service_review import Output, Start, Wait, fawkesd, photo, reviewing, work
from twins import Deed

from daemon.doctor import published
from daemon.publish.marker import MARKER_NAME
from daemon.state.history import reading


def published_photo(home: Home, name: str = "a.jpg", seed: int = 0) -> Path:
    path = photo(home, name, seed=seed)
    work(home)
    assert name in home.published()
    return path


def test_a_recalled_copy_is_removed_by_a_running_service_before_it_answers(
    home: Home, start: Start, eventually: Wait, capsys: Output
) -> None:
    path = photo(home, "trip/a.jpg")
    daemon = start(home.settings)
    eventually(lambda: states(home) == ["published"])
    capsys.readouterr()

    assert fawkesd(home, "recall", home.sync / "trip" / "a.jpg") == 0

    assert home.published() == []
    assert not (home.sync / "trip").exists()
    assert states(home) == ["recalled"]
    assert capsys.readouterr().out == f"{path}: its copy was removed, and stays away until `redo`\n"
    assert "recalled: " in daemon.log
    assert path.exists()


def test_a_recalled_photo_stays_away_whatever_becomes_of_its_file_until_redo(
    home: Home, capsys: Output
) -> None:
    path = published_photo(home)
    assert fawkesd(home, "recall", path) == 0
    assert "at the next start" in capsys.readouterr().out
    assert (states(home), home.published()) == (["recalling"], ["a.jpg"])
    assert (work(home), states(home), home.published()) == (0, ["recalled"], [])

    photo(home, seed=1)  # another export
    assert (work(home), states(home)[-1], home.published()) == (0, "recalled", [])
    path = path.rename(home.outbox / "b.jpg")
    assert (work(home), states(home)[-1], home.published()) == (0, "recalled", [])
    assert column(home, "reason")[-1] == f"the same photo was recalled as {home.outbox / 'a.jpg'}"
    fawkesd(home, "why", path)
    assert "stays away until `fawkesd redo`" in capsys.readouterr().out

    assert fawkesd(home, "redo", path) == 0
    assert (work(home), home.published()) == (1, ["b.jpg"])


@pytest.mark.parametrize("what", ["edited", "replaced by a link", "replaced by a folder"])
def test_a_copy_that_was_changed_is_left(
    home: Home, start: Start, eventually: Wait, what: str, capsys: Output
) -> None:
    path = photo(home)
    start(home.settings)
    eventually(lambda: states(home) == ["published"])
    copy = home.sync / "a.jpg"
    if what == "edited":
        copy.write_bytes(copy.read_bytes() + b"a caption")
    else:
        copy.unlink()
        copy.symlink_to(path) if what == "replaced by a link" else copy.mkdir()

    assert fawkesd(home, "recall", path) == 66

    assert "its copy was changed after it was published" in capsys.readouterr().err
    assert copy.is_symlink() or copy.exists()
    assert path.exists()
    assert states(home) == ["published"]


def test_a_recall_waits_for_a_sync_folder_that_is_away(
    home: Home, start: Start, eventually: Wait, tmp_path: Path, capsys: Output
) -> None:
    path = photo(home)
    start(home.settings)
    eventually(lambda: states(home) == ["published"])
    home.sync.rename(tmp_path / "away")

    assert fawkesd(home, "recall", path) == 0
    assert "as soon as the sync folder can be used" in capsys.readouterr().out
    fawkesd(home, "why", path)
    assert "will be removed as soon as" in capsys.readouterr().out
    assert (tmp_path / "away" / "a.jpg").exists()
    (tmp_path / "away").rename(home.sync)

    eventually(lambda: states(home) == ["recalled"])
    assert home.published() == []
    assert (home.sync / MARKER_NAME).exists()


def test_the_copy_of_an_earlier_content_is_recalled_and_the_later_one_stays_away(home: Home) -> None:
    published_photo(home)
    path = photo(home, seed=1)
    reviewed = reviewing(home)
    work(reviewed)
    assert (states(home), home.published()) == (["superseded", "review"], ["a.jpg"])

    assert fawkesd(reviewed, "recall", path) == 0

    work(reviewed)
    assert (states(home), home.published()) == (["recalled", "review"], [])
    photo(home, seed=2)
    assert (work(home), states(home)[-1], home.published()) == (0, "recalled", [])


def test_a_recall_ends_an_approval_that_was_not_carried_out_yet(home: Home) -> None:
    path = published_photo(home)
    reviewed = reviewing(home)
    photo(reviewed, seed=1)
    work(reviewed)
    fawkesd(reviewed, "approve", path)

    fawkesd(reviewed, "recall", path)

    assert (work(reviewed), states(home), home.published()) == (0, ["recalled", "rejected"], [])


def test_a_photo_that_is_in_work_when_it_is_recalled_does_not_come_back(
    home: Home, start: Start, eventually: Wait
) -> None:
    path = published_photo(home)
    photo(home, seed=1)
    with home.engine_held():
        daemon = start(home.settings)
        eventually(lambda: engine_works(daemon) == 1)

        assert fawkesd(home, "recall", path) == 0

    eventually(lambda: states(home) == ["recalled", "recalled"])
    assert home.published() == []


def test_only_what_was_published_is_recalled(home: Home, capsys: Output) -> None:
    path = photo(home, deed=Deed.REFUSE)
    work(home)

    assert fawkesd(home, "recall", path) == 66
    assert "is held; `recall` is for published photos" in capsys.readouterr().err


def test_doctor_finds_a_recalled_copy_that_is_back(home: Home, capsys: Output) -> None:
    path = published_photo(home)
    shutil.copy(home.sync / "a.jpg", home.state_dir / "backup")
    fawkesd(home, "recall", path)
    work(home)
    shutil.copy(home.state_dir / "backup", home.sync / "a.jpg")

    with reading(home.state_dir) as history:
        found = list(published.compare(home.settings.users[0], history))

    assert any("1 file(s) were recalled, and are back: a.jpg" in one.message for one in found)


@needs_strace
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_beside_the_removal_leaves_it_to_the_next_start(
    home: Home, start: Start, eventually: Wait, when: str
) -> None:
    published_photo(home)
    fawkesd(home, "recall", home.outbox / "a.jpg")
    inject = (
        "signal=KILL" if when == "before" else "delay_exit=4000000"
    )  # or held as it comes back, and killed
    filters = ("-P", str(home.sync), "-e", "trace=unlinkat", "-e", f"inject=unlinkat:{inject}:when=1")
    daemon = start(home.settings, under=("strace", "-D", "-qq", "-o", "/dev/null", *filters))
    if when == "after":
        eventually(lambda: home.published() == [])
        daemon.process.kill()
    daemon.process.wait(WITHIN_S)
    assert (states(home), home.published()) == (["recalling"], ["a.jpg"] if when == "before" else [])

    work(home)

    assert (states(home), home.published()) == (["recalled"], [])
