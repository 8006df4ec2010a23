"""The segments of a JPEG (ITU-T T.81, B.1): what its pixels are decoded from, apart from what is told about them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

Segment = tuple[
    int, bytes
]  # second byte of the marker; the whole segment from its marker on, with any coded data

SOI, EOI = b"\xff\xd8", b"\xff\xd9"
DQT = 0xDB
_SOS = 0xDA
# Frames coded by Huffman's method (baseline, extended, progressive), with their tables, restarts and scans.
USUAL = {0xC0, 0xC1, 0xC2, 0xC4, DQT, 0xDD, _SOS}
_APPLICATION, _COMMENT = range(0xE0, 0xF0), 0xFE
_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)  # but for stuffed bytes and restarts


def segments(jpeg: bytes) -> Iterator[Segment]:
    """Yield the segments of a JPEG between its start and its first end; behind a scan's header lie its coded data.

    Raises:
        ValueError: a damaged or cut file.
    """
    at = len(SOI)
    while found := _MARKER.search(jpeg, at):
        kind = found[1][0]
        if kind == EOI[1]:
            return
        start = found.end() - 2
        end = start + 2 + int.from_bytes(jpeg[start + 2 : start + 4], "big")
        if kind == _SOS:
            behind = _MARKER.search(jpeg, end)
            end = behind.start() if behind else len(jpeg)
        if end > len(jpeg) or end < start + 4:
            break
        yield kind, jpeg[start:end]
        at = end
    raise ValueError("a JPEG without an end")


def is_told(kind: int) -> bool:
    """Whether a segment tells something about the pixels (metadata, profile, comment) instead of holding them."""
    return kind in _APPLICATION or kind == _COMMENT


def bare(jpeg: bytes) -> bytes:
    """Return a JPEG without all that is told about its pixels, and without what lies behind them. Raises as above."""
    return SOI + b"".join(body for kind, body in segments(jpeg) if not is_told(kind)) + EOI


def told(jpeg: bytes) -> bytes:
    """Return the segments that tell something about a JPEG's pixels. Raises as above."""
    return b"".join(body for kind, body in segments(jpeg) if is_told(kind))


def tables(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield number and 64 steps of each quantisation table of a DQT segment.

    Raises:
        ValueError: steps of more than 8 bits, or a damaged segment.
    """
    for at in range(4, len(body), 65):
        number, steps = body[at], body[at + 1 : at + 65]
        if number > 3 or len(steps) != 64 or 0 in steps:
            raise ValueError("quantisation of more than 8 bits")
        yield number, steps


def table(number: int, steps: Sequence[int]) -> bytes:
    """Return a DQT segment of one table."""
    return bytes([0xFF, DQT, 0, 67, number, *steps])
