"""The recipe of docs/photoprism.md, against a twin of how PhotoPrism indexes and stacks its originals."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import rich_photos
from engine_pictures import astronaut, opened, scaled
from faulty import Counter
from rich_photos import EXIF_IFD, GPS_IFD
from twins import TinyEngine, protected

from daemon.config.settings import MetadataSettings, Settings, UserSettings, WatchSettings
from daemon.service.run import once
from fawkes_engine import EngineSettings, Protected, Refusal, Request, Step
from fawkes_engine.photo.decode import decode
from fawkes_engine.photo.encode import encode

SMALL = scaled(astronaut(), 0.25)[:64, :96]
UNIQUE_ID = 0xA420


class NegativeEngine(TinyEngine):
    """Publishes the negative, in a file as the real engine writes it, with all metadata that the policy keeps."""

    def protect(
        self, requests: Sequence[Request], *, on_step: Callable[[Step], None] | None = None
    ) -> list[Protected | Refusal]:
        photos = [decode(request.data, request.metadata, request.heic) for request in requests]
        return [protected(encode(photo, 255 - photo.pixels, 95)) for photo in photos]


def make_engine(_settings: EngineSettings, _targets_dir: Path) -> TinyEngine:
    return NegativeEngine()


@dataclass(frozen=True)
class Picture:
    """A file of the library, and by what it can be in a stack with another one."""

    path: Path
    unique_id: str | None
    place_and_time: tuple[object, ...] | None

    @classmethod
    def of(cls, path: Path) -> Picture:
        exif = opened(path.read_bytes()).getexif()
        details, gps = exif.get_ifd(EXIF_IFD), exif.get_ifd(GPS_IFD)
        place = (details[0x9003], exif[0x0110], str(gps)) if gps else None
        return cls(path, details.get(UNIQUE_ID), place)

    def is_stacked_with(self, other: Picture) -> bool:
        """With the options Place & Time and Unique ID switched on."""
        has_same_name = self.path.with_suffix("") == other.path.with_suffix("")
        has_same_id = self.unique_id is not None and self.unique_id == other.unique_id
        is_same_place = self.place_and_time is not None and self.place_and_time == other.place_and_time
        return has_same_name or has_same_id or is_same_place


def indexed(originals: Path) -> list[Picture]:
    """The pictures that PhotoPrism finds: names that begin with ., @, _. or __ are hidden."""
    files = (path for path in sorted(originals.rglob("*")) if path.is_file())
    is_hidden = re.compile(r"\.|@|_\.|__").match
    return [Picture.of(one) for one in files if not any(map(is_hidden, one.relative_to(originals).parts))]


@pytest.fixture
def originals(tmp_path: Path) -> Path:
    folder = tmp_path / "originals"
    for name in ("to-share", "shared"):
        (folder / name).mkdir(parents=True)
    data = rich_photos.photo(SMALL, "JPEG")
    image = opened(data)
    exif = image.getexif()
    exif.get_ifd(EXIF_IFD)[UNIQUE_ID] = "0123456789ABCDEF0123456789ABCDEF"
    image.save(folder / "to-share" / "me.jpg", quality=95, exif=exif.tobytes())
    return folder


def publish(originals: Path, metadata: MetadataSettings) -> None:
    user = UserSettings(
        name="ada", outboxes=(originals / "to-share",), sync=originals / "shared", metadata=metadata
    )
    settings = Settings(
        state_dir=originals.with_name("state"), users=(user,), watch=WatchSettings(settle_s=0.1)
    )
    assert once(settings, Counter(), "test_photoprism:make_engine").published == 1


def test_the_shared_folder_has_the_cloaked_copy_alone_and_no_stack_with_its_original(originals: Path) -> None:
    publish(originals, MetadataSettings())

    original, copy = sorted(indexed(originals), key=lambda one: one.path.parent.name, reverse=True)
    assert (original.path.parent.name, copy.path.parent.name) == ("to-share", "shared")
    assert original.unique_id is not None
    assert original.place_and_time is not None
    assert not copy.is_stacked_with(original)
    shown = np.asarray(opened(copy.path.read_bytes()).convert("RGB"), dtype=float)
    assert abs(shown + np.asarray(opened(original.path.read_bytes()).convert("RGB")) - 255).mean() < 5


def test_with_its_place_the_copy_would_be_stacked_with_its_original(originals: Path) -> None:
    publish(originals, MetadataSettings(gps="keep"))

    first, second = indexed(originals)
    assert first.is_stacked_with(second)
