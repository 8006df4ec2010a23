"""Properties put into AVIF and HEIC files that no library here writes."""

from __future__ import annotations

import struct


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + kind + body


def clap(width: float, height: float, right: float = 0, down: float = 0) -> bytes:
    """A clean aperture, px: what is shown, and how far its middle lies from the picture's own."""
    halves = (number for side in (width, height, right, down) for number in (round(2 * side), 2))
    return box(b"clap", struct.pack(">8i", *halves))


def with_property(data: bytes, added: bytes) -> bytes:
    """The file with one more property of its first item; of a file with one item that lies in one piece."""
    ipco, ipma = data.index(b"ipco") - 4, data.index(b"ipma") - 4
    ipco_size, ipma_size = (struct.unpack_from(">I", data, at)[0] for at in (ipco, ipma))
    properties = 1 + _count(data[ipco + 8 : ipco + ipco_size])
    grown = bytearray(data)
    count = ipma + 18  # behind size, kind, version and flags, number of items, item
    grown[count] += 1
    grown[ipma + ipma_size : ipma + ipma_size] = bytes([0x80 | properties])
    grown[ipco + ipco_size : ipco + ipco_size] = added
    longer = {b"ipma": 1, b"ipco": len(added), b"iprp": len(added) + 1, b"meta": len(added) + 1}
    for kind, more in longer.items():
        at = bytes(grown).index(kind) - 4
        struct.pack_into(">I", grown, at, struct.unpack_from(">I", grown, at)[0] + more)
    place = data.index(b"mdat") + 4
    iloc = bytes(grown).index(b"iloc")
    at = bytes(grown).index(struct.pack(">I", place), iloc)
    struct.pack_into(">I", grown, at, place + len(added) + 1)
    return bytes(grown)


def _count(boxes: bytes) -> int:
    number = at = 0
    while at < len(boxes):
        at += struct.unpack_from(">I", boxes, at)[0]
        number += 1
    return number
