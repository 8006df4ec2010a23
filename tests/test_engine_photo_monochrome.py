"""Which pictures are monochrome, as their pixels say, and changes that keep their tone."""

from __future__ import annotations

import numpy as np
import pytest
from engine_pictures import Colours, encoded, grey, opened, portrait
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fawkes_engine.face.detect import Pixels
from fawkes_engine.photo.decode import decode
from fawkes_engine.photo.monochrome import NEUTRAL, Tone

REGION = (87, 41, 202, 193)  # of the face and a little around
FACE = (slice(41, 193), slice(87, 202))
# Shadows, midtones and highlights of toned pictures
SEPIA = ((0, 0, 0), (146, 130, 101), (255, 248, 235))
SPLIT = ((0, 8, 30), (120, 128, 134), (255, 250, 225))
DUOTONE = ((30, 0, 80), (150, 110, 90), (255, 220, 90))
FILES = [
    ("PNG", {}),
    ("TIFF", {}),
    *(("JPEG", {"quality": quality, "subsampling": 2}) for quality in (60, 75, 85, 95)),
    ("JPEG", {"quality": 75, "subsampling": 0}),
    ("WEBP", {"quality": 80}),
    ("AVIF", {"quality": 70}),
    ("HEIF", {"quality": 70}),
]


def grey_as_rgb() -> Pixels:
    return np.repeat(grey(portrait())[..., None], 3, axis=2)


def curve(stops: tuple[tuple[int, int, int], ...]) -> Pixels:
    """(256, 3): the colours of a toned picture, shadows to highlights."""
    at = np.linspace(0, 255, len(stops))
    columns = [np.interp(np.arange(256), at, column) for column in zip(*stops, strict=True)]
    colours: Pixels = np.rint(np.stack(columns, axis=1)).astype(np.uint8)
    return colours


def toned(stops: tuple[tuple[int, int, int], ...]) -> Pixels:
    picture: Pixels = curve(stops)[grey(portrait())]
    return picture


def away_from(colours: Pixels, stops: tuple[tuple[int, int, int], ...]) -> Colours:
    """How far each colour (..., 3) is from the nearest on a curve, in levels of its worst channel."""
    line = curve(stops).astype(np.int16)
    distances = np.abs(colours.reshape(-1, 1, 3).astype(np.int16) - line).max(axis=2).min(axis=1)
    away: Colours = distances.astype(float)
    return away


def saturated(share: float) -> Pixels:
    """The astronaut with a share of her colours."""
    mixed = grey_as_rgb() + share * (portrait().astype(float) - grey_as_rgb())
    return np.rint(mixed).astype(np.uint8)


@pytest.mark.parametrize(("file_format", "options"), FILES)
def test_black_and_white_is_known_in_every_format(file_format: str, options: dict[str, int]) -> None:
    photo = decode(encoded(grey_as_rgb(), file_format, **options))

    assert not photo.grey
    assert Tone.of(photo.pixels, REGION) is NEUTRAL


@pytest.mark.parametrize("stops", [SEPIA, SPLIT, DUOTONE])
@pytest.mark.parametrize(("file_format", "options"), FILES)
def test_a_toned_picture_is_known_in_every_format(
    stops: tuple[tuple[int, int, int], ...], file_format: str, options: dict[str, int]
) -> None:
    tone = Tone.of(decode(encoded(toned(stops), file_format, **options)).pixels, REGION)

    assert tone is not None
    assert tone is not NEUTRAL
    true = toned(stops)[FACE].reshape(-1, 3)
    found = tone.curve[np.rint(true @ [0.299, 0.587, 0.114]).astype(int)]
    assert np.quantile(np.abs(found - true).max(axis=1), 0.95) < 4


def test_a_picture_in_one_channel_is_black_and_white() -> None:
    assert Tone.of(decode(encoded(grey(portrait()), "PNG")).pixels, REGION) is NEUTRAL


@given(share=st.floats(0.3, 1), quality=st.integers(60, 100))
@settings(max_examples=10, deadline=None)
def test_a_colour_photo_is_not_monochrome_however_pale(share: float, quality: int) -> None:
    pale = np.asarray(opened(encoded(saturated(share), "JPEG", quality=quality)))

    assert Tone.of(pale, REGION) is None


@pytest.mark.parametrize("stops", [SEPIA, None])
def test_a_monochrome_print_on_the_wall_is_not_the_photo(
    stops: tuple[tuple[int, int, int], ...] | None,
) -> None:
    """It decides for a face that it shows, and for none beside it."""
    wall = np.concatenate([portrait(), toned(stops) if stops else grey_as_rgb()], axis=1)
    x0, y0, x1, y1 = REGION

    assert Tone.of(wall, REGION) is None
    assert Tone.of(wall, (x0 + 272, y0, x1 + 272, y1)) is not None


def test_a_coloured_signature_and_a_white_border_leave_a_picture_monochrome() -> None:
    picture = np.pad(toned(SEPIA), ((20, 20), (20, 20), (0, 0)), constant_values=255)
    picture[260:290, 60:110] = (200, 20, 20)

    assert Tone.of(picture, (107, 61, 222, 213)) is not None


def test_a_picture_too_small_to_tell_is_taken_for_coloured() -> None:
    assert Tone.of(np.ascontiguousarray(toned(SEPIA)[60:172, 90:202]), (10, 10, 100, 100)) is None


@pytest.mark.parametrize("side", [5, 12])
def test_a_region_smaller_than_a_block_is_judged_as_a_larger_one(side: int) -> None:
    """Faces of 8 px are found, and the edge may leave less of one."""
    region = (120, 100, 120 + side, 130)

    tone = Tone.of(toned(SEPIA), region)
    assert tone is not None
    assert tone is not NEUTRAL
    assert Tone.of(portrait(), region) is None


def test_where_a_curve_stands_still_there_is_no_direction() -> None:
    flat = Tone(np.clip(NEUTRAL.curve - 40, 0, 255))

    assert np.array_equal(flat.directions(np.zeros((1, 3), np.float32), None), [[0, 0, 0]])


def test_a_stain_on_a_strip_of_a_few_pixels_strays() -> None:
    strip = grey_as_rgb()[60:100, 120:125]
    stained = strip.astype(np.int16) + np.array([8, 0, -8])

    assert NEUTRAL.strayed(strip, strip) == 0
    assert NEUTRAL.strayed(strip, stained.clip(0, 255).astype(np.uint8)) > NEUTRAL.tolerance


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_whatever_the_change_black_and_white_stays_so(seed: int) -> None:
    face = grey_as_rgb()[FACE]
    change = np.random.default_rng(seed).normal(0, 8, face.shape).astype(np.float32)

    kept = np.rint(face + NEUTRAL.change(face, change))

    assert np.array_equal(kept[..., 0], kept[..., 1])
    assert np.array_equal(kept[..., 0], kept[..., 2])
    assert (kept != face).any()


level = st.integers(0, 60)


@given(
    shadows=st.tuples(level, level, level),
    highlights=st.tuples(level, level, level),
    seed=st.integers(0, 999),
)
@example(shadows=(16, 20, 0), highlights=(0, 23, 0), seed=1)  # tones at both ends of the levels
@settings(max_examples=10, deadline=None)
def test_whatever_the_change_a_toned_picture_keeps_to_its_curve(
    shadows: tuple[int, int, int], highlights: tuple[int, int, int], seed: int
) -> None:
    red, green, blue = highlights
    stops = (shadows, (255 - red, 255 - green, 255 - blue))
    picture = toned(stops)
    tone = Tone.of(picture, REGION)
    assert tone is not None
    change = np.random.default_rng(seed).normal(0, 8, picture[FACE].shape).astype(np.float32)

    moved = np.clip(np.rint(picture[FACE] + tone.change(picture[FACE], change)), 0, 255).astype(np.uint8)

    # beyond its darkest and lightest colours the picture does not tell how the curve goes on
    assert np.quantile(away_from(moved, stops), 0.9) <= 3
    assert np.abs((moved.astype(float) - picture[FACE]) @ [0.299, 0.587, 0.114]).mean() > 1
    assert tone.strayed(picture[FACE], moved) < 1.5


@pytest.mark.parametrize("stops", [SEPIA, SPLIT, DUOTONE])
def test_directions_are_those_of_the_curve(stops: tuple[tuple[int, int, int], ...]) -> None:
    tone = Tone.of(toned(stops), REGION)
    assert tone is not None
    colours = curve(stops)[40:90].astype(float)
    true = (colours[-1] - colours[0]) / np.linalg.norm(colours[-1] - colours[0])

    assert (tone.directions(colours, None) @ true).min() > 0.99
    assert np.allclose(NEUTRAL.directions(colours, None), 3**-0.5)


@pytest.mark.parametrize("stain", [(6, 0, -6), (-8, 3, 0), (0, 0, 10)])
def test_a_stain_of_colour_strays_and_the_encoding_does_not(stain: tuple[int, int, int]) -> None:
    for picture in (grey_as_rgb(), toned(SEPIA)):
        tone = Tone.of(picture, REGION)
        assert tone is not None
        face = picture[FACE]
        stained = face.astype(int)
        stained[40:70, 40:70] += stain
        written = np.asarray(opened(encoded(np.ascontiguousarray(face), "JPEG", subsampling=0)))

        assert tone.strayed(face, np.clip(stained, 0, 255).astype(np.uint8)) > 2
        assert tone.strayed(face, written) < 1.5
