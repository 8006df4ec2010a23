"""Does a photo file end where its format says? Cheap, and no decoding.

Size and time alone do not tell: a preallocated copy has its final size from the start, and decoders accept
a tail of zeros without a word. What is not recognised here counts as complete unless its tail is zeros.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

_CHUNK_BYTES = 1 << 20
_TAIL_BYTES = 4096
_JPEG_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})  # TEM, RST0..7, SOI
_JPEG_SOS, _JPEG_EOI = 0xDA, 0xD9


def file_is_complete(path: Path) -> bool:
    """`is_complete` of a file. One that cannot be opened counts as complete: its reader says why."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return True
    with os.fdopen(fd, "rb") as file:
        return is_complete(file, os.fstat(fd).st_size)


def is_complete(file: BinaryIO, size: int) -> bool:
    """Whether a seekable file of `size` bytes holds a whole container."""
    head = file.read(12)
    if head.startswith(b"\xff\xd8\xff"):
        return _jpeg_reaches_its_end(file)
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png_reaches_its_end(file, size)
    if head.startswith(b"RIFF") and 8 + int.from_bytes(head[4:8], "little") > size:
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
