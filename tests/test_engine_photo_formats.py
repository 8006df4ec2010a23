"""Which kinds of picture are taken, and what is said about the others."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from engine_pictures import astronaut, encoded, opened, scaled
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from fawkes_engine import Unreadable, Unsupported
from fawkes_engine.photo.decode import decode

SMALL = scaled(astronaut(), 0.25)


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + kind + body


def tiff(**tags: int | bytes) -> bytes:
    directory = ImageFileDirectory_v2()
    for tag, value in tags.items():
        directory[int(tag.removeprefix("t"))] = value
    return encoded(SMALL, "TIFF", tiffinfo=directory)


FOREIGN = {
    "video": (
        box(b"ftyp", b"isom\0\0\2\0isomiso2mp41"),
        box(b"ftyp", b"mp42\0\0\0\0"),
        box(b"ftyp", b"qt  \0\0\0\0"),
        b"\x1aE\xdf\xa3\x01\0\0\0",
        b"RIFF\0\0\0\0AVI LIST",
    ),
    "raw": (
        box(b"ftyp", b"crx \0\0\0\1crx isom"),
        b"FUJIFILMCCD-RAW 0201",
        b"IIRO\x08\0\0\0",
        b"IIU\0\x08\0\0\0",
        tiff(t50706=b"\1\4\0\0"),  # DNG: its first page is a preview
        tiff(t254=1),  # NEF, ARW: so is theirs
    ),
    "GIF": (encoded(SMALL, "GIF"),),
    "JPEG 2000": (encoded(SMALL, "JPEG2000"), b"\0\0\0\x0cjP  \r\n\x87\n"),
    "JPEG XL": (b"\xff\x0a\x00", b"\0\0\0\x0cJXL \r\n\x87\n"),
    "Photoshop": (b"8BPS\0\1" + bytes(20),),
    "document": (b"%PDF-1.7\n",),
}


@pytest.mark.parametrize(
    ("kind", "data"), [(kind, data) for kind, files in FOREIGN.items() for data in files]
)
def test_a_foreign_kind_is_named_with_what_to_do(kind: str, data: bytes) -> None:
    with pytest.raises(Unsupported, match="export") as refusal:
        decode(data)
    assert kind in str(refusal.value)


def test_the_parsers_of_foreign_kinds_never_see_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(SMALL, "GIF")
    opened(data)  # Pillow knows the format
    for plugin in ("GIF", "BMP", "PSD", "EPS"):
        monkeypatch.setitem(Image.OPEN, plugin, (pytest.fail, lambda _prefix: True))
    with pytest.raises(Unsupported):
        decode(data)


@pytest.mark.parametrize("file_format", ["AVIF", "HEIF"])
def test_more_than_8_bits_of_avif_and_heic_are_refused(file_format: str) -> None:
    if file_format == "AVIF":  # Pillow writes no deep AVIF: an 8-bit one is told to be one
        data = encoded(SMALL, "AVIF")
        at = data.index(b"av1C") + 6
        data = data[:at] + bytes([data[at] | 0x40]) + data[at + 1 :]
        data = data.replace(b"pixi\0\0\0\0\3\x08\x08\x08", b"pixi\0\0\0\0\3\x0a\x0a\x0a")
    else:
        deep = Image.frombytes("I;16", (64, 64), np.arange(64 * 64, dtype="<u2").tobytes())
        data = encoded(deep, "HEIF")
    with pytest.raises(Unsupported, match="8 bits"):
        decode(data)


def coded(primaries: int, transfer: int) -> bytes:
    """An AVIF file whose colours are told by codes."""
    data = encoded(SMALL, "AVIF")
    at = data.index(b"colrnclx") + 8
    return data[:at] + struct.pack(">HH", primaries, transfer) + data[at + 4 :]


@pytest.mark.parametrize(("primaries", "transfer"), [(12, 13), (9, 16), (9, 18), (1, 16), (1, 8), (1, 4)])
def test_colours_that_would_be_lost_are_refused(primaries: int, transfer: int) -> None:
    for ordinary in ((1, 13), (1, 1), (6, 6), (2, 2)):
        decode(coded(*ordinary))
    with pytest.raises(Unsupported, match="sRGB"):
        decode(coded(primaries, transfer))


def test_an_empty_file_is_unreadable() -> None:
    with pytest.raises(Unreadable, match="no picture"):
        decode(b"")
