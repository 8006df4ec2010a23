"""Colours that are told otherwise than by a profile: each way is carried, and meant as viewers mean it."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import pytest
from engine_pictures import astronaut, encoded, grey, opened, scaled
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_exif import SHORT, block, rationals
from rich_photos import FORMATS, srgb_profile
from scan import scan

from fawkes_engine import HeicAs, MetadataPolicy, Unsupported
from fawkes_engine.photo import directory, png_colours
from fawkes_engine.photo.decode import decode
from fawkes_engine.photo.encode import encode

SMALL = scaled(astronaut(), 0.25)[:32, :48]
EXIF_IFD, GAMMA, WHITE, PRIMARIES, TRANSFER = 0x8769, 0xA500, 0x013E, 0x013F, 0x012D
D65 = (31_270, 32_900)
SRGB = (*D65, 64_000, 33_000, 30_000, 60_000, 15_000, 6_000)
ADOBE_RGB = (*D65, 64_000, 33_000, 21_000, 71_000, 15_000, 6_000)
DISPLAY_P3 = (*D65, 68_000, 32_000, 26_500, 69_000, 15_000, 6_000)
U32 = st.integers(0, 2**32 - 1)


def gama(value: int) -> tuple[bytes, bytes]:
    return b"gAMA", struct.pack(">I", value)


def chrm(values: tuple[int, ...]) -> tuple[bytes, bytes]:
    return b"cHRM", struct.pack(">8I", *values)


def cicp(primaries: int, transfer: int) -> tuple[bytes, bytes]:
    return b"cICP", bytes((primaries, transfer, 0, 1))


def png(*chunks: tuple[bytes, bytes], before: bytes = b"IDAT", pixels: Any = SMALL, **options: Any) -> bytes:
    """A PNG with further chunks before a named one."""
    data = encoded(pixels, "PNG", **options)
    at = data.index(before) - 4
    more = b"".join(
        struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks
    )
    return data[:at] + more + data[at:]


def published(source: bytes, policy: MetadataPolicy = MetadataPolicy()) -> bytes:  # noqa: B008 - frozen
    photo = decode(source, policy, HeicAs.HEIC)
    data = encode(photo, photo.pixels, 95)
    assert scan(data) == []
    return data


@pytest.mark.parametrize(
    "chunks",
    [
        (gama(45_455), chrm(ADOBE_RGB)),
        (gama(45_455), chrm(SRGB)),
        (gama(100_000),),
        (chrm(DISPLAY_P3),),
        (gama(0), chrm((0,) * 8)),  # nonsense: viewers pass over it, in the copy as in the original
        ((b"sRGB", b"\0"), gama(45_455), chrm(SRGB)),
        (cicp(1, 13), gama(45_455)),
    ],
)
@pytest.mark.parametrize("grey_photo", [False, True])
def test_colour_chunks_are_carried_byte_for_byte(
    chunks: tuple[tuple[bytes, bytes], ...], grey_photo: bool
) -> None:
    pixels = grey(SMALL) if grey_photo else SMALL
    again = published(png(*chunks, pixels=pixels))
    assert png_colours.read(again) == dict(chunks)
    assert np.array_equal(np.asarray(opened(again)), pixels)


def test_colour_chunks_beside_a_profile_are_carried_too_and_the_profile_counts() -> None:
    source = png(gama(45_455), chrm(ADOBE_RGB), icc_profile=srgb_profile())
    again = published(source)
    assert opened(again).info["icc_profile"] == srgb_profile()
    assert png_colours.read(again) == dict((gama(45_455), chrm(ADOBE_RGB)))
    assert decode(source).colour is None


# What Chromium 150 drew of a PNG of the colour 128, 100, 60 with these chunks, on a canvas in sRGB.
@pytest.mark.parametrize(
    ("chunks", "shown"),
    [
        ((gama(45_455), chrm(ADOBE_RGB)), (138, 100, 55)),
        ((gama(45_455), chrm(DISPLAY_P3)), (134, 99, 49)),
        ((gama(100_000), chrm(SRGB)), (188, 168, 133)),
        ((gama(100_000),), (188, 168, 133)),
        ((gama(45_455),), (128, 100, 60)),
        ((chrm(ADOBE_RGB),), (128, 100, 60)),
        (((b"sRGB", b"\0"), gama(100_000), chrm(ADOBE_RGB)), (128, 100, 60)),
        ((cicp(1, 13), gama(100_000), chrm(ADOBE_RGB)), (128, 100, 60)),
    ],
)
def test_the_engine_sees_the_colours_that_a_browser_shows(
    chunks: tuple[tuple[bytes, bytes], ...], shown: tuple[int, ...]
) -> None:
    one = np.full((8, 8, 3), (128, 100, 60), np.uint8)
    photo = decode(png(*chunks, pixels=one))
    seen = photo.colour.to_srgb(photo.pixels) if photo.colour else photo.pixels
    assert np.abs(seen[0, 0].astype(int) - shown).max() <= 1


@pytest.mark.parametrize("near", [0, 1, -5, 90])
def test_srgb_told_by_gama_and_chrm_is_srgb(near: int) -> None:
    """Many programs write these two, rounded one way or another."""
    assert decode(png(gama(45_455 + near), chrm(tuple(value + near for value in SRGB)))).colour is None


@pytest.mark.parametrize("grey_photo", [False, True])
@given(value=st.integers(20_000, 120_000))
@settings(max_examples=20)
def test_a_gamma_means_its_power(grey_photo: bool, value: int) -> None:
    levels = np.arange(256, dtype=np.uint8)[None]
    photo = decode(png(gama(value), pixels=levels if grey_photo else np.stack([levels] * 3, axis=-1)))
    if abs(value - 45_455) <= 500:  # what programs write that mean sRGB, whose curve is no power
        assert photo.colour is None
        return
    light = (levels[0] / 255) ** (100_000 / value)
    expected = (
        np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055) * 255
    )  # IEC 61966-2-1
    seen = photo.colour.to_srgb(photo.pixels)[0] if photo.colour else photo.pixels[0]
    off = np.abs(seen - expected[:, None])[16:]  # the very darkest are known to few bits only
    assert off.max() <= 3
    assert off.mean() < 1


@settings(max_examples=100)
@given(
    value=U32, near=st.booleans(), more=st.tuples(*[U32] * 8), less=st.tuples(*[st.integers(0, 100_000)] * 8)
)
def test_any_gama_and_chrm_are_carried_and_are_a_space_or_none(
    value: int, near: bool, more: tuple[int, ...], less: tuple[int, ...]
) -> None:
    chunks = (gama(value % 100_000 if near else value), chrm(less if near else more))
    photo = decode(png(*chunks))
    assert photo.colour is None or photo.colour.to_srgb(photo.pixels).shape == photo.pixels.shape
    assert photo.chunks == dict(chunks)


def test_colour_chunks_count_only_in_their_place_their_size_and_once() -> None:
    assert decode(png(gama(100_000), before=b"IEND")).chunks == {}
    assert decode(png((b"cICP", b"\1\15\0"))).chunks == {}
    assert decode(png(gama(100_000), gama(45_455))).chunks == dict([gama(100_000)])


@pytest.mark.parametrize("codes", [(12, 13), (1, 8), (1, 16), (9, 18)])
def test_a_png_whose_codes_are_not_srgb_is_held_without_a_profile(codes: tuple[int, int]) -> None:
    with pytest.raises(Unsupported, match="export as sRGB"):
        decode(png(cicp(*codes)))


def test_codes_in_the_pixels_are_no_codes() -> None:
    """The bytes of a compressed picture may spell anything."""
    text = b"Comment\0cICP\x0c\x0d\0\1"
    assert decode(png((b"tEXt", text))).chunks == {}


COLOURS = {
    WHITE: rationals((3127, 10_000), (3290, 10_000)),
    PRIMARIES: rationals((64, 100), (33, 100), (21, 100), (71, 100), (15, 100), (6, 100)),
}


@pytest.mark.parametrize("policy", [MetadataPolicy(), MetadataPolicy(all=False)])
@pytest.mark.parametrize("file_format", sorted({*FORMATS} - {"TIFF"}))
def test_what_exif_tells_of_colours_is_kept(file_format: str, policy: MetadataPolicy) -> None:
    """As cameras write it for Adobe RGB."""
    tags = block(
        COLOURS | {0x013B: (2, 4, b"Zoe\0")}, {GAMMA: rationals((22, 10)), 0xA001: (SHORT, 1, b"\xff\xff")}
    )
    again = opened(published(encoded(SMALL, file_format, exif=b"Exif\0\0" + tags), policy)).getexif()
    assert again[WHITE] == (0.3127, 0.329)
    assert again[PRIMARIES] == (0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
    assert (again.get_ifd(EXIF_IFD)[GAMMA], again.get_ifd(EXIF_IFD)[0xA001]) == (2.2, 65_535)
    assert (0x013B in again) is policy.all


def curve(values: list[int]) -> directory.Value:
    return directory.Value(SHORT, struct.pack(f"<{len(values)}H", *values))


def test_what_a_tiff_tells_of_its_colours_is_kept() -> None:
    told: directory.Directory = {tag: directory.Value(kind, data) for tag, (kind, _, data) in COLOURS.items()}
    told[TRANSFER] = curve([level * 257 for level in range(256)] * 3)
    source = directory.with_tags(encoded(SMALL, "TIFF", compression="tiff_adobe_deflate"), told)
    again = getattr(opened(published(source)), "tag_v2")  # noqa: B009 - of TIFF files only
    assert again[WHITE] == (0.3127, 0.329)
    assert again[PRIMARIES] == (0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
    assert again[TRANSFER] == tuple(level * 257 for level in range(256)) * 3


@given(st.lists(st.integers(0, 65_535), max_size=300).map(lambda values: (values * 256)[:256]))
def test_a_transfer_function_that_falls_is_no_curve_and_left_out(values: list[int]) -> None:
    tags = directory.block({TRANSFER: curve(values)})
    kept = decode(encoded(SMALL, "JPEG", exif=b"Exif\0\0" + tags)).metadata.exif
    assert (TRANSFER in kept) is (len(values) == 256 and values == sorted(values))
