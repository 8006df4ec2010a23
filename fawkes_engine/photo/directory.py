"""Directories of tags, as TIFF files and EXIF blocks hold them: read as they lie there, and written anew.

Pillow's own reader passes over a type that it does not know, EXIF 3.0's UTF-8, and decodes text before anybody can
say what it is; so the tags are read from the bytes. Sources of the numbers here: TIFF 6.0, section 2 (header, entries,
types 1 to 12); the BigTIFF design of 2004 (header 43, types 16 to 18); EXIF 3.0 (CIPA DC-008-2023), 4.6.2 (type 129).
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """The types that a tag can be written with; the value is TIFF's number of the type."""

    BYTE = 1
    ASCII = 2
    SHORT = 3
    LONG = 4
    RATIONAL = 5
    UNDEFINED = 7
    SIGNED_RATIONAL = 10


UTF8 = 129  # read as text and written as ASCII, the type in which other programs have UTF-8, too
_TEXT = {Kind.ASCII.value, UTF8}
_RATIONALS = {Kind.RATIONAL.value: "I", Kind.SIGNED_RATIONAL.value: "i"}
_INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
# of every type: bytes of one value, and of the words in it that the byte order turns
_WORDS = {kind: struct.calcsize(f"={letter}") for kind, letter in _INTEGERS.items()}
_WORDS |= {2: 1, 5: 4, 7: 1, 10: 4, 11: 4, 12: 8, UTF8: 1}
_BYTES_EACH = {kind: size * (2 if kind in _RATIONALS else 1) for kind, size in _WORDS.items()}
_LARGEST = 65_536  # bytes of a value that is looked at: no tag that may be published is longer
_IFD_TABLE_END, _ENTRY = 4, 12  # bytes


@dataclass(frozen=True, slots=True)
class Value:
    """One tag's value as bytes, little-endian. kind: TIFF's number of the type."""

    kind: int
    data: bytes

    @property
    def text(self) -> bytes | None:
        """The bytes as they are, NULs and all; None if the type is no text."""
        return self.data if self.kind in _TEXT else None

    @property
    def numbers(self) -> tuple[tuple[int, int], ...]:
        """Numerator and denominator of each number; an integer's denominator is 1. None, if the type has no such."""
        if self.kind in _RATIONALS:
            whole = self.data[: len(self.data) // 8 * 8]
            return tuple(struct.iter_unpack(f"<2{_RATIONALS[self.kind]}", whole))
        if self.kind in _INTEGERS:
            return tuple(
                (number, 1) for (number,) in struct.iter_unpack(f"<{_INTEGERS[self.kind]}", self.data)
            )
        return ()


Directory = dict[int, "Value | Directory"]  # tag -> value, or the directory it points to


class Reader:
    """The directories of an EXIF block, from its TIFF header on, or of a TIFF or BigTIFF file."""

    def __init__(self, block: bytes) -> None:
        """Raises ValueError where there is no TIFF header."""
        self._block = block
        order = {b"II": "<", b"MM": ">"}.get(block[:2])
        try:
            if order is None:
                raise ValueError("no byte order")
            self._order = order
            (magic,) = struct.unpack_from(f"{order}H", block, 2)
            if magic not in {42, 43}:
                raise ValueError(f"{magic} is no version of TIFF")
            self._big = magic == 43
            (self.first,) = struct.unpack_from(
                f"{order}Q" if self._big else f"{order}I", block, 8 if self._big else 4
            )
        except struct.error as error:
            raise ValueError("cut within the header") from error

    def directory(self, start: int, wanted: Collection[int]) -> dict[int, Value]:
        """Return the wanted tags of the directory that starts at this offset, those that lie whole in the block.

        Where a tag stands twice, the first counts. Of a value over 64 KiB only these are returned.
        """
        found: dict[int, Value] = {}
        count, entry, inline = ("Q", "HHQ", 8) if self._big else ("H", "HHI", 4)
        size = struct.calcsize(f"={entry}")
        at = start + struct.calcsize(f"={count}")
        if at > len(self._block):
            return found
        (number,) = struct.unpack_from(f"{self._order}{count}", self._block, start)
        for place in range(at, min(at + number * (size + inline), len(self._block)), size + inline):
            if place + size + inline > len(self._block):
                break
            tag, kind, values = struct.unpack_from(f"{self._order}{entry}", self._block, place)
            if tag in wanted and tag not in found and kind in _WORDS:
                value = self._value(kind, values * _BYTES_EACH[kind], place + size, inline)
                if value is not None:
                    found[tag] = value
        return found

    def below(self, parent: dict[int, Value], pointer: int, wanted: Collection[int]) -> dict[int, Value]:
        """Return the wanted tags of the directory that a tag of another one points to; none if there is none."""
        numbers = parent[pointer].numbers if pointer in parent else ()
        return self.directory(numbers[0][0], wanted) if len(numbers) == 1 and numbers[0][0] > 0 else {}

    def _value(self, kind: int, length: int, place: int, inline: int) -> Value | None:
        if length > inline:
            (place,) = struct.unpack_from(f"{self._order}{'Q' if self._big else 'I'}", self._block, place)
        if not length or place + length > len(self._block):
            return None
        data = self._block[place : place + min(length, _LARGEST)]
        word = _WORDS[kind]
        if self._order == ">" and word > 1:
            data = b"".join(data[at : at + word][::-1] for at in range(0, len(data), word))
        return Value(kind, data)


def block(directory: Directory) -> bytes:
    """Return an EXIF block, from its TIFF header on."""
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
