"""Final names: never in the place of another file, by a link, by a rename, and where there is neither."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from nolinks import NO_LINKS, NO_LINKS_NO_FLAG, needs_seccomp

from daemon.errors import OutputError, OutputExists, OutputNameRefused
from daemon.fs import atomic, noreplace
from daemon.fs.noreplace import Way, place, way

WAYS = ["link", "rename", "neither"]

# Many processes want one name; each says whether it got it.
RACER = """
import sys
from pathlib import Path
from daemon.errors import OutputExists
from daemon.fs import atomic
sys.stdin.read()
try:
    atomic.write(Path(sys.argv[1]), sys.argv[2].encode() * 100_000, replace=False)
    print("won")
except OutputExists:
    print("lost")
"""


def refusing(number: int) -> Callable[..., None]:
    def call(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return call


@pytest.fixture(params=WAYS)
def disk(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on a file system that can do so much."""
    if request.param != "link":
        monkeypatch.setattr(os, "link", refusing(errno.EPERM))
    if request.param == "neither":
        monkeypatch.setattr(noreplace, "rename", refusing(errno.EINVAL))
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_atomic_write_is_whole_and_replaces_only_if_told_to(disk: Path) -> None:
    atomic.write(disk / "a", b"1", replace=False)
    with pytest.raises(OutputExists):
        atomic.write(disk / "a", b"2", replace=False)
    assert contents(disk) == {"a": b"1"}

    atomic.write(disk / "a", b"3", replace=True)
    assert contents(disk) == {"a": b"3"}


def test_a_write_that_fails_at_the_last_step_leaves_nothing(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for owner, name in ((os, "link"), (noreplace, "rename"), (Path, "replace")):
        if getattr(owner, name).__name__ != "call":
            monkeypatch.setattr(owner, name, refusing(errno.EIO))

    with pytest.raises(OutputError, match="Input/output error"):
        atomic.write(disk / "a", b"1", replace=False)

    assert contents(disk) == {}


def test_a_name_that_is_too_long_is_told_apart_from_a_disk_that_fails(disk: Path) -> None:
    with pytest.raises(OutputNameRefused, match="too long for the file system"):
        atomic.write(disk / ("n" * 300), b"1", replace=False)

    assert contents(disk) == {}


def test_a_rename_never_replaces_anything(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "folder").mkdir()

    for taken in ("a", "link", "folder"):
        (tmp_path / "b").write_bytes(b"b")
        with pytest.raises(FileExistsError):
            noreplace.rename(tmp_path / "b", tmp_path / taken)
    noreplace.rename(tmp_path / "b", tmp_path / "c")

    assert (tmp_path / "a").read_bytes() == b"a"
    assert (tmp_path / "c").read_bytes() == b"b"
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS])
def test_every_answer_of_a_disk_without_links_leads_to_a_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(os, "link", refusing(number))
    (tmp_path / "a").write_bytes(b"a")

    assert way(tmp_path / "a", tmp_path / "b") is Way.RENAME
    assert contents(tmp_path) == {"b": b"a"}


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EIO, errno.ENOSPC])
def test_other_faults_of_a_link_are_faults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(os, "link", refusing(number))
    (tmp_path / "a").write_bytes(b"a")

    with pytest.raises(OSError, match=os.strerror(number)):
        place(tmp_path / "a", tmp_path / "b")
    assert contents(tmp_path) == {"a": b"a"}


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EIO])
def test_a_link_that_fails_as_on_a_broken_disk_is_no_way_only_if_the_rename_knows_no_flag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(os, "link", refusing(errno.EIO))
    monkeypatch.setattr(noreplace, "rename", refusing(number))
    (tmp_path / "a").write_bytes(b"a")

    if number == errno.EIO:
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            way(tmp_path / "a", tmp_path / "b")
    else:
        assert way(tmp_path / "a", tmp_path / "b") is None
    assert contents(tmp_path) == {"a": b"a"}


@needs_seccomp
@pytest.mark.parametrize("under", [(), NO_LINKS, NO_LINKS_NO_FLAG], ids=WAYS)
def test_one_of_many_gets_the_name_and_no_file_is_lost(tmp_path: Path, under: tuple[str, ...]) -> None:
    command = [*under, sys.executable, "-c", RACER, str(tmp_path / "a")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    racers = [
        subprocess.Popen(
            [*command, letter], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        for letter in "abcdefgh"
    ]
    said = {}
    for racer in racers:  # all have started by the time that the last is let go
        assert racer.stdin is not None
        racer.stdin.close()
    for letter, racer in zip("abcdefgh", racers, strict=True):
        assert racer.stdout is not None
        said[letter] = racer.stdout.read().strip()
        racer.stdout.close()
        racer.wait()

    (winner,) = [letter for letter, word in said.items() if word == "won"]
    assert sorted(said.values()) == ["lost"] * 7 + ["won"]
    assert contents(tmp_path) == {"a": winner.encode() * 100_000}
