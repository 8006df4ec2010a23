"""Damages photo files as an attacker or a bad disk would: bits, lengths, sizes, chunks, metadata.

Every mutation is drawn from the random numbers that it is given, so a case is made again from its seed.
"""

from __future__ import annotations

import io
import random
import re
import struct
import zlib
from collections.abc import Callable, Sequence

import pillow_heif
from PIL import Image

Mutation = Callable[[bytes, Sequence[bytes], random.Random], bytes]  # a file, the others, random numbers
Parts = list[tuple[int, int]]  # start and end of each

pillow_heif.register_heif_opener()

_PNG = b"\x89PNG\r\n\x1a\n"
_EXTREMES = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF)
_HEADER_BYTES = 4096
# where a file may tell its picture's size: behind these bytes numbers of this format of `struct` follow
_SIZES = (
    (re.compile(rb"\xff[\xc0\xc1\xc2]..\x08", re.DOTALL), ">HH"),
    (re.compile(rb"IHDR"), ">II"),
    (re.compile(rb"ispe\0{4}"), ">II"),
    (re.compile(rb"\x9d\x01\x2a"), "<HH"),
    (re.compile(rb"VP8X.{8}", re.DOTALL), "<HH"),
    (re.compile(rb"[\x00\x01]\x01[\x03\x04]\x00\x01\x00\x00\x00"), "<I"),  # TIFF's ImageWidth and ImageLength
    (re.compile(rb"\x01[\x00\x01]\x00[\x03\x04]\x00\x00\x00\x01"), ">I"),
)


def bit_flips(data: bytes, _: Sequence[bytes], rng: random.Random) -> bytes:
    """Flip up to 64 bits, half of the times in the header alone."""
    changed = bytearray(data)
    end = min(len(data), rng.choice([_HEADER_BYTES, len(data)]))
    for _flip in range(rng.choice([1, 2, 8, 64])):
        changed[rng.randrange(end)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def truncation(data: bytes, _: Sequence[bytes], rng: random.Random) -> bytes:
    """Cut the file off, or leave zeros where its end was."""
    end = rng.randrange(rng.choice([min(len(data), _HEADER_BYTES), len(data)]))
    return data[:end] + bytes(rng.choice([0, len(data) - end]))


def splice(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """Put a piece of another file over or between the bytes of this one."""
    other = rng.choice(others)
    start = rng.randrange(len(other))
    piece = other[start : start + rng.choice([16, 512, 65_536])]
    at = rng.randrange(len(data))
    return data[:at] + piece + data[at + rng.choice([0, len(piece)]) :]


def length_field(data: bytes, _: Sequence[bytes], rng: random.Random) -> bytes:
    """Overwrite one to three lengths, counts or offsets of the container with extremes."""
    changed = bytearray(data)
    places = _length_fields(data)
    for _field in range(rng.randint(1, 3)):
        at, form = rng.choice(places) if places else (rng.randrange(max(1, len(data) - 8)), ">I")
        limit = 1 << 8 * struct.calcsize(form)
        value = rng.choice([*_EXTREMES, len(data), len(data) - at, at, rng.randrange(limit)])
        if at + struct.calcsize(form) <= len(changed):
            struct.pack_into(form, changed, at, value % limit)
    return bytes(changed)


def chunks_moved(data: bytes, _: Sequence[bytes], rng: random.Random) -> bytes:
    """Repeat a chunk of the container, up to 5,000 times, leave one out, or swap two."""
    parts = _parts(data)
    if len(parts) < 2:
        return truncation(data, [], rng)
    pieces = [data[start:end] for start, end in parts]
    one, other = rng.randrange(len(pieces)), rng.randrange(len(pieces))
    match rng.randrange(3):
        case 0:
            most = max(1, min(5000, (8 << 20) // max(1, len(pieces[one]))))
            pieces.insert(other, pieces[one] * rng.choice([1, 3, most]))
        case 1:
            del pieces[one]
        case _:
            pieces[one], pieces[other] = pieces[other], pieces[one]
    return data[: parts[0][0]] + b"".join(pieces) + data[parts[-1][1] :]


def huge_size(data: bytes, _: Sequence[bytes], rng: random.Random) -> bytes:
    """Have the header tell another width and height."""
    found = [(match.end(), form) for wanted, form in _SIZES for match in wanted.finditer(data[:65_536])]
    if not found:
        return length_field(data, [], rng)
    changed = bytearray(data)
    at, form = rng.choice(found)
    largest = 0xFFFF if form[1] == "H" else 0xFFFF_FFFF
    sides = [min(rng.choice([0, 1, 9_999, 14_000, 65_500, 1 << 20, largest]), largest) for _ in form[1:]]
    if at + struct.calcsize(form) <= len(changed):
        struct.pack_into(form, changed, at, *sides)
    return bytes(changed)


def metadata_damaged(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """Write a small whole picture that carries this file's EXIF, XMP, IPTC or profile, damaged."""
    damage = rng.choice([bit_flips, truncation, splice, length_field])
    blocks = (
        _blocks(data)
        or _blocks(rng.choice(others))
        or {"exif": b"II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0"}
    )
    options = {
        name: damage(block, others, rng) if rng.random() < 0.7 else block for name, block in blocks.items()
    }
    out = io.BytesIO()
    kind = rng.choice(["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
    try:
        Image.new("RGB", (64, 48), "gray").save(out, kind, **options)
    except Exception:  # noqa: BLE001 - some writers refuse what is damaged, each in its own way
        return bit_flips(data, others, rng)
    return out.getvalue()


MUTATIONS: dict[str, Mutation] = {
    "bit flips": bit_flips,
    "truncation": truncation,
    "splice": splice,
    "length fields": length_field,
    "chunks": chunks_moved,
    "sizes": huge_size,
    "metadata": metadata_damaged,
}


def mutated(data: bytes, others: Sequence[bytes], rng: random.Random) -> tuple[str, bytes]:
    """Return what was done, and a file with one or two mutations. A PNG's checksums are mended, mostly."""
    names = rng.choices(list(MUTATIONS), k=rng.choice([1, 1, 2]))
    for name in names:
        if data:
            data = MUTATIONS[name](data, others, rng)
    if data.startswith(_PNG) and rng.random() < 0.8:
        data = _with_checksums(data)
    return " + ".join(names), data


def _parts(data: bytes) -> Parts:
    """The chunks, segments or boxes of a file, as far as its container can be followed."""
    if data.startswith(_PNG):
        return _followed(data, 8, lambda at: 12 + struct.unpack_from(">I", data, at)[0])
    if data[:4] == b"RIFF":
        return _followed(data, 12, lambda at: 8 + (struct.unpack_from("<I", data, at + 4)[0] + 1) // 2 * 2)
    if data[:2] == b"\xff\xd8":
        return _followed(data, 2, lambda at: 2 + struct.unpack_from(">H", data, at + 2)[0])
    if data[4:8] == b"ftyp":
        top = _followed(data, 0, lambda at: struct.unpack_from(">I", data, at)[0])
        return next(
            (_children(data, start, end) for start, end in top if data[start + 4 : start + 8] == b"meta"), top
        )
    if data[:2] in {b"II", b"MM"} and len(data) > 8:
        order = "<" if data[:2] == b"II" else ">"
        (first,) = struct.unpack_from(f"{order}I", data, 4)
        return [(at, at + 12) for at in range(first + 2, min(first + 2 + 12 * 32, len(data) - 12), 12)]
    return []


def _children(data: bytes, start: int, end: int) -> Parts:
    return _followed(data[:end], start + 12, lambda at: struct.unpack_from(">I", data, at)[0])


def _followed(data: bytes, at: int, length_of: Callable[[int], int]) -> Parts:
    found: Parts = []
    while at + 8 <= len(data) and len(found) < 10_000:
        length = length_of(at)
        if length < 2 or at + length > len(data):
            break
        found.append((at, at + length))
        at += length
    return found


def _length_fields(data: bytes) -> list[tuple[int, str]]:
    """Places of lengths and offsets, and how each is packed."""
    starts = [start for start, _ in _parts(data)]
    if data[:2] == b"\xff\xd8":
        return [(start + 2, ">H") for start in starts]
    if data[:4] == b"RIFF":
        return [(4, "<I"), *((start + 4, "<I") for start in starts)]
    if data[:2] in {b"II", b"MM"}:
        order = "<" if data[:2] == b"II" else ">"
        fields = [(start + within, f"{order}I") for start in starts for within in (4, 8)]
        return [(4, f"{order}I"), *fields, *((start + 2, f"{order}H") for start in starts)]
    inside = [at.start() for at in re.finditer(rb"iloc|ipma|ispe|iinf|pitm|clap|irot|iref", data[:65_536])]
    near = [(at + shift, ">H") for at in inside for shift in range(4, 24, 2)]
    return [(start, ">I") for start in starts] + near


def _blocks(data: bytes) -> dict[str, bytes]:
    try:
        with Image.open(io.BytesIO(data)) as image:
            info = image.info
            found = {name: info.get(name) for name in ("exif", "xmp", "icc_profile")}
    except Exception:  # noqa: BLE001 - no picture, no blocks
        return {}
    return {name: block for name, block in found.items() if isinstance(block, bytes) and block}


def _with_checksums(png: bytes) -> bytes:
    mended = bytearray(png)
    for start, end in _parts(png):
        struct.pack_into(">I", mended, end - 4, zlib.crc32(png[start + 4 : end - 4]))
    return bytes(mended)
