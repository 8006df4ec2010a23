"""Checks whether a photo file is finished: no writer has it open, and its container is there to its end.

Size and time are not enough: a copy may have its final size from the start, and decoders silently accept a tail of
zeros. Nor are the last bytes of the file: cameras and phones append clips and trailers to whole pictures, and a scan
with a black border ends in zeros. So a format that tells its own extent is believed:

    JPEG            up to EOI; between two segments any bytes are skipped, as every decoder does
    PNG             up to IEND
    WebP, BMP       the length in the header
    TIFF, BigTIFF   every directory, every value, every strip and tile
    HEIF, AVIF      every extent of every item (`iloc`)
    other boxes     what holds the picture, up to its own end; the engine refuses these formats

Whatever lies behind that makes no file unfinished. In a format that is not listed, which the engine refuses as well,
only a tail of zeros does.

A writer that reserves the space first, then stalls or dies, leaves whole headers and a picture that ends in zeros.
The read lease of `has_writer` finds a writer on this machine, but not one behind a network or FUSE mount, and none that
died. Therefore the end of the picture's last part is read (of the picture, not of the file):

- Compressed data never ends in 4 KiB of zeros: if it does, it is not written yet.
- Uncompressed data may, and so may lossy WebP at quality 100. On a local file system, space that was reserved but never
  written is a hole, so zeros that are no hole are believed. Elsewhere, and in a hole, they are in doubt, and
  `Readiness` waits longer for a change, but not as long as for a file that is certainly cut. A hole may be
  meant, too: Syncthing does not write blocks of zeros, and ZFS does not store them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO

from daemon.fs.kernel import has_writer, was_written
from daemon.model import Unfinished
from daemon.watch.bounded_reader import BoundedReader
from daemon.watch.box_extent import missing_of_boxes
from daemon.watch.tiff_extent import missing_of_tiff

# A JPEG's markers, but for stuffed zeros, fill bytes and those without a length: TEM, RST0..7, SOI.
_MARKER = re.compile(rb"\xff[^\x00\x01\xff\xd0-\xd8]")
_END = re.compile(rb"\xff\xd9")
_SOS, _EOI = 0xDA, 0xD9


def why_unfinished(path: Path) -> Unfinished | None:
    """Why a file is not finished; None if it is, or if it cannot be read: whoever reads it will report why."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as file:
            if has_writer(fd):
                return Unfinished.OPEN
            return missing_of(file, os.fstat(fd).st_size, partial(was_written, fd))
    except OSError:
        return None


def missing_of(file: BinaryIO, size: int, was_written: Callable[[int], bool]) -> Unfinished | None:
    """What is missing of the container in a seekable file of `size` bytes; None if it is whole.

    was_written: whether the zero at a position is known to have been written.
    """
    reader = BoundedReader(file, size, was_written)
    try:
        head = reader.read(0, min(12, size))
        check = next(
            (check for start, check in _FORMATS if re.match(start, head, re.DOTALL)), _missing_of_other
        )
        return check(reader)
    except EOFError:
        return Unfinished.CUT


def _missing_of_jpeg(reader: BoundedReader) -> Unfinished | None:
    position = 2
    while (found := reader.find(_MARKER, position)) is not None:
        marker = reader.read(found + 1, 1)[0]
        if marker == _EOI:
            return None
        (length,) = reader.unpack(">H", found + 2)
        position = found + 2 + length
        if marker == _SOS:
            # Entropy-coded data never holds FF D9, and embedded previews lie before it.
            return None if reader.find(_END, position) is not None else Unfinished.CUT
    return Unfinished.CUT


def _missing_of_png(reader: BoundedReader) -> Unfinished | None:
    position = 8
    while True:
        length, kind = reader.unpack(">I4s", position)
        if not kind.isalpha():
            return Unfinished.CUT
        reader.require(position, 12 + length)
        if kind == b"IEND":
            return None
        position += 12 + length


def _missing_of_webp(reader: BoundedReader) -> Unfinished | None:
    end = 8 + int.from_bytes(reader.read(4, 4), "little")
    reader.require(0, end)
    position = 12
    missing: Unfinished | None = Unfinished.CUT  # until there is a picture
    while position + 8 <= end:
        kind, length = reader.unpack("<4sI", position)
        if not any(kind):
            return Unfinished.CUT  # reserved space, not yet a chunk
        if kind in {b"VP8 ", b"VP8L", b"ANMF"}:
            body = position + 8
            missing = reader.unwritten_end(body, body + length, may_be_zeros=kind != b"VP8L")
        position += 8 + length + length % 2
    return missing


def _missing_of_bmp(reader: BoundedReader) -> Unfinished | None:
    (length,) = reader.unpack("<I", 2)
    return reader.unwritten_end(0, length, may_be_zeros=True) if length else _missing_of_other(reader)


def _missing_of_other(reader: BoundedReader) -> Unfinished | None:
    return reader.unwritten_end(0, reader.size, may_be_zeros=False)


# How the files of a format begin, and its check
_FORMATS: tuple[tuple[bytes, Callable[[BoundedReader], Unfinished | None]], ...] = (
    (rb"\xff\xd8\xff", _missing_of_jpeg),
    (rb"\x89PNG\r\n\x1a\n", _missing_of_png),
    (rb"RIFF....WEBP", _missing_of_webp),
    (rb"II[*+]\0|MM\0[*+]", missing_of_tiff),
    (rb"....(ftyp|JXL |jP  )", missing_of_boxes),
    (rb"BM", _missing_of_bmp),
)
