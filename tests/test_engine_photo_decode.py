"""Bytes to pixels and back."""

from __future__ import annotations

import struct
import zlib
from functools import cache

import numpy as np
import pytest
from engine_pictures import astronaut, encoded, grey, opened, scaled
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps, TiffImagePlugin

from fawkes_engine import Refusal, Unreadable, Unsupported
from fawkes_engine.face.detect import Pixels
from fawkes_engine.photo.decode import decode
from fawkes_engine.photo.encode import as_written, encode

ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 274, 282, 283, 296
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF")
LOSSLESS = ("PNG", "WEBP", "TIFF")
NOT_SEEN = b"a-secret-of-the-source-file"


@cache
def small() -> Pixels:
    """(64, 96, 3): not square, and a multiple of JPEG's blocks."""
    return scaled(astronaut(), 0.25)[:64, :96]


@cache  # a profile says in which second it was made
def profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def options_for(file_format: str) -> dict[str, object]:
    return {"lossless": True} if file_format == "WEBP" else {}


def round_trip(data: bytes, quality: int = 95) -> bytes:
    photo = decode(data)
    return encode(photo, photo.pixels, quality)


@pytest.mark.parametrize("file_format", LOSSLESS)
def test_lossless_formats_come_back_exactly(file_format: str) -> None:
    data = encoded(small(), file_format, **options_for(file_format))
    photo = decode(data)
    assert (photo.format, photo.grey, photo.alpha, photo.icc) == (file_format, False, None, None)
    assert np.array_equal(photo.pixels, small())
    again = opened(encode(photo, photo.pixels, 95))
    assert (again.format, again.mode) == (file_format, "RGB")
    assert np.array_equal(np.asarray(again), small())


def test_jpeg_comes_back_nearly_and_is_written_without_chroma_subsampling() -> None:
    photo = decode(encoded(small(), "JPEG", quality=95))
    again = opened(encode(photo, photo.pixels, 95))
    assert again.format == "JPEG"
    assert np.abs(np.asarray(again).astype(int) - photo.pixels).mean() < 1.5
    assert all(layer[1:3] == (1, 1) for layer in getattr(again, "layer"))  # noqa: B009 - JPEG files only


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "TIFF"])
def test_transparency_is_kept(file_format: str) -> None:
    alpha = np.arange(64 * 96, dtype=np.uint32).reshape(64, 96).astype(np.uint8)
    image = Image.fromarray(small())
    image.putalpha(Image.fromarray(alpha))
    options = {"lossless": True, "exact": True} if file_format == "WEBP" else {}
    photo = decode(encoded(image, file_format, **options))
    assert photo.alpha is not None
    assert np.array_equal(photo.alpha, alpha)
    again = opened(encode(photo, photo.pixels, 95))
    assert again.mode == "RGBA"
    assert np.array_equal(np.asarray(again), np.asarray(image))


def test_a_palette_becomes_colours() -> None:
    image = Image.fromarray(small()).quantize(64)
    photo = decode(encoded(image, "PNG"))
    assert np.array_equal(photo.pixels, np.asarray(image.convert("RGB")))
    assert photo.alpha is None


def test_a_palette_with_a_transparent_colour_keeps_it() -> None:
    image = Image.fromarray(small()).quantize(16)
    photo = decode(encoded(image, "PNG", transparency=3))
    assert photo.alpha is not None
    assert np.array_equal(photo.alpha == 0, np.asarray(image) == 3)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF"])
def test_a_grey_photo_stays_grey(file_format: str) -> None:
    photo = decode(encoded(grey(small()), file_format))
    assert photo.grey
    assert photo.pixels.shape == (64, 96, 3)
    assert np.array_equal(photo.pixels[..., 0], photo.pixels[..., 2])
    assert opened(encode(photo, photo.pixels, 95)).mode == "L"


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_gives_the_pixels_a_viewer_shows(file_format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = encoded(small(), file_format, exif=exif, **options_for(file_format))
    shown = np.asarray(ImageOps.exif_transpose(opened(data)).convert("RGB"))
    photo = decode(data)
    assert np.array_equal(photo.pixels, shown)
    again = opened(encode(photo, photo.pixels, 95))
    assert again.size == (shown.shape[1], shown.shape[0])
    assert again.getexif().get(ORIENTATION, 1) == 1


def test_an_upright_photo_is_the_same_in_all_eight_orientations() -> None:
    upright = Image.fromarray(small())
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    for orientation, turned in undo.items():
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        assert np.array_equal(decode(encoded(upright.transpose(turned), "PNG", exif=exif)).pixels, small())


@pytest.mark.parametrize("file_format", FORMATS)
def test_the_colour_profile_is_kept_byte_for_byte(file_format: str) -> None:
    data = encoded(small(), file_format, icc_profile=profile(), **options_for(file_format))
    assert decode(data).icc == profile()
    assert opened(round_trip(data)).info["icc_profile"] == profile()


@pytest.mark.parametrize("file_format", FORMATS)
def test_nothing_else_of_the_source_is_written(file_format: str) -> None:
    exif = Image.Exif()
    exif[0x0131] = NOT_SEEN.decode()  # software
    if file_format != "TIFF":  # Pillow writes no new sub-directory into a TIFF
        exif[0x8769] = {0x9286: NOT_SEEN}  # user comment
    exif[ORIENTATION] = 6
    options = {"exif": exif, **options_for(file_format)}
    if file_format == "JPEG":
        options["comment"] = NOT_SEEN
    if file_format in {"JPEG", "PNG", "WEBP"}:
        options["xmp"] = b"<x:xmpmeta>" + NOT_SEEN + b"</x:xmpmeta>"
    data = encoded(small(), file_format, **options)
    if file_format == "JPEG":
        thumbnail = encoded(scaled(small(), 0.5), "JPEG")
        data = data[:2] + b"\xff\xe5" + struct.pack(">H", len(thumbnail) + 2) + thumbnail + data[2:]
    data += b"trailing " + NOT_SEEN + encoded(small(), "JPEG")
    written = round_trip(data)
    assert NOT_SEEN in data
    assert NOT_SEEN not in written
    assert written.count(b"\xff\xd8\xff") == (1 if file_format == "JPEG" else 0)
    assert not opened(written).getexif().get_ifd(0x8769)
    assert not opened(written).info.keys() & {"exif", "xmp", "comment", "XML:com.adobe.xmp", "parsed_exif"}


def test_text_chunks_of_png_are_not_written() -> None:
    chunk = b"tEXtComment\0" + NOT_SEEN
    packed = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    data = encoded(small(), "PNG")
    data = data[:33] + packed + data[33:]  # behind the header
    assert opened(data).info["Comment"] == NOT_SEEN.decode()
    assert NOT_SEEN not in round_trip(data)


def test_only_the_first_picture_of_a_multi_picture_jpeg_is_written() -> None:
    first, second = Image.fromarray(small()), Image.fromarray(255 - small())
    data = encoded(first, "MPO", save_all=True, append_images=[second])
    photo = decode(data)
    assert photo.format == "JPEG"
    assert np.abs(photo.pixels.astype(int) - small()).mean() < 10
    written = encode(photo, photo.pixels, 95)
    assert opened(written).format == "JPEG"
    assert written.count(b"\xff\xd8\xff") == 1


def test_resolution_is_kept() -> None:
    for file_format in ("JPEG", "PNG", "TIFF"):
        again = opened(round_trip(encoded(small(), file_format, dpi=(300, 300))))
        assert again.info["dpi"] == pytest.approx((300, 300), abs=0.1)


def test_no_resolution_is_made_up_where_the_photo_tells_none() -> None:
    written = opened(round_trip(encoded(small(), "TIFF")))
    assert isinstance(written, TiffImagePlugin.TiffImageFile)
    assert not {X_RESOLUTION, Y_RESOLUTION} & set(written.tag_v2)
    unitless = Image.Exif()
    unitless.update(
        {X_RESOLUTION: 1.0, Y_RESOLUTION: 1.0, RESOLUTION_UNIT: 1}
    )  # as exiftool completes a JPEG
    assert opened(round_trip(encoded(small(), "JPEG", exif=unitless))).info["jfif_unit"] == 0


@pytest.mark.parametrize(
    "resolution", [(0, 0), (1, 0), (0, 1), (2**32 - 1, 1), (1, 2**32 - 1)], ids=lambda r: f"{r[0]}/{r[1]}"
)
@pytest.mark.parametrize("file_format", FORMATS)
def test_senseless_resolutions_do_no_harm(file_format: str, resolution: tuple[int, int]) -> None:
    exif = struct.pack("<2sHIH", b"II", 42, 8, 3)
    exif += struct.pack("<HHII", X_RESOLUTION, 5, 1, 50)
    exif += struct.pack("<HHII", Y_RESOLUTION, 5, 1, 50)
    exif += struct.pack("<HHIHH", RESOLUTION_UNIT, 3, 1, 2, 0)
    exif += struct.pack("<I", 0)
    exif += struct.pack("<II", *resolution)
    data = encoded(small(), file_format, exif=b"Exif\0\0" + exif, **options_for(file_format))
    if file_format == "JPEG":  # only without its own header does JPEG take the resolution from EXIF
        data = data[:2] + data[20:]
    assert opened(round_trip(data)).size == (96, 64)


@pytest.mark.parametrize("kind", [1, 2, 7], ids=["byte", "text", "undefined"])
def test_a_resolution_that_is_no_number_does_no_harm(kind: int) -> None:
    data = encoded(small(), "TIFF", dpi=(300, 300))
    entry = struct.pack("<HHI", X_RESOLUTION, 5, 1)
    assert data.count(entry) == 1
    damaged = data.replace(entry, struct.pack("<HHI", X_RESOLUTION, kind, 1))
    assert opened(round_trip(damaged)).size == (96, 64)


@pytest.mark.parametrize("quality", [60, 75, 90, 96, 99])
def test_the_quality_of_a_jpeg_is_recognised(quality: int) -> None:
    found = decode(encoded(small(), "JPEG", quality=quality)).jpeg_quality
    assert quality <= found <= quality + 1
    assert decode(encoded(small(), "PNG")).jpeg_quality == 0


def test_a_jpeg_whose_tables_have_unusual_numbers_is_read() -> None:
    """Every table number is legal for every component."""
    data = encoded(grey(small()), "JPEG")
    table = data.index(b"\xff\xdb\x00\x43\x00")
    frame = data.index(b"\xff\xc0")
    renumbered = bytearray(data)
    renumbered[table + 4] = 2
    renumbered[frame + 12] = 2
    assert np.array_equal(np.asarray(opened(bytes(renumbered))), np.asarray(opened(data)))
    photo = decode(bytes(renumbered))
    assert photo.grey
    assert photo.jpeg_quality in {95, 96}


@pytest.mark.parametrize("grey_photo", [True, False])
def test_a_piece_as_written_is_that_piece_of_the_whole_file(grey_photo: bool) -> None:
    source = grey(astronaut()) if grey_photo else astronaut()
    photo = decode(encoded(source, "JPEG", quality=95))
    rows, columns = slice(64, 200), slice(160, 264)
    whole = decode(encode(photo, photo.pixels, 92)).pixels
    assert np.array_equal(as_written(photo, photo.pixels[rows, columns], 92), whole[rows, columns])


def test_a_piece_of_a_lossless_file_is_unchanged() -> None:
    photo = decode(encoded(small(), "PNG"))
    assert np.array_equal(as_written(photo, photo.pixels[:8, :8], 75), small()[:8, :8])


def sixteen_bit_rgb_png() -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = b"".join(b"\0" + bytes(8 * 6) for _ in range(8))
    header = struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def unsupported() -> dict[str, bytes]:
    one, other = Image.fromarray(small()), Image.fromarray(255 - small())
    several = {"save_all": True, "append_images": [other]}
    deep = np.arange(64 * 96, dtype=np.uint16).reshape(64, 96)
    return {
        "16-bit grey PNG": encoded(Image.fromarray(deep), "PNG"),
        "16-bit RGB PNG": sixteen_bit_rgb_png(),
        "16-bit grey TIFF": encoded(Image.fromarray(deep), "TIFF"),
        "float TIFF": encoded(Image.fromarray(deep.astype(np.float32)), "TIFF"),
        "animated GIF": encoded(one, "GIF", **several),
        "animated PNG": encoded(one, "PNG", **several),
        "animated WebP": encoded(one, "WEBP", **several),
        "two pages of TIFF": encoded(one, "TIFF", **several),
        "CMYK JPEG": encoded(one.convert("CMYK"), "JPEG"),
        "CMYK TIFF": encoded(one.convert("CMYK"), "TIFF"),
        "Lab TIFF": encoded(one.convert("LAB"), "TIFF"),
        "GIF": encoded(one, "GIF"),
        "BMP": encoded(one, "BMP"),
        "JPEG 2000": encoded(one, "JPEG2000"),
        "bilevel PNG": encoded(one.convert("1"), "PNG"),
    }


@pytest.mark.parametrize("kind", unsupported())
def test_what_cannot_be_written_back_faithfully_is_refused_as_unsupported(kind: str) -> None:
    with pytest.raises(Unsupported, match="export"):
        decode(unsupported()[kind])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 1000,
        b"dear diary,\n",
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"RIFF\x10\0\0\0WEBPVP8 ",
        b"<svg/>",
    ],
)
def test_what_is_no_picture_is_unreadable(data: bytes) -> None:
    with pytest.raises(Unreadable):
        decode(data)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
@pytest.mark.parametrize("file_format", FORMATS)
def test_a_picture_cut_short_is_unreadable(file_format: str, share: float) -> None:
    data = encoded(small(), file_format)
    with pytest.raises(Unreadable):
        decode(data[: round(len(data) * share)])


def test_a_bomb_is_refused_by_its_header() -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    idat = b"IDAT" + zlib.compress(b"")
    data += struct.pack(">I", len(idat) - 4) + idat + struct.pack(">I", zlib.crc32(idat))
    with pytest.raises(Unsupported, match="megapixels"):
        decode(data)


@cache
def sources() -> tuple[bytes, ...]:
    tiny = scaled(small(), 0.3)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    exif[X_RESOLUTION] = 72.0
    files = [
        encoded(tiny, f, exif=exif, icc_profile=profile()[:400], dpi=(300, 300), **options_for(f))
        for f in FORMATS
    ]
    tiff = encoded(tiny, "TIFF", compression="tiff_adobe_deflate")
    return (
        *files,
        tiff,
        encoded(tiny, "JPEG"),
        encoded(Image.fromarray(tiny).quantize(16), "PNG", transparency=2),
    )


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A picture with a few bytes replaced, most of them near its head, perhaps cut or lengthened."""
    data = bytearray(draw(st.sampled_from(sources())))
    for _ in range(draw(st.integers(1, 6))):
        reach = draw(st.sampled_from([64, 700, len(data)]))
        data[draw(st.integers(0, min(reach, len(data)) - 1))] = draw(st.integers(0, 255))
    cut = draw(st.sampled_from([None, None, None, draw(st.integers(1, len(data)))]))
    return bytes(data[:cut]) + draw(st.sampled_from([b"", b"\0\0", b"\xff\xd9"]))


@settings(max_examples=400)
@given(data=mutated())
def test_damaged_bytes_are_read_or_refused_and_what_is_read_can_be_written(data: bytes) -> None:
    try:
        photo = decode(data)
    except Refusal:
        return
    if photo.pixels.size < 1_000_000:  # the header may have grown
        assert encode(photo, photo.pixels, 95)


@settings(max_examples=100)
@given(data=st.binary(max_size=300))
def test_random_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(Refusal):
        decode(data)
