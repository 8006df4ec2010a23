"""EXIF built anew from an allow-list of tags: nothing of the source's block is copied but these values.

Left out on purpose, as is everything not named here: IFD1 and any thumbnail, MakerNote, UserComment, serial
numbers and owner names (they link accounts), and SubjectArea (phones put the face's place there).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from PIL import Image

from fawkes_engine.types import MetadataPolicy

LONGEST_TEXT = 2000  # letters of any caption: more than anybody writes, less than a thumbnail


class Kind(Enum):
    """The types a TIFF value can have; the value is its number in the file."""

    BYTE = 1
    ASCII = 2
    SHORT = 3
    LONG = 4
    RATIONAL = 5
    UNDEFINED = 7
    SIGNED_RATIONAL = 10


_BYTES_EACH = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}  # of every type


@dataclass(frozen=True, slots=True)
class Value:
    """One tag's value as bytes, little-endian. kind: TIFF's number of the type."""

    kind: int
    data: bytes


Directory = dict[int, "Value | Directory"]  # tag -> value, or the directory it points to

EXIF_IFD, GPS_IFD, INTEROPERABILITY_IFD = 0x8769, 0x8825, 0xA005
_IFD_TABLE_END, _ENTRY = 4, 12  # bytes

_ABOUT = {
    0x010E: Kind.ASCII,  # ImageDescription
    0x011A: Kind.RATIONAL,  # XResolution
    0x011B: Kind.RATIONAL,  # YResolution
    0x0128: Kind.SHORT,  # ResolutionUnit
    0x0132: Kind.ASCII,  # DateTime
    0x013B: Kind.ASCII,  # Artist
    0x4746: Kind.SHORT,  # Rating
    0x4749: Kind.SHORT,  # RatingPercent
    0x8298: Kind.ASCII,  # Copyright
}
_CAMERA = {0x010F: Kind.ASCII, 0x0110: Kind.ASCII}  # Make, Model
_DATES = {
    0x9003: Kind.ASCII,  # DateTimeOriginal
    0x9004: Kind.ASCII,  # DateTimeDigitized
    **dict.fromkeys((0x9010, 0x9011, 0x9012), Kind.ASCII),  # OffsetTime, ...Original, ...Digitized
    **dict.fromkeys((0x9290, 0x9291, 0x9292), Kind.ASCII),  # SubSecTime, ...Original, ...Digitized
}
_COLOUR = {0xA001: Kind.SHORT}  # ColorSpace
_EXPOSURE = {
    0x829A: Kind.RATIONAL,  # ExposureTime
    0x829D: Kind.RATIONAL,  # FNumber
    0x8822: Kind.SHORT,  # ExposureProgram
    0x8827: Kind.SHORT,  # PhotographicSensitivity (ISO)
    0x8830: Kind.SHORT,  # SensitivityType
    0x8831: Kind.LONG,  # StandardOutputSensitivity
    0x8832: Kind.LONG,  # RecommendedExposureIndex
    0x9201: Kind.SIGNED_RATIONAL,  # ShutterSpeedValue
    0x9202: Kind.RATIONAL,  # ApertureValue
    0x9203: Kind.SIGNED_RATIONAL,  # BrightnessValue
    0x9204: Kind.SIGNED_RATIONAL,  # ExposureBiasValue
    0x9205: Kind.RATIONAL,  # MaxApertureValue
    0x9206: Kind.RATIONAL,  # SubjectDistance
    0x9207: Kind.SHORT,  # MeteringMode
    0x9208: Kind.SHORT,  # LightSource
    0x9209: Kind.SHORT,  # Flash
    0x920A: Kind.RATIONAL,  # FocalLength
    0xA402: Kind.SHORT,  # ExposureMode
    0xA403: Kind.SHORT,  # WhiteBalance
    0xA404: Kind.RATIONAL,  # DigitalZoomRatio
    0xA405: Kind.SHORT,  # FocalLengthIn35mmFilm
    **dict.fromkeys((0xA406, 0xA407, 0xA408, 0xA409, 0xA40A, 0xA40C), Kind.SHORT),  # scene ... distance range
    0xA432: Kind.RATIONAL,  # LensSpecification
    0xA433: Kind.ASCII,  # LensMake
    0xA434: Kind.ASCII,  # LensModel
}
_INTEROPERABILITY = {1: Kind.ASCII}  # "R03": Adobe RGB, told in no other way by many cameras
_GPS = {
    **dict.fromkeys((0, 5), Kind.BYTE),  # version, above or below the sea
    **dict.fromkeys((1, 3, 12, 14, 16, 18, 29), Kind.ASCII),  # references, map datum, date
    **dict.fromkeys((2, 4, 6, 7, 11, 13, 15, 17, 31), Kind.RATIONAL),  # place, height, time, heading, error
}
_MOST_VALUES = 4  # of one tag: LensSpecification
_VERSION = Value(Kind.UNDEFINED.value, b"0232")


def read(image: Image.Image, policy: MetadataPolicy) -> Directory:
    """Return what may be published of a photo's EXIF.

    Raises:
        Exception: of many kinds, from Pillow, on a damaged block.
    """
    exif = image.getexif()
    details = exif.get_ifd(EXIF_IFD)
    kept = _allowed(exif, _ABOUT | (_CAMERA if policy.camera else {}))
    inner = _allowed(details, _DATES | _COLOUR | (_EXPOSURE if policy.camera else {}))
    interoperability = _allowed(exif.get_ifd(INTEROPERABILITY_IFD), _INTEROPERABILITY)
    if interoperability:
        inner[INTEROPERABILITY_IFD] = interoperability
    if inner:
        kept[EXIF_IFD] = {0x9000: _VERSION, **inner}
    place = _allowed(exif.get_ifd(GPS_IFD), _GPS) if policy.gps else {}
    if place:
        kept[GPS_IFD] = place
    return kept


def sized(directory: Directory, width: int, height: int) -> Directory:
    """Return the directory with the dimensions of the pixels, px."""
    inner = directory.get(EXIF_IFD)
    if not isinstance(inner, dict):
        return directory
    width_value, height_value = (Value(Kind.LONG.value, struct.pack("<I", side)) for side in (width, height))
    return {**directory, EXIF_IFD: {**inner, 0xA002: width_value, 0xA003: height_value}}


def block(directory: Directory) -> bytes:
    """Return the EXIF block, from its TIFF header on."""
    return b"II*\0" + struct.pack("<I", 8) + _written(directory, 8)


def with_tags(tiff: bytes, more: Directory) -> bytes:
    """Return a little-endian TIFF file of one page with further tags; those it has already stay.

    Pillow writes no directory of EXIF into a compressed TIFF, so a new main directory is put at its end.
    """
    assert tiff[:4] == b"II*\0"  # as Pillow writes it here
    padded = tiff + bytes(len(tiff) % 2)
    whole = _written({**more, **_main_directory(tiff)}, len(padded))
    return padded[:4] + struct.pack("<I", len(padded)) + padded[8:] + whole


def _main_directory(tiff: bytes) -> Directory:
    (start,) = struct.unpack_from("<I", tiff, 4)
    (count,) = struct.unpack_from("<H", tiff, start)
    found: Directory = {}
    for at in range(start + 2, start + 2 + count * _ENTRY, _ENTRY):
        tag, kind, number = struct.unpack_from("<HHI", tiff, at)
        size = _BYTES_EACH[kind] * number
        place = at + 8 if size <= 4 else struct.unpack_from("<I", tiff, at + 8)[0]
        found[tag] = Value(kind, tiff[place : place + size])
    return found


def _written(directory: Directory, offset: int) -> bytes:
    """Return a directory that starts at this offset of its file, and behind it all that it points to."""
    table = struct.pack("<H", len(directory))
    behind = bytearray()
    start_behind = offset + 2 + _ENTRY * len(directory) + _IFD_TABLE_END
    for tag, value in sorted(directory.items()):
        place = start_behind + len(behind)
        if isinstance(value, dict):
            entry = struct.pack("<HHII", tag, Kind.LONG.value, 1, place)
            behind += _written(value, place)
        else:
            number = len(value.data) // _BYTES_EACH[value.kind]
            inline = len(value.data) <= 4
            last = value.data.ljust(4, b"\0") if inline else struct.pack("<I", place)
            entry = struct.pack("<HHI", tag, value.kind, number) + last
            behind += b"" if inline else value.data + bytes(len(value.data) % 2)
        table += entry
    return table + bytes(_IFD_TABLE_END) + bytes(behind)


def _allowed(source: Mapping[int, Any], tags: Mapping[int, Kind]) -> Directory:
    found: Directory = {}
    for tag, kind in tags.items():
        data = _packed(source[tag], kind) if tag in source else b""
        if data:
            found[tag] = Value(kind.value, data)
    return found


def _packed(value: Any, kind: Kind) -> bytes:  # noqa: ANN401 - whatever Pillow read
    """Return the value in the type its tag must have, or nothing if it does not fit."""
    try:
        if kind is Kind.ASCII:
            # Text ends at its first NUL: what a damaged block may hold behind it is no text. Pillow reads bytes as
            # Latin-1, so they come back.
            text = str(value).partition("\0")[0].rstrip().encode("latin-1")
            return text[:LONGEST_TEXT] + b"\0" if text else b""
        values = value if isinstance(value, tuple | bytes) else (value,)
        if len(values) > _MOST_VALUES:
            return b""
        return b"".join(_one(single, kind) for single in values)
    except (AttributeError, OverflowError, TypeError, ValueError, struct.error):
        return b""


def _one(value: Any, kind: Kind) -> bytes:  # noqa: ANN401
    if kind is Kind.RATIONAL:
        return struct.pack("<II", value.numerator, value.denominator)
    if kind is Kind.SIGNED_RATIONAL:
        return struct.pack("<ii", value.numerator, value.denominator)
    return struct.pack({Kind.BYTE: "<B", Kind.SHORT: "<H", Kind.LONG: "<I"}[kind], value)
