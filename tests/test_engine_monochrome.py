"""Black-and-white and toned photos that are stored in colour: their cloaks bring no colour in."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from batches import ENGINE_THREADS
from engine_pictures import Shelf, encoded, grey, opened, portrait
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from fawkes_engine import EngineSettings, NotProtected, Protected, Refusal, Request
from fawkes_engine.cloak.optimise import CLOAK
from fawkes_engine.engine import Engine
from fawkes_engine.face.detect import Pixels
from fawkes_engine.photo.monochrome import Tone
from fawkes_engine.pipeline.photos import Course
from fawkes_engine.pipeline.work import Work

pytestmark = pytest.mark.numeric
FACE = (slice(41, 193), slice(87, 202))
SEPIA = np.rint(np.arange(256)[:, None] * (1.0, 0.88, 0.7)).astype(np.uint8)  # the colour at each luminance


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(
        EngineSettings(extractors=("dlib",), steps=20, device="cpu", threads=ENGINE_THREADS), Shelf()
    )


def black_and_white() -> Pixels:
    return np.repeat(grey(portrait())[..., None], 3, axis=2)


def sepia() -> Pixels:
    picture: Pixels = SEPIA[grey(portrait())]
    return picture


def result(engine: Engine, source: bytes) -> Protected | Refusal:
    return engine.protect([Request(source, "ada")])[0]


def cloaked(engine: Engine, source: bytes) -> Image.Image:
    protected = result(engine, source)
    assert isinstance(protected, Protected), protected
    return opened(protected.data)


def channel_spread(pixels: Pixels) -> int:
    return int(np.ptp(pixels.astype(np.int16), axis=2).max())


def off_sepia(image: Image.Image) -> float:
    """How far 99 of 100 pixels of the face are at most from a colour of sepia, in levels of the worst channel."""
    colours = np.asarray(image)[FACE].reshape(-1, 1, 3).astype(np.int16)
    nearest = np.abs(colours - SEPIA.astype(np.int16)).max(axis=2).min(axis=1)
    return float(np.quantile(nearest, 0.99))


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "AVIF"])
def test_black_and_white_stored_in_colour_stays_black_and_white(engine: Engine, file_format: str) -> None:
    written = cloaked(engine, encoded(black_and_white(), file_format))

    assert written.mode == "RGB"
    pixels = np.asarray(written)
    assert channel_spread(pixels) == 0
    assert np.abs(pixels.astype(int) - black_and_white())[FACE].mean() > 1


def test_transparency_and_a_colour_space_of_its_own_make_no_difference(engine: Engine) -> None:
    image = Image.fromarray(black_and_white())
    image.putalpha(Image.linear_gradient("L").resize(image.size).point(lambda level: max(level, 1)))
    space = PngInfo()
    space.add(b"gAMA", struct.pack(">I", 55_556))
    source = encoded(image, "PNG", pnginfo=space)

    written = cloaked(engine, source)

    assert written.mode == "RGBA"
    assert np.array_equal(np.asarray(written)[..., 3], np.asarray(image)[..., 3])
    assert channel_spread(np.asarray(written)[..., :3]) == 0


@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
def test_sepia_stays_sepia(engine: Engine, file_format: str) -> None:
    source = encoded(sepia(), file_format)

    written = cloaked(engine, source)

    assert off_sepia(written) <= off_sepia(opened(source)) + 2
    assert np.abs(np.asarray(written).astype(int) - sepia())[FACE].mean() > 1


def test_each_face_of_a_collage_keeps_to_itself(engine: Engine) -> None:
    collage = np.concatenate([black_and_white(), portrait()], axis=1)

    written = np.asarray(cloaked(engine, encoded(collage, "PNG")))

    assert channel_spread(written[:, :272]) == 0
    change = written[:, 272:].astype(int) - portrait()
    assert channel_spread(change) > 5  # colours may move in colour


@pytest.mark.parametrize("picture", [black_and_white, sepia])
def test_a_cloak_that_would_colour_the_photo_is_refused(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, picture: object
) -> None:
    assert callable(picture)
    monkeypatch.setattr(Tone, "change", lambda _tone, _pixels, change: change)
    monkeypatch.setattr("fawkes_engine.cloak.subjects.Subjects.keep_to_tones", lambda *_: None)

    refused = result(engine, encoded(picture(), "PNG"))

    assert isinstance(refused, NotProtected)
    assert "would colour the black-and-white face" in str(refused)


def test_what_is_optimised_is_what_can_be_written(engine: Engine) -> None:
    """A cloak that lost its colours only when it is written would lose what they did."""
    pipeline, identifier = engine.pipeline, engine.pipeline.identifier
    work = pipeline.open(Request(encoded(black_and_white(), "PNG"), "ada"))
    with identifier.people.up_to_date():
        identifier.meet_users([work])
        draft = pipeline.draft(identifier.identified(work), engine.settings.budget)
    course = Course(pipeline.ensemble.turns(), CLOAK, 12, engine.settings.budget)

    (draft,) = pipeline.cloak([draft], course, lambda _share: None)

    delta = draft.cloaks[0].delta
    assert float(delta.abs().max()) > 2 / 255
    assert float((delta - delta.mean(dim=0)).abs().max()) < 1e-5


def test_a_photo_in_colour_has_no_tone(engine: Engine) -> None:
    work = engine.pipeline.open(Request(encoded(portrait(), "JPEG"), "ada"))

    assert isinstance(work, Work)
    assert [canvas.tone for canvas in work.canvases] == [None]
