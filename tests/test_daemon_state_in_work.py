from pathlib import Path

from daemon.state import in_work
from daemon.state.in_work import InWork, InWorkFile

WORKS = [InWork((1, 2), "cloaking", 0.25), InWork((3,), "checking", None)]


def test_what_is_noted_is_read_until_the_next_note(tmp_path: Path) -> None:
    file = InWorkFile(tmp_path)
    for works in (WORKS, WORKS[1:], []):
        file.note(works)
        assert in_work.read(tmp_path) == works
    assert [path.name for path in tmp_path.iterdir()] == [in_work.NAME]


def test_the_same_is_not_written_again(tmp_path: Path) -> None:
    file = InWorkFile(tmp_path)
    file.note(WORKS)
    (tmp_path / in_work.NAME).unlink()
    file.note(list(WORKS))
    assert not list(tmp_path.iterdir())


def test_what_could_not_be_noted_is_noted_by_the_next_call(tmp_path: Path) -> None:
    file = InWorkFile(tmp_path / "state")  # is missing
    file.note([])
    (tmp_path / "state").mkdir()

    file.note([])

    assert (tmp_path / "state" / in_work.NAME).exists()


def test_a_missing_or_damaged_file_tells_nothing(tmp_path: Path) -> None:
    assert in_work.read(tmp_path) == []
    for text in ("", "[{", '[{"ids": 1}]', "7"):
        (tmp_path / in_work.NAME).write_text(text)
        assert in_work.read(tmp_path) == []


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    InWorkFile(tmp_path / "missing").note(WORKS)
    assert in_work.read(tmp_path / "missing") == []
