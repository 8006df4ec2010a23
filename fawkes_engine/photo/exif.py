"""EXIF built anew from an allow-list of tags: nothing of the source's block is copied but these values.

Left out on purpose, as is everything not named here: IFD1 and any thumbnail, MakerNote, UserComment, serial
numbers and owner names (they link accounts), and SubjectArea (phones put the face's place there). Tags are those of
EXIF 3.0 (CIPA DC-008-2023), 4.6; Rating and RatingPercent are Microsoft's.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping

from fawkes_engine.photo.directory import Directory, Kind, Reader, Value
from fawkes_engine.types import MetadataPolicy

LONGEST_TEXT = 2000  # letters of any caption: more than anybody writes, less than a thumbnail
_LONGEST_NAME = 128  # letters of a date, a camera, a lens, a reference
CONTROLS = bytes(
    {*range(32), 127} - set(b"\t\n\r")
)  # in a text they can only steer the terminal of who reads it
_DATE_TIME = 0x0132
ORIENTATION, TRANSFER_FUNCTION, COPYRIGHT = 0x0112, 0x012D, 0x8298
EXIF_IFD, GPS_IFD, INTEROPERABILITY_IFD = 0x8769, 0x8825, 0xA005

_ABOUT = {
    0x010E: Kind.ASCII,  # ImageDescription
    0x011A: Kind.RATIONAL,  # XResolution
    0x011B: Kind.RATIONAL,  # YResolution
    0x0128: Kind.SHORT,  # ResolutionUnit
    _DATE_TIME: Kind.ASCII,
    0x013B: Kind.ASCII,  # Artist
    0x4746: Kind.SHORT,  # Rating
    0x4749: Kind.SHORT,  # RatingPercent
    COPYRIGHT: Kind.ASCII,
}
_CAMERA = {0x010F: Kind.ASCII, 0x0110: Kind.ASCII}  # Make, Model
_DETAILS = {0xA436: Kind.ASCII, 0xA437: Kind.ASCII}  # EXIF 3.0: ImageTitle, Photographer
_DATES = {
    0x9003: Kind.ASCII,  # DateTimeOriginal
    0x9004: Kind.ASCII,  # DateTimeDigitized
    **dict.fromkeys((0x9010, 0x9011, 0x9012), Kind.ASCII),  # OffsetTime, ...Original, ...Digitized
    **dict.fromkeys((0x9290, 0x9291, 0x9292), Kind.ASCII),  # SubSecTime, ...Original, ...Digitized
}
_CAPTIONS = {0x010E, 0x013B, COPYRIGHT, *_DETAILS}
_DATE = re.compile(rb"[0-9:. TZ+-]*\0?")
_COLOURS = {0x013E: Kind.RATIONAL, 0x013F: Kind.RATIONAL}  # WhitePoint, PrimaryChromaticities
_MORE_COLOURS = {0xA001: Kind.SHORT, 0xA500: Kind.RATIONAL}  # ColorSpace, Gamma
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
_MOST_VALUES = 6  # of one tag: PrimaryChromaticities
_VERSION = Value(Kind.UNDEFINED.value, b"0232")


def read(block: bytes, policy: MetadataPolicy) -> Directory:
    """Return what may be published of an EXIF block, from its TIFF header on, or of a TIFF file.

    What tells the colours always may: viewers differ in what they make of it, and show the copy as the original.

    Raises:
        ValueError: there is no TIFF header. Whatever else is damaged is left out.
    """
    reader = Reader(block)
    about, details = _COLOURS, _MORE_COLOURS
    if policy.all:
        about, details = about | _ABOUT, details | _DETAILS | _DATES
    if policy.all and policy.camera:
        about, details = about | _CAMERA, details | _EXPOSURE
    main = reader.directory(reader.first, {*about, TRANSFER_FUNCTION, EXIF_IFD, GPS_IFD})
    exif = reader.below(main, EXIF_IFD, {*details, INTEROPERABILITY_IFD})
    kept = _allowed(main, about) | _transfer_function(main.get(TRANSFER_FUNCTION))
    inner = _allowed(exif, details)
    interoperability = _allowed(
        reader.below(exif, INTEROPERABILITY_IFD, _INTEROPERABILITY), _INTEROPERABILITY
    )
    if interoperability:
        inner[INTEROPERABILITY_IFD] = interoperability
    if inner:
        kept[EXIF_IFD] = {0x9000: _VERSION, **inner}
    place = _allowed(reader.below(main, GPS_IFD, _GPS), _GPS) if policy.all and policy.gps else {}
    if place:
        kept[GPS_IFD] = place
    return kept


def orientation(block: bytes) -> int:
    """Return how the pixels lie, 1 (upright) to 8, as the main directory says; 1 if it does not.

    Raises:
        ValueError: as `read`.
    """
    reader = Reader(block)
    value = reader.directory(reader.first, {ORIENTATION}).get(ORIENTATION)
    numbers = value.numbers if value else ()
    return numbers[0][0] if len(numbers) == 1 and numbers[0] in {(lie, 1) for lie in range(1, 9)} else 1


def sized(directory: Directory, width: int, height: int) -> Directory:
    """Return the directory with the dimensions of the pixels, px."""
    inner = directory.get(EXIF_IFD)
    if not isinstance(inner, dict):
        return directory
    width_value, height_value = (Value(Kind.LONG.value, struct.pack("<I", side)) for side in (width, height))
    return {**directory, EXIF_IFD: {**inner, 0xA002: width_value, 0xA003: height_value}}


def _allowed(source: Mapping[int, Value], tags: Mapping[int, Kind]) -> Directory:
    found: Directory = {}
    for tag, kind in tags.items():
        data = _packed(tag, source[tag], kind) if tag in source else b""
        if data:
            found[tag] = Value(kind.value, data)
    return found


def _packed(tag: int, value: Value, kind: Kind) -> bytes:
    """Return the value in the type its tag must have, or nothing if it does not fit."""
    if kind is Kind.ASCII:
        if tag == COPYRIGHT:
            return _both_rights(value.text or b"")
        text = _text(value.text or b"", LONGEST_TEXT if tag in _CAPTIONS else _LONGEST_NAME)
        is_date = tag in _DATES or tag == _DATE_TIME
        return b"" if is_date and not _DATE.fullmatch(text) else text  # a damaged offset may lead to anything
    numbers = value.numbers
    if len(numbers) > _MOST_VALUES:
        return b""
    try:
        if kind in {Kind.RATIONAL, Kind.SIGNED_RATIONAL}:
            two = "<II" if kind is Kind.RATIONAL else "<ii"
            return b"".join(struct.pack(two, *number) for number in numbers)
        one = {Kind.BYTE: "<B", Kind.SHORT: "<H", Kind.LONG: "<I"}[kind]
        return b"".join(struct.pack(one, number) for number, denominator in numbers if denominator == 1)
    except struct.error:  # out of the type's range
        return b""


def _transfer_function(value: Value | None) -> Directory:
    """Return a curve for all channels or three, 256 values each, that never falls: so no picture can hide in it."""
    numbers = [number for number, _ in value.numbers] if value and value.kind == Kind.SHORT.value else []
    curves = [numbers[start : start + 256] for start in range(0, len(numbers), 256)]
    if len(numbers) not in {256, 768} or any(curve != sorted(curve) for curve in curves):
        return {}
    return {TRANSFER_FUNCTION: Value(Kind.SHORT.value, struct.pack(f"<{len(numbers)}H", *numbers))}


def _text(data: bytes, longest: int = LONGEST_TEXT) -> bytes:
    """Return text in the encoding it has, Latin-1 or UTF-8; both are common in type ASCII.

    It ends at its first NUL: what a damaged block may hold behind it is no text.
    """
    text = data.partition(b"\0")[0].translate(None, CONTROLS)
    cut = text[:longest]
    if cut != text:
        try:
            text.decode()
        except UnicodeDecodeError:
            pass
        else:
            cut = cut.decode(errors="ignore").encode()  # no half of a letter
    cut = cut.rstrip()
    return cut + b"\0" if cut else b""


def _both_rights(data: bytes) -> bytes:
    """Return a Copyright: the photographer's and behind a NUL the editor's, or a space and the editor's alone.

    What is behind the NUL must look like a name and end the value, or it is taken for what a damaged block has there.
    """
    photographer, _, rest = data.partition(b"\0")
    name = rest.rstrip(b"\0")
    is_name = any(byte > 127 or chr(byte).isalnum() for byte in name) and not any(byte < 32 for byte in name)
    editor = _text(name) if is_name else b""
    return (_text(photographer) or b" \0") + editor if editor else _text(photographer)
