"""Look into a published file for anything but its one picture: a second judge, with parsers of its own.

`scan` returns a line for every second picture of any kind, every block that should not be there, every byte
after the end, and every forbidden item of EXIF, XMP or IPTC. An empty list is a clean file.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

_PICTURES = {
    "JPEG": b"\xff\xd8\xff",
    "PNG": b"\x89PNG",
    "HEIF or video": b"ftyp",
    "WebP": b"WEBP",
    "JPEG in base64": b"/9j/",
    "PNG in base64": b"iVBORw0KGgo",
    "TIFF": b"MM\0*",
}
_FORBIDDEN_TAGS = {
    0x0103: "compression (of a thumbnail)",
    0x014A: "SubIFDs",
    0x0201: "thumbnail",
    0x0202: "thumbnail",
    0x02BC: "XMP in EXIF",
    0x83BB: "IPTC in EXIF",
    0x8649: "Photoshop block",
    0x9214: "SubjectArea",
    0x927C: "MakerNote",
    0x9286: "UserComment",
    0x9C9B: "XPTitle",
    0x9C9C: "XPComment",
    0x9C9D: "XPAuthor",
    0x9C9E: "XPKeywords",
    0x9C9F: "XPSubject",
    0xA420: "ImageUniqueID",
    0xA430: "CameraOwnerName",
    0xA431: "BodySerialNumber",
    0xA435: "LensSerialNumber",
    0xC4A5: "PrintIM",
    0xC62F: "CameraSerialNumber",
    0xEA1C: "Padding",
}
_OF_A_TIFF_FILE = {0x0103, 0x02BC, 0x83BB}  # its own compression, XMP and IPTC
_FORBIDDEN_XMP = re.compile(
    rb"Thumbnail|PersonInImage|Region|HasExtendedXMP|GDepth|GImage|GCamera|GPano|MicrosoftPhoto|SerialNumber"
    rb"|OwnerName|dc:subject|hdrgm|Container|History|DocumentID|InstanceID|GPS|photoshop:City|Location"
)
_IPTC_ALLOWED = {(1, 90), *((2, number) for number in (5, 55, 60, 62, 63, 80, 105, 110, 115, 116, 120))}
_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_PIXEL_SEGMENTS = {0xDB, 0xC4, 0xDD, 0xC0, 0xC1, 0xC2}  # tables and frame
_PNG_PIXELS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"pHYs"}
_PNG_COLOURS = {b"cICP": 4, b"sRGB": 1, b"gAMA": 4, b"cHRM": 32}  # bytes
_POINTERS = {0x8769: "ExifIFD", 0xA005: "InteropIFD", 0x8825: "GPS"}
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}


@dataclass(slots=True)
class Found:
    """What a container holds besides pixels."""

    exif: list[bytes] = field(default_factory=list)
    xmp: list[bytes] = field(default_factory=list)
    iptc: list[bytes] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


_ORIENTATION = "orientation {}"


def scan(data: bytes, *, gps: bool = False, lies: int = 1) -> list[str]:
    """Return every fault of a published file.

    gps: a place is allowed in it. lies: the orientation of its source, which a JPEG keeps that is written into its own
    blocks; any other is a fault.
    """
    found = Found()
    if data.startswith(b"\xff\xd8"):
        _jpeg(data, found)
    elif data.startswith(b"\x89PNG"):
        _png(data, found)
    elif data.startswith(b"RIFF"):
        _webp(data, found)
    elif data[4:8] == b"ftyp":
        _heif(data, found)
    else:
        found.faults += _tiff_faults(data, gps=gps, file=True)
    for name, blocks in (("EXIF", found.exif), ("XMP", found.xmp), ("IPTC", found.iptc)):
        if len(blocks) > 1:
            found.faults.append(f"{len(blocks)} blocks of {name}")
        found.faults += [f"{what} in {name}" for block in blocks for what in _pictures(block)]
    for block in found.exif:
        found.faults += _tiff_faults(block.removeprefix(b"Exif\0\0"), gps=gps, file=False)
    for block in found.xmp:
        found.faults += [f"XMP {word.decode()}" for word in _FORBIDDEN_XMP.findall(block)]
    for block in found.iptc:
        found.faults += _iptc_faults(block)
    return [fault for fault in found.faults if fault != _ORIENTATION.format(lies)]


def _pictures(block: bytes) -> Iterator[str]:
    return (kind for kind, signature in _PICTURES.items() if signature in block)


def _jpeg(data: bytes, found: Found) -> None:
    at = 2
    while True:
        marker = data[at + 1]
        assert data[at] == 0xFF, f"no marker at {at}"
        if marker == _EOI:
            break
        (length,) = struct.unpack_from(">H", data, at + 2)
        body = data[at + 4 : at + 2 + length]
        at += 2 + length
        if marker == _SOS:
            at = _behind_the_scan(data, at)
        elif marker not in _PIXEL_SEGMENTS:
            _jpeg_segment(marker, body, found)
    if at + 2 != len(data):
        found.faults.append(f"{len(data) - at - 2} bytes after the end")


def _behind_the_scan(data: bytes, at: int) -> int:
    """Entropy-coded data has no marker but restarts; stuffed zeros follow its own FF bytes."""
    for marker in re.compile(rb"\xff([^\x00\xd0-\xd7\xff])").finditer(data, at):
        return marker.start()
    raise AssertionError("the file has no end")


def _jpeg_segment(marker: int, body: bytes, found: Found) -> None:
    if marker == 0xE0 and body.startswith(b"JFIF\0"):
        if body[12:14] != b"\0\0":
            found.faults.append("JFIF thumbnail")
    elif marker == 0xE1 and body.startswith(b"Exif\0\0"):
        found.exif.append(body)
    elif marker == 0xE1 and body.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
        found.xmp.append(body)
    elif marker == 0xED and body.startswith(b"Photoshop 3.0\x008BIM\x04\x04\0\0"):
        (length,) = struct.unpack_from(">I", body, 22)
        found.iptc.append(body[26 : 26 + length])
        if 26 + length + length % 2 != len(body):
            found.faults.append("a second Photoshop resource")
    elif not (marker == 0xE2 and body.startswith(b"ICC_PROFILE\0")) and marker != 0xEE:
        found.faults.append(f"segment {marker:02X} {body[:12]!r}")


def _png(data: bytes, found: Found) -> None:
    at = 8
    kind = b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + length]
        at += 12 + length
        if kind == b"eXIf":
            found.exif.append(body)
        elif kind == b"iTXt" and body.startswith(b"XML:com.adobe.xmp\0"):
            found.xmp.append(body)
        elif kind not in _PNG_PIXELS | {b"iCCP"} and _PNG_COLOURS.get(kind) != length:
            found.faults.append(f"chunk {kind!r}")
    if at != len(data):
        found.faults.append(f"{len(data) - at} bytes after the end")


def _webp(data: bytes, found: Found) -> None:
    (size,) = struct.unpack_from("<I", data, 4)
    at = 12
    while at < 8 + size:
        kind, length = struct.unpack_from("<4sI", data, at)
        body = data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2
        if kind == b"EXIF":
            found.exif.append(body)
        elif kind == b"XMP ":
            found.xmp.append(body)
        elif kind not in {b"VP8X", b"VP8L", b"VP8 ", b"ALPH", b"ICCP"}:
            found.faults.append(f"chunk {kind!r}")
    if at != len(data):
        found.faults.append(f"{len(data) - at} bytes after the end")


def _heif(data: bytes, found: Found) -> None:
    at = 0
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind not in {b"ftyp", b"meta", b"mdat"}:
            found.faults.append(f"box {kind!r}")
        if kind == b"meta":
            _heif_items(data[at : at + length], found)
        at += length or len(data)
    if at != len(data):
        found.faults.append("bytes after the end")
    exif = re.search(rb"Exif\0\0(?=II|MM)|\0\0\0[\0\x06](?=II\*\0|MM\0\*)", data)
    if exif:
        found.exif.append(data[exif.end() :][:4096])  # where it ends is told elsewhere; ours are shorter
    found.xmp += re.findall(rb"<x:xmpmeta.*?</x:xmpmeta>", data, re.DOTALL)


def _heif_items(meta: bytes, found: Found) -> None:
    pictures = re.findall(rb"infe[\2\3].......?(av01|hvc1|grid|jpeg|tmap)", meta, re.DOTALL)
    alpha = meta.count(b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha") + meta.count(
        b"urn:mpeg:hevc:2015:auxid:1"
    )
    if len(pictures) > 1 + min(alpha, 1):
        found.faults.append(f"{len(pictures)} pictures")
    for reference in (b"thmb", b"urn:com:apple", b"auxid:2", b"hdrgainmap"):
        if reference in meta:
            found.faults.append(f"reference {reference!r}")


def _tiff_faults(data: bytes, *, gps: bool, file: bool) -> Iterator[str]:
    order = "<" if data[:2] == b"II" else ">"
    (start,) = struct.unpack_from(f"{order}I", data, 4)
    yield from _directory_faults(data, start, order, gps=gps, file=file)


def _directory_faults(data: bytes, start: int, order: str, *, gps: bool, file: bool) -> Iterator[str]:
    (count,) = struct.unpack_from(f"{order}H", data, start)
    end = start + 2 + 12 * count
    if struct.unpack_from(f"{order}I", data, end)[0]:
        yield "a second directory (thumbnail or page)"
    for at in range(start + 2, end, 12):
        tag, kind, number, value = struct.unpack_from(f"{order}HHII", data, at)
        if tag in _FORBIDDEN_TAGS and not (file and tag in _OF_A_TIFF_FILE):
            yield f"EXIF {_FORBIDDEN_TAGS[tag]}"
        if tag == 0x8825 and not gps:
            yield "GPS"
        (lies,) = struct.unpack_from(f"{order}H", data, at + 8) if tag == 0x0112 else (1,)
        if lies != 1:
            yield _ORIENTATION.format(lies)
        if tag in _POINTERS:
            yield from _directory_faults(data, value, order, gps=gps, file=False)
        size = _SIZES[kind] * number
        if file and tag == 0x02BC:
            yield from (f"XMP {word.decode()}" for word in _FORBIDDEN_XMP.findall(data[value : value + size]))
        if file and tag == 0x83BB:
            yield from _iptc_faults(data[value : value + size])


def _iptc_faults(block: bytes) -> list[str]:
    at, faults = 0, []
    while at < len(block) and block[at] == 0x1C:
        record, number, length = struct.unpack_from(">BBH", block, at + 1)
        if (record, number) not in _IPTC_ALLOWED:
            faults.append(f"IPTC {record}:{number}")
        at += 5 + length
    return faults
