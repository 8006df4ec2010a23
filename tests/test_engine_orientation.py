"""Which way up a photo is: told by the format's own place, and by nothing else.

What is right is what a browser shows of files made as here, and what exiftool reads in the format's own place.
Chromium turns JPEG and PNG by EXIF's tag and AVIF by `irot`; WebP it never turns, other programs do. XMP turns nothing.
"""

from __future__ import annotations

import base64
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_pictures import astronaut, encoded, scaled
from hypothesis import given
from hypothesis import strategies as st
from PIL.PngImagePlugin import PngInfo
from raw_exif import block, short
from rich_photos import FORMATS

from fawkes_engine import HeicAs
from fawkes_engine.photo import directory
from fawkes_engine.photo.decode import decode
from fawkes_engine.photo.encode import encode

SMALL = scaled(astronaut(), 0.25)[:40, :64]
UPRIGHT, ON_ITS_SIDE = (40, 64), (64, 40)
ORIENTATION = 0x0112
_START = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"'
    ' xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/"'
)
_END = "</rdf:Description></rdf:RDF></x:xmpmeta>"
XMP = {
    "of this picture": f'{_START} tiff:Orientation="6">{_END}',
    "of another picture": f'{_START}><xmpMM:DerivedFrom rdf:parseType="Resource"><tiff:Orientation>6</tiff:Orientation>'
    f"</xmpMM:DerivedFrom>{_END}",
}


def photo(file_format: str, *, exif: int | None = None, xmp: str = "") -> bytes:
    """A picture with an orientation in EXIF, for AVIF and HEIC in `irot`, and with XMP."""
    tags = block({ORIENTATION: short(exif)}) if exif else None
    if file_format == "TIFF":
        more: directory.Directory = {0x02BC: directory.Value(1, xmp.encode())} if xmp else {}
        if exif:
            more[ORIENTATION] = directory.Value(3, bytes([exif, 0]))
        return directory.with_tags(encoded(SMALL, "TIFF", compression="tiff_adobe_deflate"), more)
    options: dict[str, Any] = {"exif": b"Exif\0\0" + tags} if tags else {}
    if file_format == "PNG" and xmp:
        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp)
    elif xmp:  # hidden from the writers: that of HEIC makes an `irot` of it
        options["xmp"] = xmp.replace("Orientation", "ORIENTATION").encode()
    return encoded(SMALL, file_format, **options).replace(b"tiff:ORIENTATION", b"tiff:Orientation")


def shape(data: bytes) -> tuple[int, ...]:
    """Of the pixels, as read and as read from what is published."""
    read = decode(data, heic=HeicAs.HEIC)
    again = decode(encode(read, read.pixels, 95), heic=HeicAs.HEIC)
    assert again.pixels.shape == read.pixels.shape
    return read.pixels.shape[:2]


@pytest.mark.parametrize("whose", XMP)
@pytest.mark.parametrize("file_format", FORMATS)
def test_xmp_turns_no_photo(file_format: str, whose: str) -> None:
    data = photo(file_format, xmp=XMP[whose])
    assert b"tiff:Orientation" in data
    assert shape(data) == UPRIGHT


@pytest.mark.parametrize("whose", XMP)
@pytest.mark.parametrize("file_format", FORMATS)
def test_the_formats_own_orientation_counts_whatever_xmp_says(file_format: str, whose: str) -> None:
    for lies, expected in ((8, ON_ITS_SIDE), (1, UPRIGHT), (3, UPRIGHT)):
        data = photo(file_format, exif=lies, xmp=XMP[whose])
        assert shape(data) == expected
        plain = decode(photo(file_format, exif=lies), heic=HeicAs.HEIC).pixels
        assert np.array_equal(decode(data, heic=HeicAs.HEIC).pixels, plain)


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
@pytest.mark.parametrize("lies", [None, 1, 3, 6, 8])
def test_a_photo_lies_as_exiftool_reads_it(tmp_path: Path, lies: int | None) -> None:
    for file_format in FORMATS:
        data = photo(file_format, exif=lies, xmp=XMP["of this picture"])
        (tmp_path / file_format).write_bytes(data)
        tags = ["-IFD0:Orientation", "-QuickTime:Rotation"]
        command = ["exiftool", "-n", "-s3", *tags, str(tmp_path / file_format)]
        read = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        is_turned = {"6", "8"} if file_format not in {"AVIF", "HEIF"} else {"90", "270"}
        assert shape(data) == (ON_ITS_SIDE if is_turned & set(read) else UPRIGHT), (file_format, read)


@pytest.mark.browser
def test_a_photo_lies_as_a_browser_shows_it() -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no chromium is installed")
    show = """async (address) => {
        const picture = new Image(); picture.src = address; await picture.decode();
        return [picture.naturalHeight, picture.naturalWidth];
    }"""
    with playwright.sync_playwright() as driver:
        page = driver.chromium.launch(executable_path=program, args=["--no-sandbox"]).new_page()
        for file_format in ("JPEG", "PNG", "AVIF"):
            for lies in (None, 1, 3, 6, 8):
                data = photo(file_format, exif=lies, xmp=XMP["of this picture"])
                address = f"data:image/{file_format.lower()};base64,{base64.b64encode(data).decode()}"
                assert tuple(page.evaluate(show, address)) == shape(data), (file_format, lies)


def test_exif_of_an_avif_does_not_turn_it() -> None:
    """Only `irot` and `imir` do (MIAF, ISO/IEC 23000-22, 7.3.6.7); Chromium shows such a file as it lies."""
    other, turning = block({ORIENTATION + 1: short(6)}), block({ORIENTATION: short(6)})
    data = encoded(SMALL, "AVIF", exif=other)
    assert shape(data.replace(other, turning)) == UPRIGHT
    assert shape(encoded(SMALL, "AVIF", exif=turning)) == ON_ITS_SIDE


def test_the_text_that_imagemagick_writes_into_a_png_does_not_turn_it() -> None:
    """It is kept as far as it tells rights; browsers know the chunk eXIf alone."""
    tags = b"Exif\0\0" + block({ORIENTATION: short(6), 0x013B: (2, 4, b"Zoe\0")})
    info = PngInfo()
    info.add_text("Raw profile type exif", f"\nexif\n{len(tags):8}\n{tags.hex()}\n")
    data = encoded(SMALL, "PNG", pnginfo=info)
    assert shape(data) == UPRIGHT
    assert decode(data).metadata.exif[0x013B] == directory.Value(2, b"Zoe\0")


@given(
    kind=st.sampled_from([1, 2, 3, 4, 5, 7, 129]), value=st.integers(0, 2**16 - 1), number=st.integers(0, 3)
)
def test_a_senseless_orientation_turns_nothing(kind: int, value: int, number: int) -> None:
    entry = (kind, number, value.to_bytes(2, "little") + bytes(6))
    tagged = encoded(SMALL, "JPEG", exif=b"Exif\0\0" + block({ORIENTATION: entry}))
    lying = decode(tagged).pixels.shape[:2]
    assert lying == UPRIGHT or 5 <= value <= 8
