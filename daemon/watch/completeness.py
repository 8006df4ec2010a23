"""Checks whether a photo file is complete, by its container format; cheap, without decoding.

Size and time alone are not enough: a preallocated copy has its final size from the start, and decoders silently
accept a tail of zeros. A format that is not recognised here counts as complete unless its tail is zeros.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO

from daemon.fs.kernel import has_writer

_CHUNK_BYTES = 1 << 20
_TAIL_BYTES = 4096
_JPEG_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})  # TEM, RST0..7, SOI
_JPEG_SOS, _JPEG_EOI = 0xDA, 0xD9

# First boxes of HEIF, AVIF, CR3, JPEG XL and JPEG 2000 files.
_BOXED = frozenset({b"ftyp", b"JXL ", b"jP  "})

_TIFF_STARTS, _TIFF_LENGTHS = (273, 324), (279, 325)  # of strips, of tiles
_TIFF_FORMATS = {3: "H", 4: "I"}  # the types that offsets and lengths have
_TIFF_MOST_DIRECTORIES = 1000  # in a damaged file their links may form a cycle


def file_is_finished(path: Path) -> bool:
    """Whether a file is complete and has no writer; True if it cannot be opened: reading it will report why."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return True
    with os.fdopen(fd, "rb") as file:
        return not has_writer(fd) and is_complete(file, os.fstat(fd).st_size)


def is_complete(file: BinaryIO, size: int) -> bool:
    """Whether a seekable file of `size` bytes holds a complete container."""
    head = file.read(12)
    if head.startswith(b"\xff\xd8\xff"):
        return _jpeg_reaches_its_end(file)
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png_reaches_its_end(file, size)
    if head.startswith(b"RIFF") and 8 + int.from_bytes(head[4:8], "little") > size:
        return False
    if head.startswith((b"II*\0", b"MM\0*")) and not _tiff_reaches_its_end(file, head, size):
        return False
    if head[4:8] in _BOXED and not _boxes_reach_their_end(file, size):
        return False
    return size > 0 and not _tail_is_zeros(file, size)


def _jpeg_reaches_its_end(file: BinaryIO) -> bool:
    file.seek(2)
    while True:
        marker = _jpeg_marker(file)
        if marker is None:
            return False
        if marker == _JPEG_EOI:
            return True
        if marker in _JPEG_WITHOUT_LENGTH:
            continue
        length = int.from_bytes(file.read(2), "big")
        file.seek(max(length - 2, 0), os.SEEK_CUR)
        if marker == _JPEG_SOS:
            # Entropy-coded data never holds FF D9, and embedded previews lie before it.
            return _contains(file, bytes((0xFF, _JPEG_EOI)))


def _jpeg_marker(file: BinaryIO) -> int | None:
    if file.read(1) != b"\xff":
        return None
    while (code := file.read(1)) == b"\xff":  # fill bytes
        pass
    return code[0] if code else None


def _png_reaches_its_end(file: BinaryIO, size: int) -> bool:
    position = 8
    while position + 12 <= size:
        file.seek(position)
        length, kind = int.from_bytes(file.read(4), "big"), file.read(4)
        if kind == b"IEND":
            return True
        if not kind.isalpha():
            return False
        position += 12 + length
    return False


def _boxes_reach_their_end(file: BinaryIO, size: int) -> bool:
    position = 0
    while position + 8 <= size:
        file.seek(position)
        length, kind = struct.unpack(">I4s", file.read(8))
        if not kind.strip().isalnum():
            return False
        if length == 0:  # to the end of the file, wherever that is
            return True
        if length == 1:
            length = int.from_bytes(file.read(8), "big")
        position += max(length, 8)
    return position == size


def _tiff_reaches_its_end(file: BinaryIO, head: bytes, size: int) -> bool:
    order = "<" if head.startswith(b"II") else ">"
    (position,) = struct.unpack(order + "I", head[4:8])
    for _ in range(_TIFF_MOST_DIRECTORIES):
        if position == 0:
            return True
        file.seek(position)
        count = int.from_bytes(file.read(2), "little" if order == "<" else "big")
        directory = file.read(12 * count + 4)
        if len(directory) < 12 * count + 4 or count == 0:
            return False
        if not _tiff_data_is_there(file, order, directory[:-4], size):
            return False
        (position,) = struct.unpack(order + "I", directory[-4:])
    return True


def _tiff_data_is_there(file: BinaryIO, order: str, directory: bytes, size: int) -> bool:
    values: dict[int, tuple[int, ...]] = {}
    for tag, kind, count, place in struct.iter_unpack(order + "HHI4s", directory):
        if tag in {*_TIFF_STARTS, *_TIFF_LENGTHS} and kind in _TIFF_FORMATS:
            layout = f"{order}{count}{_TIFF_FORMATS[kind]}"
            length, data = struct.calcsize(layout), place
            if length > len(place):
                (start,) = struct.unpack(order + "I", place)
                if start + length > size:
                    return False
                file.seek(start)
                data = file.read(length)
            values[tag] = struct.unpack(layout, data[:length])
    return all(
        start + length <= size
        for starts, lengths in zip(_TIFF_STARTS, _TIFF_LENGTHS, strict=True)
        for start, length in zip(values.get(starts, ()), values.get(lengths, ()), strict=False)
    )


def _contains(file: BinaryIO, wanted: bytes) -> bool:
    overlap = b""
    while chunk := file.read(_CHUNK_BYTES):
        if wanted in overlap + chunk:
            return True
        overlap = chunk[-len(wanted) + 1 :]
    return False


def _tail_is_zeros(file: BinaryIO, size: int) -> bool:
    file.seek(max(size - _TAIL_BYTES, 0))
    return not any(file.read(_TAIL_BYTES))
