"""How each exporter of service/recipes.md writes its files: the finished photo is published, once, and nothing else."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import DaemonProcess, Home
from twins import Deed, is_cloaked, make_photo

from daemon.state.schema import LEDGER_NAME

Start = Callable[..., DaemonProcess]
Wait = Callable[..., None]
PAUSE_S = 0.3  # longer than the settling time of the test's settings
FINAL = make_photo(seed=9)
# A half-done picture would be refused and held; a first version would be published too.
HALF = FINAL[: len(FINAL) // 2]
FIRST = make_photo(Deed.REFUSE)


def darktable(photo: Path, _elsewhere: Path) -> None:
    """The final name at once; then the file is opened again and the metadata attached in place."""
    photo.write_bytes(HALF)
    time.sleep(PAUSE_S)
    photo.write_bytes(FINAL)


def digikam(photo: Path, _elsewhere: Path) -> None:
    """A temporary file that also ends in .jpg and is not hidden, renamed at the end."""
    temporary = photo.with_name(f"{photo.stem}.digikamtempfile.jpg")
    temporary.write_bytes(FIRST)
    time.sleep(PAUSE_S)
    temporary.write_bytes(FINAL)
    temporary.rename(photo)


def lightroom(photo: Path, _elsewhere: Path) -> None:
    """The final name, written in pieces over some time."""
    with photo.open("wb") as file:
        for start in range(0, len(FINAL), 500):
            file.write(FINAL[start : start + 500])
            file.flush()
            time.sleep(0.05)


def osxphotos(photo: Path, elsewhere: Path) -> None:
    """Metadata are written to a copy elsewhere, which is then copied in, over a network drive in blocks."""
    copy = elsewhere / photo.name
    copy.write_bytes(FINAL)
    shutil.copy2(copy, photo)
    (photo.parent / ".osxphotos_export.db").write_bytes(b"SQLite format 3\0")


def exiftool(photo: Path, _elsewhere: Path) -> None:
    """A rewrite beside the file, renamed over it, with the original kept under another name."""
    photo.with_name(f"{photo.name}_exiftool_tmp").write_bytes(FINAL)
    photo.write_bytes(HALF)
    photo.rename(photo.with_name(f"{photo.name}_original"))
    photo.with_name(f"{photo.name}_exiftool_tmp").rename(photo)


def phone_through_syncthing(photo: Path, _elsewhere: Path) -> None:
    """A hidden temporary file of full size from the beginning, filled in any order, renamed at the end."""
    temporary = photo.with_name(f".syncthing.{photo.name}.tmp")
    temporary.write_bytes(bytes(len(FINAL)))
    time.sleep(PAUSE_S)
    temporary.write_bytes(FINAL)
    temporary.rename(photo)


def windows_copy(photo: Path, _elsewhere: Path) -> None:
    """Full size from the beginning, zeros at the end until the copy is done."""
    photo.write_bytes(HALF + bytes(len(FINAL) - len(HALF)))
    time.sleep(PAUSE_S)
    photo.write_bytes(FINAL)


@pytest.mark.parametrize(
    "export",
    [darktable, digikam, lightroom, osxphotos, exiftool, phone_through_syncthing, windows_copy],
    ids=lambda export: export.__name__,
)
def test_the_finished_photo_is_published_once_and_nothing_else(
    home: Home, tmp_path: Path, start: Start, eventually: Wait, export: Callable[[Path, Path], None]
) -> None:
    daemon = start(home.settings)
    eventually(lambda: "engine ready" in daemon.log)
    album, elsewhere = home.outbox / "album", tmp_path / "elsewhere"
    album.mkdir()
    elsewhere.mkdir()

    export(album / "a.jpg", elsewhere)

    eventually(lambda: home.published() == ["album/a.jpg"])
    assert is_cloaked((home.sync / "album" / "a.jpg").read_bytes())
    assert daemon.stop() == 0
    database = sqlite3.connect(home.state_dir / LEDGER_NAME)
    rows = database.execute("SELECT path, state FROM photos").fetchall()
    database.close()
    assert rows == [(b"album/a.jpg", "published")]
