"""Files that hold more than one picture and what the engine writes beside it."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from engine_pictures import encoded, grey, portrait, scaled
from PIL import Image
from rich_photos import srgb_profile

from daemon.cluster.containers import is_as_written
from fawkes_engine import HeicAs, MetadataPolicy
from fawkes_engine.photo.decode import Photo, decode
from fawkes_engine.photo.encode import encode, transplanted
from fawkes_engine.photo.transplant import Host, Source, Transplant

QUALITY = 95
FORMATS = {"JPEG": "JPEG", "PNG": "PNG", "WebP": "WEBP", "TIFF": "TIFF", "AVIF": "AVIF", "HEIC": "HEIF"}


def exif() -> Image.Exif:
    told = Image.Exif()
    told[0x010E] = "a caption"
    told[0x8825] = {1: "N", 2: (48.0, 8.0, 0.0)}
    return told


@cache
def written(name: str) -> tuple[Photo, bytes]:
    """A photo, and the file that the engine writes of it, here without a cloak."""
    options = {} if name == "TIFF" else {"exif": exif()}
    photo = decode(encoded(portrait(), FORMATS[name], **options), MetadataPolicy(), HeicAs.HEIC)
    return photo, encode(photo, photo.pixels, QUALITY)


@pytest.mark.parametrize("name", FORMATS)
def test_what_the_engine_writes_passes(name: str) -> None:
    photo, data = written(name)

    assert is_as_written(data, photo, photo.pixels, QUALITY)


def jpeg_with(segment: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data[:2] + segment + data[2:]


def app(number: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, 0xE0 + number, len(body) + 2) + body


def thumbnail() -> bytes:
    return encoded(scaled(portrait(), 0.4), "JPEG", quality=60)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_with(more: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data[:-12] + more + data[-12:]


def webp_with(more: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data[:4] + struct.pack("<I", len(data) - 8 + len(more)) + data[8:] + more


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", len(body) + 8, kind) + body


def two_frames(file_format: str) -> Callable[[bytes], bytes]:
    def both(data: bytes) -> bytes:
        out = io.BytesIO()
        with Image.open(io.BytesIO(data)) as image:
            image.save(out, file_format, save_all=True, append_images=[Image.fromarray(portrait())])
        return out.getvalue()

    return both


def deflated_twice(png: bytes) -> bytes:
    """Another picture behind the end of the compressed one."""
    start = png.index(b"IDAT") - 4
    more = zlib.compress(portrait().tobytes(), 1)
    body = b"".join(
        png[at + 4 : at + 4 + struct.unpack_from(">I", png, at - 4)[0]] for at in places_of(png, b"IDAT")
    )
    return png[:start] + chunk(b"IDAT", body + more) + chunk(b"IEND", b"")


def places_of(png: bytes, kind: bytes) -> list[int]:
    at, found = 8, []
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        if png[at + 4 : at + 8] == kind:
            found.append(at + 4)
        at += 12 + length
    return found


def coded_otherwise(data: bytes) -> bytes:
    """A JPEG with more behind its last block, as a decoder passes over it."""
    return data[:-2] + bytes(1000) + data[-2:]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        *((name, lambda data: data + b"\0") for name in ("JPEG", "PNG", "WebP", "TIFF", "AVIF", "HEIC")),
        *((name, lambda data: data + thumbnail()) for name in ("JPEG", "PNG", "WebP", "TIFF", "HEIC")),
        *((name, lambda data: data[: len(data) // 2]) for name in ("JPEG", "PNG", "WebP", "TIFF", "AVIF")),
        *((name, lambda data: data[:-1]) for name in ("JPEG", "PNG", "WebP", "TIFF", "AVIF", "HEIC")),
        *((name, lambda data: data[:0]) for name in ("JPEG", "PNG")),
        ("JPEG", jpeg_with(app(1, b"Exif\0\0" + exif().tobytes().removeprefix(b"Exif\0\0")))),
        ("JPEG", jpeg_with(app(1, b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0" + thumbnail()))),
        ("JPEG", jpeg_with(app(0, b"JFXX\0\x10" + thumbnail()))),
        ("JPEG", jpeg_with(app(2, b"MPF\0" + bytes(20)))),
        ("JPEG", jpeg_with(struct.pack(">BBH", 0xFF, 0xFE, 12) + b"a comment.")),
        ("JPEG", coded_otherwise),
        ("JPEG", two_frames("MPO")),
        ("PNG", png_with(chunk(b"tEXt", b"Comment\0a name"))),
        ("PNG", png_with(chunk(b"eXIf", exif().tobytes().removeprefix(b"Exif\0\0")))),
        ("PNG", two_frames("PNG")),
        ("PNG", deflated_twice),
        ("WebP", webp_with(b"THMB" + struct.pack("<I", 4) + b"face")),
        ("WebP", two_frames("WEBP")),
        ("TIFF", two_frames("TIFF")),
        ("AVIF", lambda data: data + box(b"free", thumbnail())),
        ("HEIC", lambda data: data + box(b"mdat", thumbnail())),
    ],
)
def test_files_with_more_or_less_than_the_engine_writes_are_told(
    name: str, change: Callable[[bytes], bytes]
) -> None:
    photo, data = written(name)
    false = change(data)

    assert false != data
    assert not is_as_written(false, photo, photo.pixels, QUALITY)


@pytest.mark.parametrize("quality", [95, 97, 99, 100])
@pytest.mark.parametrize("name", ["JPEG", "AVIF", "HEIC"])
@pytest.mark.parametrize("is_noisy", [False, True])
def test_whatever_the_picture_shows_and_however_finely_it_is_written(
    name: str, quality: int, is_noisy: bool
) -> None:
    photo, _ = written(name)
    noise = np.random.default_rng(0).integers(0, 24, photo.pixels.shape, dtype=np.uint8)
    pixels = photo.pixels // 2 + noise if is_noisy else photo.pixels

    assert is_as_written(encode(photo, pixels, quality), photo, pixels, QUALITY)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("options", [{}, {"progressive": True, "quality": 60}, {"subsampling": 0}])
def test_a_jpeg_may_keep_its_own_blocks_and_its_orientation(
    orientation: int, options: dict[str, object]
) -> None:
    told = exif()
    told[0x0112] = orientation
    photo = decode(encoded(portrait(), "JPEG", exif=told, icc_profile=srgb_profile(), **options))
    source = Source(photo.jpeg or b"", photo.lies)
    blocks = Transplant(Host.of(source, QUALITY))
    blocks.replace(photo.pixels, [(30, 30, 100, 120)])

    for data in (transplanted(photo, blocks), encode(photo, photo.pixels, 97)):
        assert is_as_written(data, photo, photo.pixels, QUALITY)


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("kind", ["grey", "alpha"])
def test_grey_and_transparent_photos(file_format: str, kind: str) -> None:
    opaque = np.full(portrait().shape[:2], 255, np.uint8)
    opaque[:40] = np.arange(272) % 256
    pixels = np.dstack([portrait(), opaque]) if kind == "alpha" else grey(portrait())
    photo = decode(encoded(pixels, file_format))

    assert is_as_written(encode(photo, photo.pixels, QUALITY), photo, photo.pixels, QUALITY)
