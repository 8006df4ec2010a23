"""Which photos play which part."""

from __future__ import annotations

from pathlib import Path

import pytest

from fawkes_engine import EvaluationError
from fawkes_engine.evaluation.data.splits import IN_OTHER_SETS, draw, photos_below, photos_of, pool_people


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two users with 8 photos and ten other people with 2; files of a few bytes."""
    people = [("users", name, 8) for name in ("ada", "ben")]
    people += [("others", f"other-{i}", 2) for i in range(10)]
    for kind, name, photos in people:
        folder = tmp_path / kind / name
        folder.mkdir(parents=True)
        for i in range(photos):
            (folder / f"{i}.jpg").write_bytes(f"{name} {i}".encode())
    return tmp_path


def test_no_photo_is_both_cloaked_and_tested(data: Path) -> None:
    split = draw(data, cloaked=4, tested=4)
    assert [(len(u.cloaked), len(u.tested)) for u in split.users] == [(4, 4), (4, 4)]
    assert len({*split.cloaked, *split.tested}) == 16


def test_the_same_bytes_under_two_names_are_one_photo(data: Path) -> None:
    (data / "users/ada/copy.jpg").write_bytes((data / "users/ada/0.jpg").read_bytes())
    assert len(photos_of(data / "users/ada")) == 8


def test_what_is_no_photo_is_left_out(data: Path) -> None:
    (data / "users/ada/notes.txt").write_text("x")
    assert [photo.name for photo in photos_of(data / "users/ada")] == [f"{i}.jpg" for i in range(8)]


def test_the_seed_alone_decides(data: Path) -> None:
    assert draw(data, cloaked=4, tested=4, seed=1) == draw(data, cloaked=4, tested=4, seed=1)
    assert draw(data, cloaked=4, tested=4, seed=1).users != draw(data, cloaked=4, tested=4, seed=2).users


def test_fewer_people_change_nothing_for_those_who_stay(data: Path) -> None:
    assert draw(data, people=1, cloaked=4, tested=4).users == draw(data, cloaked=4, tested=4).users[:1]


def test_trackers_know_nobody_of_the_pool_no_user_and_nobody_of_other_test_sets(data: Path) -> None:
    for name in (*IN_OTHER_SETS, "ada"):
        folder = data / "others" / name
        folder.mkdir()
        (folder / "0.jpg").write_bytes(name.encode())
    others = {photo.parent.name for photo in draw(data, cloaked=4, tested=4).others}
    assert others
    assert not others & {person.name for person in pool_people(data / "others")}
    assert not others & {"ada", *IN_OTHER_SETS}


def test_a_tracker_knows_as_many_others_as_wanted_and_fewer_are_the_first_of_more(data: Path) -> None:
    for number in range(820):
        folder = data / "others" / f"more{number}"
        folder.mkdir()
        (folder / "0.jpg").write_bytes(f"{number}".encode())
    everybody, usual, two = (
        draw(data, cloaked=4, tested=4, other_people=count).others for count in (None, 400, 2)
    )
    assert len({photo.parent for photo in everybody}) > 400
    assert len({photo.parent for photo in usual}) == 400
    assert usual == draw(data, cloaked=4, tested=4).others
    assert two == everybody[: len(two)]
    assert len({photo.parent for photo in two}) == 2


def test_a_user_with_too_few_photos_is_named(data: Path) -> None:
    with pytest.raises(EvaluationError, match="ada has 8 different photos and 9 are needed"):
        draw(data, cloaked=5, tested=4)


@pytest.mark.parametrize("missing", ["users", "others"])
def test_a_missing_folder_is_named(data: Path, missing: str) -> None:
    (data / missing).rename(data / "elsewhere")
    with pytest.raises(EvaluationError, match=f"{missing} is not a folder"):
        draw(data, cloaked=4, tested=4)


def test_a_folder_without_people_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="is empty"):
        photos_below(tmp_path)
