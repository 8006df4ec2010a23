"""EXIF blocks and TIFF headers put together entry by entry, with types that no library writes."""

from __future__ import annotations

import struct
from collections.abc import Mapping

ASCII, SHORT, LONG, RATIONAL, UTF8 = 2, 3, 4, 5, 129
Entry = tuple[int, int, bytes]  # type, number of values, their bytes in the order of the block
_EXIF_IFD = 0x8769


def text(what: str | bytes, kind: int = ASCII) -> Entry:
    """What a text tag holds, with its NUL."""
    data = what.encode() if isinstance(what, str) else what
    return kind, len(data) + 1, data + b"\0"


def short(value: int, order: str = "<") -> Entry:
    return SHORT, 1, struct.pack(f"{order}H", value)


def rationals(*values: tuple[int, int], order: str = "<") -> Entry:
    return RATIONAL, len(values), b"".join(struct.pack(f"{order}II", *value) for value in values)


def block(
    main: Mapping[int, Entry],
    details: Mapping[int, Entry] | None = None,
    order: str = "<",
    *,
    big: bool = False,
) -> bytes:
    """A block with a main directory and, if there are details, an EXIF directory. big: as BigTIFF."""
    marks = {"<": b"II", ">": b"MM"}[order]
    header = struct.pack(f"{order}HHHQ", 43, 8, 0, 16) if big else struct.pack(f"{order}HI", 42, 8)
    first = dict(main)
    data = marks + header
    if not details:
        return data + _directory(first, len(data), order, big=big)
    first[_EXIF_IFD] = (LONG, 1, bytes(4))
    behind = len(data) + len(_directory(first, len(data), order, big=big))
    first[_EXIF_IFD] = (LONG, 1, struct.pack(f"{order}I", behind))
    return data + _directory(first, len(data), order, big=big) + _directory(details, behind, order, big=big)


def _directory(entries: Mapping[int, Entry], at: int, order: str, *, big: bool) -> bytes:
    number, offset, inline = ("Q", "Q", 8) if big else ("H", "I", 4)
    table = struct.pack(f"{order}{number}", len(entries))
    behind = b""
    start = at + len(table) + len(entries) * (4 + 2 * inline) + inline
    for tag, (kind, count, data) in sorted(entries.items()):
        short = len(data) <= inline
        where = data.ljust(inline, b"\0") if short else struct.pack(f"{order}{offset}", start + len(behind))
        table += struct.pack(f"{order}HH{offset}", tag, kind, count) + where
        behind += b"" if short else data + bytes(len(data) % 2)
    return table + bytes(inline) + behind
