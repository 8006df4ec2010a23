"""What a published photo says about itself."""

from __future__ import annotations

import io
import json
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
import rich_photos
from engine_pictures import astronaut, encoded, opened, scaled
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps, IptcImagePlugin
from rich_photos import EXIF_IFD, FORMATS, GPS_IFD, SECRETS, TOLD
from scan import scan

from fawkes_engine import HeicAs, MetadataPolicy
from fawkes_engine.photo.captions import iptc_segment
from fawkes_engine.photo.decode import decode
from fawkes_engine.photo.encode import encode

SMALL = scaled(astronaut(), 0.25)[:64, :96]
EVERYTHING = MetadataPolicy(gps=True)


def published(data: bytes, policy: MetadataPolicy = MetadataPolicy()) -> bytes:  # noqa: B008 - frozen
    photo = decode(data, policy, HeicAs.HEIC)
    return encode(photo, photo.pixels, 95)


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_published_file_has_one_picture_and_no_secret(file_format: str) -> None:
    source = rich_photos.photo(SMALL, file_format, orientation=6)
    assert all(secret in source for secret in SECRETS)
    assert scan(source)
    result = published(source)
    assert scan(result) == []
    assert [secret for secret in SECRETS if secret in result] == []


@pytest.mark.parametrize("file_format", FORMATS)
def test_dates_exposure_rights_and_caption_are_kept(file_format: str) -> None:
    exif = opened(published(rich_photos.photo(SMALL, file_format))).getexif()
    details = exif.get_ifd(EXIF_IFD)
    assert {tag: exif.get(tag) for tag in TOLD.main} == TOLD.main
    assert {tag: details.get(tag) for tag in TOLD.details} == TOLD.details
    assert (exif[0x010F], exif[0x0110]) == ("Maker", "Model 1")


@pytest.mark.parametrize("file_format", FORMATS)
def test_rights_caption_and_rating_are_kept_in_xmp(file_format: str) -> None:
    packet = opened(published(rich_photos.photo(SMALL, file_format))).info["xmp"].decode()
    for kept in ("José Fotógrafo", "(c) 2026 &lt;all&gt;", "At the sea", "An Agency", ">4</xmp:Rating>"):
        assert kept in packet


def test_rights_and_caption_are_kept_in_iptc_as_utf8() -> None:
    records = IptcImagePlugin.getiptcinfo(opened(published(rich_photos.photo(SMALL, "JPEG"))))  # type: ignore[arg-type]
    assert records == {
        (1, 90): b"\x1b%G",
        (2, 80): "José".encode(),
        (2, 116): b"(c) 2026",
        (2, 120): b"At the sea",
    }


@pytest.mark.parametrize("file_format", sorted({*FORMATS} - {"TIFF"}))
def test_the_place_is_kept_only_on_request(file_format: str) -> None:
    source = rich_photos.photo(SMALL, file_format)
    assert not opened(published(source)).getexif().get_ifd(GPS_IFD)
    place = opened(published(source, EVERYTHING)).getexif().get_ifd(GPS_IFD)
    assert place == opened(source).getexif().get_ifd(GPS_IFD)


def test_the_camera_is_left_out_on_request() -> None:
    exif = opened(published(rich_photos.photo(SMALL, "JPEG"), MetadataPolicy(camera=False))).getexif()
    assert not {0x010F, 0x0110} & set(exif)
    assert not {0x829A, 0x829D, 0x8827, 0xA434} & set(exif.get_ifd(EXIF_IFD))
    assert exif.get_ifd(EXIF_IFD)[0x9003] == TOLD.details[0x9003]


@pytest.mark.parametrize("file_format", FORMATS)
def test_everything_is_left_out_on_request_but_profile_and_resolution(file_format: str) -> None:
    again = opened(published(rich_photos.photo(SMALL, file_format), MetadataPolicy(all=False)))
    assert again.info["icc_profile"] == rich_photos.srgb_profile()
    assert not again.info.get("xmp")
    assert not set(again.getexif()) & (set(TOLD.main) | {EXIF_IFD})


@pytest.mark.parametrize("file_format", FORMATS)
def test_the_dimensions_are_those_of_the_upright_pixels(file_format: str) -> None:
    again = opened(published(rich_photos.photo(SMALL, file_format, orientation=6)))
    turned = file_format != "TIFF"  # Pillow lays out a TIFF anew and forgets the orientation given here
    details = again.getexif().get_ifd(EXIF_IFD)
    assert again.size == ((64, 96) if turned else again.size)
    assert ImageOps.exif_transpose(again).size == again.size
    if file_format != "TIFF":
        assert (details[0xA002], details[0xA003]) == again.size


def test_a_long_caption_is_cut_so_that_no_picture_hides_in_it() -> None:
    exif = Image.Exif()
    exif[0x010E] = "/9j/" + "A" * 20_000
    result = published(
        encoded(SMALL, "JPEG", exif=exif, xmp=rich_photos.XMP.replace(b"At the", b"x" * 20_000))
    )
    assert len(opened(result).getexif()[0x010E]) == 2000
    assert len(opened(result).info["xmp"]) < 4000


def iptc(data: bytes) -> dict[tuple[int, int], Any]:
    with Image.open(io.BytesIO(data)) as image:
        return dict(IptcImagePlugin.getiptcinfo(image) or {})


def xmp_of(properties: bytes) -> bytes:
    """A packet with this content, and nothing else."""
    head, _, _ = rich_photos.XMP.partition(b"<dc:creator>")
    return head + properties + b"</rdf:Description></rdf:RDF></x:xmpmeta>"


TITLE = b"<dc:title>" + b"/9j/" + b"A" * 1900 + b"</dc:title>"
IN_ALL_LANGUAGES = b"".join(b'<rdf:li xml:lang="l%d">%s</rdf:li>' % (n, b"&amp;" * 1900) for n in range(16))


@pytest.mark.parametrize("file_format", ["WEBP", "AVIF"])  # what a JPEG holds of it is bounded by the format
@pytest.mark.parametrize(
    "properties",
    [
        TITLE * 60,
        b"".join(
            b"<dc:%s><rdf:Alt>%s</rdf:Alt></dc:%s>" % (name, IN_ALL_LANGUAGES, name)
            for name in (b"title", b"rights", b"description")
        ),
        b'<dc:title><rdf:Alt><rdf:li xml:lang="' + b"'&amp;" * 5000 + b'">a</rdf:li></rdf:Alt></dc:title>',
    ],
    ids=["one property many times", "many languages", "a language that is none"],
)
def test_no_picture_hides_in_many_captions(file_format: str, properties: bytes) -> None:
    result = published(encoded(SMALL, file_format, xmp=xmp_of(properties)))
    assert 0 < len(opened(result).info["xmp"]) < 48_000


def test_no_picture_hides_in_what_should_be_short() -> None:
    exif = Image.Exif()
    exif[0x010F] = exif[0x0132] = exif[0x0110] = "/9j/" + "A" * 20_000
    kept = opened(published(encoded(SMALL, "JPEG", exif=exif))).getexif()
    assert [len(kept.get(tag, "")) for tag in (0x010F, 0x0110, 0x0132)] == [128, 128, 0]


def test_iptc_that_grows_as_utf8_still_fits_into_its_segment() -> None:
    record = struct.pack(">BBBH", 0x1C, 2, 120, 1900) + b"\xe9" * 1900
    source = encoded(SMALL, "JPEG", extra=iptc_segment(record * 30))
    captions = iptc(published(source))[2, 120]
    assert sum(len(text.decode()) for text in captions) == 8000


def test_captions_cannot_steer_a_terminal() -> None:
    exif = Image.Exif()
    exif[0x010E] = "\x1b[2Jat\tthe\nsea\x07\x7f"
    record = struct.pack(">BBBH", 0x1C, 2, 120, 10) + b"\x1b]0;hi\x07xx"
    result = published(encoded(SMALL, "JPEG", exif=exif, extra=iptc_segment(record)))
    assert opened(result).getexif()[0x010E] == "[2Jat\tthe\nsea"
    assert iptc(result)[2, 120] == b"]0;hixx"


def test_xmp_with_entities_is_left_out() -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaa">]>' + rich_photos.XMP
    assert "xmp" not in opened(published(encoded(SMALL, "JPEG", xmp=bomb))).info


def test_a_second_publication_says_the_same() -> None:
    once = published(rich_photos.photo(SMALL, "PNG"), EVERYTHING)
    assert published(once, EVERYTHING) == once


@settings(max_examples=200)
@given(st.data())
def test_damaged_metadata_never_fails_a_photo(data: st.DataObject) -> None:
    block = bytearray(rich_photos.exif())
    packet = bytearray(rich_photos.XMP)
    for damaged in (block, packet):
        for _ in range(data.draw(st.integers(0, 6))):
            damaged[data.draw(st.integers(0, min(len(damaged), 400) - 1))] = data.draw(st.integers(0, 255))
    source = encoded(SMALL, "JPEG", exif=b"Exif\0\0" + bytes(block), xmp=bytes(packet))
    result = published(source)
    assert opened(result).size in {(96, 64), (64, 96)}
    assert scan(result) == []


def exiftool(path: Path) -> dict[str, Any]:
    told = subprocess.run(
        ["exiftool", "-json", "-groupNames1", "-duplicates", "-unknown", path],
        capture_output=True,
        check=True,
    )
    (tags,) = json.loads(told.stdout)
    return dict(tags)


@pytest.mark.skipif(
    not shutil.which("exiftool"), reason="exiftool is missing: apt install libimage-exiftool-perl"
)
@pytest.mark.parametrize("file_format", FORMATS)
def test_exiftool_finds_nothing_that_is_not_on_the_list(file_format: str, tmp_path: Path) -> None:
    path = tmp_path / f"photo.{file_format.lower()}"
    path.write_bytes(published(rich_photos.photo(SMALL, file_format, orientation=6)))
    found = exiftool(path)
    names = {name.rpartition(":")[2] for name in found}
    forbidden = (
        "Thumbnail",
        "Preview",
        "Serial",
        "Owner",
        "Maker",
        "Person",
        "Region",
        "Keyword",
        "Subject",
        "City",
    )
    assert not [name for name in names if name.startswith("GPS") or any(word in name for word in forbidden)]
    assert not {name.partition(":")[0] for name in found} & {
        "IFD1",
        "MPF0",
        "Trailer",
        "JUMBF",
        "Photoshop",
        "GPS",
    }
    assert found["ExifIFD:LensModel"] == "A Lens 50mm"
    assert found["XMP-dc:Creator"] == "José Fotógrafo"
