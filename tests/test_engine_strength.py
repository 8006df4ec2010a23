"""A photo at several strengths: both parts of one cloak are scaled, and what is too weak is held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from batches import ENGINE_THREADS
from engine_pictures import Shelf, encoded, grey, opened, portrait

from fawkes_engine import EngineSettings, Look, NotProtected, Protected, Request
from fawkes_engine.cloak.optimise import Cloak, optimise
from fawkes_engine.engine import Engine
from fawkes_engine.face.detect import Pixels

pytestmark = pytest.mark.numeric
SETTINGS = EngineSettings(extractors=("dlib",), steps=20, device="cpu", threads=ENGINE_THREADS)
STRENGTHS = (0, 25, 50, 75, 95, 100)
GREY_BESIDE_COLOUR = np.concatenate([np.stack([grey(portrait())] * 3, axis=2), portrait()], axis=1)


@pytest.fixture(scope="module")
def shelf() -> Shelf:
    """Knows ada, so that no photo refines what another is moved away from."""
    shelf = Shelf()
    Engine(SETTINGS, shelf).enroll("ada", [png(portrait())])
    return shelf


@pytest.fixture
def engine(shelf: Shelf) -> Engine:
    again = Shelf()
    again.targets.update(shelf.targets)
    return Engine(SETTINGS, again)


@pytest.fixture(scope="module")
def looks(shelf: Shelf) -> Sequence[Look]:
    return Engine(SETTINGS, shelf).looks(Request(png(portrait()), "ada"), STRENGTHS)


def png(pixels: Pixels) -> bytes:
    return encoded(pixels, "PNG")


def change(look: Look) -> float:
    """Mean change of a pixel, in steps of 8 bits."""
    return float(np.abs(np.asarray(opened(look.data)).astype(int) - portrait()).mean())


def test_strength_0_is_the_original_to_the_bit_and_held(looks: Sequence[Look]) -> None:
    nothing = looks[0]

    assert np.array_equal(np.asarray(opened(nothing.data)), portrait())
    assert nothing.held is not None
    assert nothing.held.startswith("strength 0 is too little: the face at ")
    assert nothing.faces == ()


def test_a_black_and_white_face_at_strength_0_is_the_original_too(engine: Engine) -> None:
    hasty = Engine(replace(SETTINGS, steps=2), Shelf())

    (nothing,) = hasty.looks(Request(png(GREY_BESIDE_COLOUR), "ada"), [0])

    assert np.array_equal(np.asarray(opened(nothing.data)), GREY_BESIDE_COLOUR)


def test_the_stronger_the_more_visible_and_the_less_like_its_owner(looks: Sequence[Look]) -> None:
    changes = [change(look) for look in looks]
    published = [look.faces[0] for look in looks if look.faces]

    assert changes == sorted(set(changes))
    assert len(published) >= 2
    for one, other in pairwise(published):
        assert one.moved < other.moved
        assert one.dssim < other.dssim
        assert one.cosine_own["dlib"] > other.cosine_own["dlib"]


def test_a_photo_is_published_as_its_preview_shows_it(engine: Engine, looks: Sequence[Look]) -> None:
    for strength in (95, 100):
        (result,) = engine.protect([Request(png(portrait()), "ada", strength=strength)])

        assert isinstance(result, Protected), result
        assert result.report.strength == strength
        assert result.data == looks[STRENGTHS.index(strength)].data


def test_a_strength_that_is_too_little_is_told_and_not_tried_again(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = []

    def counted(*arguments: Any, **options: Any) -> list[Cloak]:
        runs.append(arguments)
        return optimise(*arguments, **options)

    monkeypatch.setattr("fawkes_engine.pipeline.photos.optimise", counted)

    (result,) = engine.protect([Request(png(portrait()), "ada", strength=10)])

    assert isinstance(result, NotProtected)
    assert str(result).startswith("strength 10 is too little: the face at ")
    assert len(runs) == 1


@pytest.mark.slow
def test_a_photo_is_cloaked_in_the_mode_that_is_asked_for(shelf: Shelf) -> None:
    """As by an engine of that mode, beside a photo in the engine's own."""
    requests = [Request(png(portrait()), "ada", mode="quick"), Request(png(portrait()), "ada")]
    engines = [Engine(settings, Shelf()) for settings in (SETTINGS, EngineSettings.of_mode("quick"))]

    both = engines[0].protect(requests)
    of_quick = Engine(replace(EngineSettings.of_mode("quick"), extractors=("dlib",), device="cpu"), Shelf())
    (alone,) = of_quick.protect(requests[:1])

    assert isinstance(both[0], Protected)
    assert isinstance(both[1], Protected)
    assert isinstance(alone, Protected)
    assert (both[0].report.mode, both[1].report.mode) == ("quick", None)
    assert both[0].data == alone.data != both[1].data
