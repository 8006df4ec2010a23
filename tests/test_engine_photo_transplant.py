"""JPEG blocks that no cloak touches are carried over to the bit, the others are new, and nothing else is copied."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
import torch
from engine_pictures import astronaut, encoded, grey, opened, scaled
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from raw_exif import block, short
from scan import scan

from fawkes_engine import Request
from fawkes_engine.modes import Budget
from fawkes_engine.photo import coefficients, segments
from fawkes_engine.photo.decode import decode, decode_pixels
from fawkes_engine.photo.encode import transplanted
from fawkes_engine.photo.orientation import as_stored, region_as_stored, region_upright, upright
from fawkes_engine.photo.transplant import Host, Source, Transplant
from fawkes_engine.pipeline.preview import Preview
from fawkes_engine.pipeline.work import Work

if TYPE_CHECKING:
    from PIL.JpegImagePlugin import JpegImageFile

SMALL = scaled(astronaut(), 0.25)
ORIENTATION, ARTIST = 0x0112, 0x013B
SAMPLINGS = {0: (8, 8), 1: (16, 8), 2: (16, 16)}


def photo(
    lies: int = 1, *, shape: tuple[int, int] = (61, 90), monochrome: bool = False, **options: Any
) -> bytes:
    pixels = SMALL[: shape[0], : shape[1]]
    tags = b"Exif\0\0" + block({ORIENTATION: short(lies)})
    return encoded(grey(pixels) if monochrome else pixels, "JPEG", exif=tags, **options)


@st.composite
def photos(draw: st.DrawFn) -> bytes:
    options: dict[str, Any] = {
        "quality": draw(st.integers(30, 100)),
        "subsampling": draw(st.sampled_from(sorted(SAMPLINGS))),
        "progressive": draw(st.booleans()),
    }
    if draw(st.booleans()):
        options["restart_marker_blocks"] = draw(st.integers(1, 9))
    shape = draw(st.tuples(st.integers(17, 80), st.integers(17, 80)))
    return photo(draw(st.integers(1, 8)), shape=shape, monochrome=draw(st.booleans()), **options)


def region_of(data: st.DataObject, height: int, width: int) -> tuple[int, int, int, int]:
    x0, x1 = sorted(data.draw(st.lists(st.integers(0, width), min_size=2, max_size=2, unique=True)))
    y0, y1 = sorted(data.draw(st.lists(st.integers(0, height), min_size=2, max_size=2, unique=True)))
    return x0, y0, x1, y1


@settings(max_examples=40, deadline=None)
@given(jpeg=photos(), quality=st.sampled_from([1, 90, 95, 100]), data=st.data())
def test_touched_blocks_are_new_and_all_others_are_the_sources(
    jpeg: bytes, quality: int, data: st.DataObject
) -> None:
    before = decode(jpeg)
    height, width = before.pixels.shape[:2]
    region = region_of(data, height, width)
    host = Host.of(Source(jpeg, before.lies), quality)
    x0, y0, x1, y1 = region
    cloaked = before.pixels.copy()
    cloaked[y0:y1, x0:x1] = 255 - cloaked[y0:y1, x0:x1]

    blocks = Transplant(host)
    blocks.replace(cloaked, [region])
    written = transplanted(before, blocks)

    after = decode_pixels(written)
    where, seen = blocks.seen(region)
    assert np.array_equal(after[where], seen)
    assert host.source.carried(before.pixels, after, [region])
    whole = Image.fromarray(as_stored(cloaked, before.lies)).convert("L" if before.grey else "RGB")
    anew = encoded(whole, "JPEG", quality=-1, qtables=host.tables, subsampling=host.source.sampling)
    new, old, got = (coefficients.read(segments.bare(one)) for one in (anew, jpeg, written))
    left, top, right, bottom = region_as_stored(region, before.lies, width, height)
    wide, high = host.source.mcu
    for component, (fresh, source, result) in enumerate(zip(new, old, got, strict=True)):
        block_wide, block_high = (8, 8) if component == 0 else (wide, high)
        rows = np.arange(result.shape[0])[:, None] * block_high
        columns = np.arange(result.shape[1])[None] * block_wide
        touched = (
            (rows // high >= top // high)
            & (rows // high <= (bottom - 1) // high)
            & (columns // wide >= left // wide)
            & (columns // wide <= (right - 1) // wide)
        )
        assert np.array_equal(result[touched], fresh[touched])
        assert np.array_equal(result[~touched], (source * host.quotients[component])[~touched])


def test_a_face_that_was_not_replaced_is_noticed() -> None:
    jpeg = photo()
    source, pixels = Source(jpeg, 1), decode(jpeg).pixels
    elsewhere = pixels.copy()
    elsewhere[60, 40] ^= 8
    assert source.carried(pixels, pixels, [])
    assert not source.carried(pixels, elsewhere, [(0, 0, 30, 30)])
    assert source.carried(pixels, elsewhere, [(38, 58, 42, 61)])


@given(lies=st.integers(1, 8), height=st.integers(1, 9), width=st.integers(1, 9), data=st.data())
def test_pixels_and_regions_turn_alike(lies: int, height: int, width: int, data: st.DataObject) -> None:
    stored = np.arange(height * width).reshape(height, width)
    turned = upright(stored, lies)
    x0, y0, x1, y1 = region = region_of(data, height, width)
    left, top, right, bottom = there = region_upright(region, lies, turned.shape[1], turned.shape[0])
    assert np.array_equal(as_stored(turned, lies), stored)
    assert region_as_stored(there, lies, turned.shape[1], turned.shape[0]) == region
    assert np.array_equal(upright(stored[y0:y1, x0:x1], lies), turned[top:bottom, left:right])


@pytest.mark.parametrize("lies", [1, 6])
def test_only_allowed_metadata_is_written(lies: int) -> None:
    thumbnail = io.BytesIO()
    Image.fromarray(SMALL).save(thumbnail, "JPEG")
    tags = block({ORIENTATION: short(lies), ARTIST: (2, 4, b"Zoe\0"), 0x9286: (7, 4, b"note")})
    jpeg = encoded(
        SMALL,
        "JPEG",
        exif=b"Exif\0\0" + tags + thumbnail.getvalue(),
        comment=b"a secret",
        icc_profile=b"x" * 200,
    )
    jpeg += thumbnail.getvalue() + b"a secret"
    before = decode(jpeg)

    written = transplanted(before, Transplant(Host.of(Source(jpeg, lies), 95)))

    assert scan(written, lies=lies) == []
    assert b"secret" not in written
    again = opened(written)
    assert again.info["icc_profile"] == b"x" * 200
    assert (again.getexif().get(ORIENTATION, 1), again.getexif()[ARTIST]) == (lies, "Zoe")
    assert np.array_equal(decode(written).pixels, before.pixels)


def tables(jpeg: bytes) -> dict[int, list[int]]:
    return cast("JpegImageFile", opened(jpeg)).quantization


def test_no_step_becomes_coarser_and_each_divides_its_own() -> None:
    host = Host.of(Source(photo(quality=70), 1), 95)
    fine, coarse = tables(encoded(SMALL, "JPEG", quality=95)), tables(photo(quality=70))
    for table, own in zip(host.tables[:2], coarse.values(), strict=True):
        assert all(step % finer == 0 for step, finer in zip(own, table, strict=True))
    assert all(finer <= most for finer, most in zip(host.tables[0], fine[0], strict=True))


@pytest.mark.parametrize("lossless", [False, True])
def test_the_file_grows_little(*, lossless: bool) -> None:
    jpeg = encoded(astronaut(), "JPEG", quality=80)
    before = decode(jpeg)
    written = transplanted(before, Transplant(Host.of(Source(jpeg, 1), 1 if lossless else 95)))
    assert len(written) <= (1.02 if lossless else 1.6) * len(jpeg)


def of_16_bits(jpeg: bytes) -> bytes:
    (_, first), *_ = (segment for segment in segments.segments(jpeg) if segment[0] == segments.DQT)
    ((number, steps), *_) = segments.tables(first)
    body = bytes([0x10 + number]) + b"".join(step.to_bytes(2, "big") for step in steps)
    return jpeg.replace(first, b"\xff\xdb" + (2 + len(body)).to_bytes(2, "big") + body, 1)


BARE = segments.bare(photo())
LOSSLESS, ARITHMETIC = (BARE.replace(b"\xff\xc0", frame, 1) for frame in (b"\xff\xc3", b"\xff\xc9"))
NO_TABLE = BARE.replace(b"\xff\xdb\x00\x43\x01", b"\xff\xdb\x00\x43\x03", 1)


@pytest.mark.parametrize(
    "jpeg", [of_16_bits(BARE), NO_TABLE, LOSSLESS], ids=["16 bits", "no table", "lossless"]
)
def test_what_cannot_take_blocks_is_encoded_as_a_whole(jpeg: bytes) -> None:
    photo_of_it = replace(decode(photo()), jpeg=jpeg)
    work = Work(Request(jpeg, "ada"), photo_of_it, [], {})
    assert Preview(work, Budget(), 95, torch.device("cpu")).encoding.host is None


@pytest.mark.parametrize(
    "jpeg",
    [
        encoded(Image.fromarray(SMALL).convert("CMYK"), "JPEG"),
        of_16_bits(BARE),
        NO_TABLE,
        LOSSLESS,
        ARITHMETIC,
        photo()[:-400],
        photo()[:300],
        b"\xff\xd8\xff\xd9",
        b"no picture",
    ],
    ids=[
        "CMYK",
        "16 bits",
        "no table",
        "lossless",
        "arithmetic",
        "cut",
        "cut in its tables",
        "empty",
        "other",
    ],
)
def test_what_cannot_take_blocks_raises(jpeg: bytes) -> None:
    with pytest.raises((ValueError, OSError)):
        Source(jpeg, 1)


def test_a_coefficient_beyond_jpegs_range_raises() -> None:
    jpeg = segments.bare(photo())
    planes = coefficients.read(jpeg)
    planes[0][0, 0, 3, 3] = 20_000
    with pytest.raises(OSError, match="writing"):
        coefficients.write(jpeg, planes)
