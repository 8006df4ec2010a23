"""What is missing of a file that consists of boxes: HEIF and AVIF, CR3, JPEG XL, JPEG 2000."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from daemon.model import Unfinished
from daemon.watch.bounded_reader import BoundedReader

_CODESTREAMS = frozenset({b"jxlc", b"jxlp", b"jp2c"})
_IN_FILE, _IN_IDAT = 0, 1  # construction methods of an item
_MOST_FIELDS = 1 << 20  # an item has eight or more; a photo has hundreds of items, and never more than 65,535


@dataclass(frozen=True, slots=True)
class _Box:
    """body, end: the bytes behind its header. end: may lie behind the file's; None for "to the end of the file"."""

    kind: bytes
    body: int
    end: int | None


def missing_of_boxes(reader: BoundedReader) -> Unfinished | None:
    """What is missing; None if it is whole, whatever follows. Raises EOFError if the file ends before its items."""
    whole: set[bytes] = set()
    for box in _boxes(reader, 0, reader.size):
        if box.kind == b"meta":
            end = reader.size if box.end is None else box.end
            reader.require(box.body, end - box.body)
            children = {child.kind: child for child in _boxes(reader, box.body + 4, end)}
            if b"iloc" in children:
                return _missing_of_items(reader, children)
        if box.end is None:
            return reader.unwritten_end(0, reader.size, may_be_zeros=False)
        if box.end <= reader.size:
            whole.add(box.kind)
    return None if whole & _CODESTREAMS or whole >= {b"moov", b"mdat"} else Unfinished.CUT


def _boxes(reader: BoundedReader, position: int, end: int) -> Iterator[_Box]:
    """The boxes from a position on, up to the first bytes that are none."""
    while position + 8 <= end:
        length, kind = reader.unpack(">I4s", position)
        body = position + 8
        if length == 1 and position + 16 <= end:
            (length,) = reader.unpack(">Q", body)
            body += 8
        if not kind.strip().isalnum() or 0 < length < body - position:
            return
        yield _Box(kind, body, position + length if length else None)
        position = position + length if length else end


def _missing_of_items(reader: BoundedReader, children: dict[bytes, _Box]) -> Unfinished | None:
    iloc = children[b"iloc"]
    idat = children.get(b"idat")
    last = (0, 0)
    iloc_end = reader.size if iloc.end is None else iloc.end
    for method, start, length in _extents(reader.read(iloc.body, iloc_end - iloc.body)):
        if method == _IN_IDAT and idat is not None:
            reader.require(idat.body + start, length)
        elif method == _IN_FILE:
            reader.require(start, length)
            last = max(last, (start + length, start))
    end, start = last
    return reader.unwritten_end(start, end or reader.size, may_be_zeros=False)


def _extents(iloc: bytes) -> Iterator[tuple[int, int, int]]:
    """Construction method, start and length of each part of each item that lies in this file."""
    fields = _Fields(iloc)
    version = fields.take(1)
    fields.take(3)
    sizes = fields.take(2)
    offset_size, length_size, base_size, index_size = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    if version == 0:
        index_size = 0
    wide = 4 if version > 1 else 2
    for _ in range(fields.take(wide)):
        fields.take(wide)  # the item's id
        method = fields.take(2) & 15 if version else _IN_FILE
        is_elsewhere = fields.take(2) != 0
        base = fields.take(base_size)
        for _ in range(fields.take(2)):
            fields.take(index_size)
            start, length = base + fields.take(offset_size), fields.take(length_size)
            if not is_elsewhere and length:  # without a length it is the whole of something
                yield method, start, length


class _Fields:
    """Big-endian numbers, one after the other. Raises EOFError behind the last, and when there are too many."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0
        self._taken = 0

    def take(self, size: int) -> int:
        end = self._position + size
        self._taken += 1
        if end > len(self._data) or self._taken > _MOST_FIELDS:
            raise EOFError("the box ends before them")
        value = int.from_bytes(self._data[self._position : end], "big")
        self._position = end
        return value
