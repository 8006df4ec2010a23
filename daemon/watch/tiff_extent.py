"""What is missing of a TIFF or BigTIFF: its directories tell where its values and its pictures lie."""

from __future__ import annotations

import struct

from daemon.model import Unfinished
from daemon.watch.bounded_reader import BoundedReader

_BIG = 43  # the version of BigTIFF

_COMPRESSION, _UNCOMPRESSED = 259, 1
# Tags of the offsets and of the lengths: of strips, of tiles, of the JPEG file that is an old thumbnail.
_PICTURES = ((273, 279), (324, 325), (513, 514))
_DIRECTORIES = (330, 34665, 34853, 40965)  # SubIFDs, EXIF, GPS, interoperability
_WANTED = frozenset({_COMPRESSION, *_DIRECTORIES, *(tag for pair in _PICTURES for tag in pair)})

# Bytes of each type of value, 129 being EXIF 3.0's UTF-8; formats of `struct` for those that tell a place.
_SIZES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
_SIZES[129] = 1
_INTEGERS = {3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}


def missing_of_tiff(reader: BoundedReader) -> Unfinished | None:
    """What is missing; None if it is whole. Raises EOFError if something lies behind the end of the file."""
    directories = _Directories(reader)
    directories.read_all()
    if directories.has_untold or not directories.last_end:
        return reader.unwritten_end(0, reader.size, may_be_zeros=False)
    if directories.last_directory > directories.last_end:
        return None  # written after the picture
    return reader.unwritten_end(
        directories.last_start, directories.last_end, may_be_zeros=directories.last_is_uncompressed
    )


class _Directories:
    """What the directories tell.

    last_start, last_end, last_is_uncompressed: the part of a picture that ends last; last_end is 0 if there is none.
    last_directory: the position of the one farthest back. has_untold: whether the length of a part is not told.
    """

    def __init__(self, reader: BoundedReader) -> None:
        self.last_start = self.last_end = self.last_directory = 0
        self.last_is_uncompressed = self.has_untold = False
        self._reader = reader
        self._order = "<" if reader.read(0, 2) == b"II" else ">"
        self._is_big = self._unpack("H", 2) == (_BIG,)
        self._offset = "Q" if self._is_big else "I"
        self._entry = "HHQ" if self._is_big else "HHI"  # tag, type, count; then the value, or where it lies

    def read_all(self) -> None:
        """Follow every link. Raises EOFError."""
        (first,) = self._unpack(self._offset, 8 if self._is_big else 4)
        if first == 0:
            raise EOFError("writers put the first link in last")
        ahead, seen = [first], {0}
        while ahead:
            position = ahead.pop()
            if position not in seen:
                seen.add(position)
                ahead += self._read(position)

    def _read(self, position: int) -> list[int]:
        """Read one directory; returns the positions of those it links to."""
        self.last_directory = max(self.last_directory, position)
        count_format = "Q" if self._is_big else "H"
        (count,) = self._unpack(count_format, position)
        if count == 0:
            raise EOFError("space that was reserved and not yet written")
        begin = position + struct.calcsize("=" + count_format)
        entry_format = f"{self._order}{self._entry}{self._offset}"
        entry_length = struct.calcsize(entry_format)
        entries = self._reader.read(begin, count * entry_length)
        values: dict[int, tuple[int, ...]] = {}
        for number, (tag, kind, length, offset) in enumerate(struct.iter_unpack(entry_format, entries)):
            place = begin + number * entry_length + struct.calcsize("=" + self._entry)
            size = length * _SIZES.get(kind, 0)
            if size > struct.calcsize("=" + self._offset):
                place = offset
            self._reader.require(place, size)
            if tag in _WANTED and kind in _INTEGERS:
                values[tag] = self._unpack(f"{length}{_INTEGERS[kind]}", place)
        self._note_pictures(values)
        linked = self._unpack(self._offset, begin + count * entry_length)
        return [*linked, *(link for tag in _DIRECTORIES for link in values.get(tag, ()))]

    def _note_pictures(self, values: dict[int, tuple[int, ...]]) -> None:
        is_uncompressed = values.get(_COMPRESSION, (_UNCOMPRESSED,)) == (_UNCOMPRESSED,)
        for starts_tag, lengths_tag in _PICTURES:
            starts, lengths = values.get(starts_tag, ()), values.get(lengths_tag, ())
            self.has_untold |= len(starts) > len(lengths)
            parts = [
                (start + length, start) for start, length in zip(starts, lengths, strict=False) if length
            ]
            end, start = max(parts, default=(0, 0))
            self._reader.require(start, end - start)
            if end > self.last_end:
                self.last_start, self.last_end = start, end
                self.last_is_uncompressed = is_uncompressed and starts_tag != _PICTURES[-1][0]

    def _unpack(self, form: str, position: int) -> tuple[int, ...]:
        return self._reader.unpack(self._order + form, position)
