"""Reads the headers of a file that may be unfinished, damaged or hostile, at a bounded cost."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable
from typing import Any, BinaryIO

from daemon.model import Unfinished

# More than any photo needs (512 MiB of PNG have 65,536 chunks as libpng writes them, 200 megapixels of TIFF have
# 13 MiB of offsets and lengths in the smallest tiles), and done in seconds.
_MOST_READS = 1 << 17
_MOST_BYTES = 32 << 20
_FIRST_CHUNK_BYTES, _CHUNK_BYTES = 4096, 1 << 20  # most searches end within a few bytes
_TAIL_BYTES = 4096


class BoundedReader:
    """A seekable file of `size` bytes. Its methods raise EOFError for bytes behind the end.

    They raise it, too, once more was read than the headers of any photo hold: links may form a cycle.
    """

    def __init__(self, file: BinaryIO, size: int, was_written: Callable[[int], bool]) -> None:
        """was_written: whether the zero at a position is known to have been written."""
        self.size = size
        self._file = file
        self._was_written = was_written
        self._reads = 0
        self._bytes = 0

    def read(self, position: int, length: int) -> bytes:
        """The bytes at a position."""
        self.require(position, length)
        self._bytes += length
        if self._bytes > _MOST_BYTES:
            raise EOFError("more headers than any photo has")
        self._seek(position)
        data = self._file.read(length)
        if len(data) < length:
            raise EOFError("the file has become shorter")
        return data

    def unpack(self, layout: str, position: int) -> tuple[Any, ...]:
        """The values at a position. layout: as of `struct`."""
        return struct.unpack(layout, self.read(position, struct.calcsize(layout)))

    def require(self, position: int, length: int) -> None:
        """Do nothing if these bytes are in the file."""
        if position + length > self.size:
            raise EOFError("the file ends before them")

    def find(self, wanted: re.Pattern[bytes], position: int) -> int | None:
        """Where the next match begins, of a pattern of two bytes; None if there is none."""
        self._seek(min(position, self.size))
        overlap, length = b"", _FIRST_CHUNK_BYTES
        while chunk := self._file.read(length):
            found = wanted.search(overlap + chunk)
            if found is not None:
                return position - len(overlap) + found.start()
            position += len(chunk)
            overlap, length = chunk[-1:], min(2 * length, _CHUNK_BYTES)
        return None

    def unwritten_end(self, start: int, end: int, *, may_be_zeros: bool) -> Unfinished | None:
        """What is wrong with the end of a picture's data: whether its last 4 KiB are zeros that nobody wrote.

        may_be_zeros: whether data of this kind can end in zeros. Then those count that are not known to be written.
        """
        self.require(start, end - start)
        self._seek(max(start, end - _TAIL_BYTES))
        if any(self._file.read(end - max(start, end - _TAIL_BYTES))):
            return None
        if not may_be_zeros:
            return Unfinished.CUT
        return None if self._was_written(end - 1) else Unfinished.ZEROS

    def _seek(self, position: int) -> None:
        self._reads += 1
        if self._reads > _MOST_READS:
            raise EOFError("more headers than any photo has")
        self._file.seek(position, os.SEEK_SET)
