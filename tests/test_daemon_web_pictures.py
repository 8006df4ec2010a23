"""What the page makes of photos: small, upright, without metadata, and kept only of published copies."""

from __future__ import annotations

import io
import stat
from pathlib import Path

import numpy as np
import pytest
import rich_photos
from conftest import Home
from faulty import Counter
from PIL import Image
from twins import Deed, make_photo

from daemon.errors import InputError
from daemon.service.run import once
from daemon.state.history import Record, reading
from daemon.web.pictures import Pictures
from daemon.web.thumbnails import Thumbnails

FACTORY = "twins:make_faithful_engine"


def row(home: Home, number: int = 1) -> Record:
    with reading(home.state_dir) as history:
        record = history.of_id(number)
    assert record is not None
    return record


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "thumbnails"


@pytest.fixture
def pictures(home: Home, cache: Path) -> Pictures:
    return Pictures(home.settings, Thumbnails(cache))


def test_a_thumbnail_is_made_once_and_only_its_owner_can_open_it(
    home: Home, pictures: Pictures, cache: Path
) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())
    once(home.settings, Counter(), FACTORY)

    made = pictures.thumbnail(row(home))
    (home.sync / "a.jpg").unlink()
    again = pictures.thumbnail(row(home))

    assert made == again
    (file,) = cache.iterdir()
    assert (stat.S_IMODE(cache.stat().st_mode), stat.S_IMODE(file.stat().st_mode)) == (0o700, 0o600)


def test_nothing_of_an_original_is_kept(home: Home, pictures: Pictures, cache: Path) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())
    once(home.settings, Counter(), FACTORY)

    pictures.original(row(home))
    pictures.original_thumbnail(row(home))
    with reading(home.state_dir) as history:
        pictures.face(history, row(home), 0, original=True)

    assert not list(cache.iterdir())


def test_a_held_photo_has_no_cloaked_picture(home: Home, pictures: Pictures) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo(Deed.REFUSE))
    once(home.settings, Counter(), FACTORY)

    for make in (pictures.thumbnail, lambda record: pictures.copy_bytes(record.photo)):
        with pytest.raises(InputError, match="no copy is published"):
            make(row(home))
    assert Image.open(io.BytesIO(pictures.original_thumbnail(row(home)))).size == (48, 48)


def test_pictures_lie_upright_and_have_no_metadata(home: Home, pictures: Pictures) -> None:
    pixels = np.full((24, 48, 3), 90, np.uint8)  # as stored
    (home.outbox / "a.jpg").write_bytes(rich_photos.photo(pixels, "JPEG", orientation=6))
    once(home.settings, Counter(), FACTORY)

    for data in (pictures.original(row(home)), pictures.original_thumbnail(row(home))):
        shown = Image.open(io.BytesIO(data))
        assert shown.size == (24, 48)
        assert not dict(shown.getexif())
        assert not {"exif", "xmp", "comment", "photoshop"} & set(shown.info)


def test_a_result_that_waits_for_review_is_shown(home: Home, pictures: Pictures) -> None:
    (user,) = home.settings.users
    reviewed = home.settings.model_copy(update={"users": (user.model_copy(update={"review": True}),)})
    (home.outbox / "a.jpg").write_bytes(make_photo())
    once(reviewed, Counter(), FACTORY)

    with reading(home.state_dir) as history:
        shown = Image.open(io.BytesIO(pictures.copy(history, row(home)))).convert("RGB")
        (kept,) = (home.state_dir / "results").iterdir()
        kept.write_bytes(kept.read_bytes()[:-1] + b"!")
        with pytest.raises(InputError, match="make it again"):
            pictures.copy(history, row(home))
    assert shown.getpixel((4, 4)) == pytest.approx((25, 195, 195), abs=30)


def test_a_photo_that_would_take_too_much_memory_is_not_decoded(
    home: Home, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())
    once(home.settings, Counter(), FACTORY)
    monkeypatch.setattr("daemon.web.pictures.LARGEST_PIXELS", 48 * 48 - 1)

    with pytest.raises(InputError, match="open the file itself"):
        pictures.thumbnail(row(home))


def test_the_least_recently_used_thumbnails_make_room(cache: Path) -> None:
    thumbnails = Thumbnails(cache, limit_bytes=1000)
    for number in range(10):
        thumbnails.put(f"{number:064}", bytes(100))
    kept = thumbnails.get(f"{0:064}")
    assert kept is not None
    for number in range(10, 14):
        thumbnails.put(f"{number:064}", bytes(100))

    left = {path.stem for path in cache.iterdir()}
    assert sum(path.stat().st_size for path in cache.iterdir()) <= 1000
    assert f"{13:064}" in left
    assert Thumbnails(cache, limit_bytes=1000).get(f"{13:064}") == bytes(100)
