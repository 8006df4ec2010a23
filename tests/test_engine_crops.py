"""Crops that are told beside the picture: what was cut away is never published.

Chromium 150 shows the files made here cropped, so an AVIF is held, since its decoder gives the whole picture. HEIC is
cropped by its decoder. The other formats have nothing by which viewers show less: a DNG's DefaultCropOrigin is that of
a raw photo, which is held; EXIF, PNG and WebP have no such thing.
"""

from __future__ import annotations

import struct

import numpy as np
import pytest
from engine_pictures import astronaut, encoded, scaled
from heif_boxes import box, clap, with_property
from hypothesis import given, settings
from hypothesis import strategies as st

from fawkes_engine import HeicAs, Refusal, Unsupported
from fawkes_engine.photo import boxes
from fawkes_engine.photo.decode import decode

SMALL = scaled(astronaut(), 0.25)[:64, :96]
WIDTH, HEIGHT = 96, 64
AVIF = encoded(SMALL, "AVIF")


@pytest.mark.parametrize(
    "aperture",
    [
        clap(48, 64, -24),
        clap(95, 64, 0.5),
        clap(96, 63.5),
        clap(96, 64, 0, 1),
        clap(128, 64),  # damaged: larger than the picture
        box(b"clap", struct.pack(">8i", 96, 0, 64, 0, 0, 1, 0, 1)),
    ],
)
def test_a_cropped_avif_is_held(aperture: bytes) -> None:
    with pytest.raises(Unsupported, match=r"cut away .* export"):
        decode(with_property(AVIF, aperture))


def test_an_aperture_that_shows_everything_is_harmless() -> None:
    whole = box(b"clap", struct.pack(">8i", WIDTH, 1, HEIGHT, 1, 0, 1, 0, 1))
    assert np.array_equal(decode(with_property(AVIF, whole)).pixels, decode(AVIF).pixels)


def test_a_cropped_heic_is_published_as_it_shows() -> None:
    data = encoded(SMALL, "HEIF", quality=95)
    cropped = decode(with_property(data, clap(48, 64, -24)), heic=HeicAs.HEIC).pixels
    assert np.array_equal(cropped, decode(data, heic=HeicAs.HEIC).pixels[:, :48])


def test_the_aperture_of_a_further_picture_does_not_count() -> None:
    """Only the properties that are the primary picture's own."""
    whole = with_property(AVIF, clap(48, 64, -24))
    at = whole.index(b"ipma") + 4 + 4 + 4
    other = whole[:at] + struct.pack(">H", 2) + whole[at + 2 :]
    assert boxes.primary_properties(other) == []
    assert not boxes.is_cropped(other)


def test_the_aperture_of_a_film_counts() -> None:
    assert boxes.is_cropped(AVIF + box(b"moov", box(b"trak", clap(48, 64))))


@given(st.tuples(*[st.integers(-4, 400)] * 4), st.tuples(*[st.integers(-2, 4)] * 4))
def test_only_what_shows_the_whole_picture_counts_as_whole(
    numerators: tuple[int, ...], denominators: tuple[int, ...]
) -> None:
    pairs = list(zip(numerators, denominators, strict=True))
    aperture = box(b"clap", struct.pack(">8i", *(number for pair in pairs for number in pair)))
    sides = (WIDTH, HEIGHT, 0, 0)
    whole = all(down > 0 and up == side * down for (up, down), side in zip(pairs, sides, strict=True))
    assert boxes.is_cropped(with_property(AVIF, aperture)) is not whole


@settings(max_examples=60)
@given(st.data())
def test_damaged_boxes_are_read_or_refused(data: st.DataObject) -> None:
    damaged = bytearray(with_property(AVIF, clap(48, 64, -24)))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, 330))] = data.draw(st.integers(0, 255))
    try:
        decode(bytes(damaged))
    except Refusal:
        return


@given(st.binary(max_size=80))
def test_items_of_any_place_are_read_or_are_damaged(places: bytes) -> None:
    info = box(b"iinf", b"\0\0\0\0\0\1" + box(b"infe", b"\2\0\0\0\0\1\0\0Exif\0"))
    try:
        assert len(boxes.exif(box(b"meta", bytes(4) + info + box(b"iloc", places)))) < 300
    except struct.error:
        return


@given(st.binary(max_size=100), st.sampled_from([b"ipma", b"pitm", b"iprp", b"ipco", b"iinf", b"iloc"]))
def test_boxes_of_any_content_are_read_or_are_damaged(body: bytes, kind: bytes) -> None:
    for data in (
        body,
        box(b"meta", bytes(4) + box(b"pitm", bytes(6)) + box(b"iprp", box(kind, body)) + box(kind, body)),
    ):
        try:
            boxes.is_cropped(data)
            boxes.exif(data)
        except struct.error:
            continue
