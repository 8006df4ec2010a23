"""Photos that carry everything a photo can: what must be published, and what must not."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from functools import cache
from typing import Any

import pillow_heif
from engine_pictures import encoded, scaled
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import IFDRational

from fawkes_engine.face.detect import Pixels
from fawkes_engine.photo.captions import iptc_segment

# every one of these strings stands in an item that must not be published
SECRETS = (
    b"SERIAL-4711",
    b"OWNER-NAME",
    b"MAKER-NOTE",
    b"USER-COMMENT",
    b"A-PERSON",
    b"A-KEYWORD",
    b"A-CITY",
)

XMP = b"""<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:xmpGImg="http://ns.adobe.com/xap/1.0/g/img/" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:aux="http://ns.adobe.com/exif/1.0/aux/"
 xmlns:xmpNote="http://ns.adobe.com/xmp/note/" xmlns:GImage="http://ns.google.com/photos/1.0/image/"
 xmp:Rating="4" photoshop:City="A-CITY" photoshop:Credit="An Agency" aux:SerialNumber="SERIAL-4711"
 xmpNote:HasExtendedXMP="0123456789ABCDEF0123456789ABCDEF" GImage:Data="/9j/4AAQSkZJRg">
<dc:creator><rdf:Seq><rdf:li>Jos\xc3\xa9 Fot\xc3\xb3grafo</rdf:li></rdf:Seq></dc:creator>
<dc:rights><rdf:Alt><rdf:li xml:lang="x-default">(c) 2026 &lt;all&gt;</rdf:li></rdf:Alt></dc:rights>
<dc:description><rdf:Alt><rdf:li xml:lang="x-default">At the sea</rdf:li></rdf:Alt></dc:description>
<dc:subject><rdf:Bag><rdf:li>A-KEYWORD</rdf:li></rdf:Bag></dc:subject>
<Iptc4xmpExt:PersonInImage><rdf:Bag><rdf:li>A-PERSON</rdf:li></rdf:Bag></Iptc4xmpExt:PersonInImage>
<xmp:Thumbnails><rdf:Alt><rdf:li rdf:parseType="Resource"><xmpGImg:image>/9j/4AAQSkZJRg</xmpGImg:image></rdf:li>
</rdf:Alt></xmp:Thumbnails></rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF")
ORIENTATION = 0x0112
EXIF_IFD, GPS_IFD = 0x8769, 0x8825

pillow_heif.register_heif_opener()


@dataclass(frozen=True)
class Told:
    """What a published photo must still say, as Pillow reads it from EXIF."""

    main: dict[int, Any]
    details: dict[int, Any]


TOLD = Told(
    main={
        0x010E: "At the sea",
        0x0132: "2026:11:22 10:00:00",
        0x013B: "An Artist",
        0x8298: "(c) 2026",
        0x4746: 4,
    },
    details={
        0x9003: "2026:11:22 09:59:58",
        0x9011: "+01:00",
        0x9291: "123",
        0x829A: IFDRational(1, 250),
        0x829D: IFDRational(28, 10),
        0x8827: 200,
        0x9204: IFDRational(-1, 2),
        0xA434: "A Lens 50mm",
    },
)


def exif(orientation: int = 1, *, thumbnail: bytes = b"") -> bytes:
    """An EXIF block, as cameras write it: TOLD, secrets, a place, and a thumbnail behind a second directory."""
    tags = Image.Exif()
    tags[ORIENTATION] = orientation
    tags[0x010F], tags[0x0110] = "Maker", "Model 1"
    tags[0xC62F] = "SERIAL-4711"
    tags[0x9C9E] = "A-KEYWORD".encode("utf-16-le")
    for tag, value in TOLD.main.items():
        tags[tag] = value
    tags[EXIF_IFD] = {
        **TOLD.details,
        0x927C: b"MAKER-NOTE" + thumbnail,
        0x9286: b"ASCII\0\0\0USER-COMMENT",
        0xA430: "OWNER-NAME",
        0xA431: "SERIAL-4711",
        0xA435: "SERIAL-4711",
        0x9214: (100, 100, 50, 50),
        0xA002: 4000,
        0xA003: 3000,
    }
    tags[GPS_IFD] = {0: b"\2\3\0\0", 1: "N", 2: (48.0, 51.0, 24.0), 3: "E", 4: (2.0, 21.0, 7.0)}
    return _with_second_directory(tags.tobytes().removeprefix(b"Exif\0\0"), thumbnail)


def photo(pixels: Pixels, file_format: str, orientation: int = 1, **options: Any) -> bytes:
    """The picture with all that its format can carry."""
    options |= {"icc_profile": srgb_profile(), "dpi": (300, 300)}
    block = exif(orientation, thumbnail=encoded(scaled(pixels, 0.3), "JPEG"))
    if file_format == "TIFF":
        return _tiff(pixels, block, options)
    options["exif"] = b"Exif\0\0" + block
    if file_format == "PNG":
        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP.decode())
        options["pnginfo"].add_text("Comment", "USER-COMMENT")
    else:
        options["xmp"] = XMP
    if file_format == "WEBP":
        options["lossless"] = True
    if file_format == "JPEG":
        options |= {
            "extra": iptc_segment(_iptc()) + b"\xff\xe5\0\x0eUSER-COMMENT",
            "comment": b"USER-COMMENT",
        }
    return encoded(pixels, file_format, **options)


@cache
def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _iptc() -> bytes:
    records = {
        90: b"A-CITY",
        25: b"A-KEYWORD",
        80: "José".encode("latin-1"),
        116: b"(c) 2026",
        120: b"At the sea",
    }
    return b"".join(struct.pack(">BBBH", 0x1C, 2, n, len(text)) + text for n, text in records.items())


def _with_second_directory(block: bytes, thumbnail: bytes) -> bytes:
    order = "<" if block[:2] == b"II" else ">"
    (start,) = struct.unpack_from(f"{order}I", block, 4)
    (count,) = struct.unpack_from(f"{order}H", block, start)
    pointer = start + 2 + 12 * count
    second = len(block)
    entries = ((0x0103, 3, 6), (0x0201, 4, second + 2 + 36 + 4), (0x0202, 4, len(thumbnail)))
    table = struct.pack(f"{order}H", len(entries))
    for tag, kind, value in entries:
        table += struct.pack(f"{order}HHI", tag, kind, 1)
        table += struct.pack(
            f"{order}HH" if kind == 3 else f"{order}I", *((value, 0) if kind == 3 else (value,))
        )
    table += bytes(4) + thumbnail
    return block[:pointer] + struct.pack(f"{order}I", second) + block[pointer + 4 :] + table


def _tiff(pixels: Pixels, block: bytes, options: dict[str, Any]) -> bytes:
    tags = Image.Exif()
    tags.load(b"Exif\0\0" + block)
    details = tags.get_ifd(EXIF_IFD)
    tags[EXIF_IFD], tags[0x02BC] = details, XMP
    del tags[GPS_IFD]
    out = io.BytesIO()
    # uncompressed: only then does Pillow write the EXIF directory
    Image.fromarray(pixels).save(out, "TIFF", exif=tags, **options)
    return out.getvalue()
