"""The boxes of an AVIF or HEIC file, as far as they say what of the primary picture is shown, and its EXIF.

ISO/IEC 14496-12: boxes (4.2), `meta`, `pitm` (8.11.4), `iprp` with `ipco` and `ipma` (8.11.14), `iloc`
(8.11.3), `iinf` (8.11.6), `clap` (12.1.4). ISO/IEC 23008-12: `ispe` (6.5.3), the item `Exif` (annex A).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

Box = tuple[bytes, bytes]  # kind, body


def boxes(data: bytes) -> Iterator[Box]:
    """Yield the boxes of a file or of another box's body; a damaged size ends them."""
    at = 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1 and at + 16 <= len(data):
            (size,) = struct.unpack_from(">Q", data, at + 8)
            head = 16
        end = len(data) if size == 0 else at + size
        if end < at + head or end > len(data):
            return
        yield kind, data[at + head : end]
        at = end


def primary_properties(data: bytes) -> list[Box]:
    """Return the properties of a file's primary picture, in their order; none where the boxes do not say.

    Raises:
        struct.error: damaged boxes.
    """
    meta = _first(boxes(data), b"meta")[4:]
    parts = dict(reversed(list(boxes(meta))))
    pitm, iprp = parts.get(b"pitm", b""), list(boxes(parts.get(b"iprp", b"")))
    if not pitm:
        return []
    (primary,) = struct.unpack_from(">I" if pitm[0] else ">H", pitm, 4)
    properties = list(boxes(_first(iter(iprp), b"ipco")))
    numbers = [
        number
        for kind, body in iprp
        if kind == b"ipma"
        for item, of_item in _associations(body)
        if item == primary
        for number in of_item
    ]
    return [properties[number - 1] for number in numbers if 1 <= number <= len(properties)]


def is_cropped(data: bytes) -> bool:
    """Say whether a clean aperture lets viewers show less than the whole primary picture.

    True also if it is damaged, or if it shows half pixels: no decoder crops such a picture as another does.

    Raises:
        struct.error: damaged boxes.
    """
    if any(kind == b"moov" and b"clap" in body for kind, body in boxes(data)):
        return True  # of a film, of which the decoder takes the first picture
    found = dict(reversed(primary_properties(data)))
    aperture = found.get(b"clap")
    if aperture is None:
        return False
    size = found.get(b"ispe", b"")[4:]
    if len(aperture) != 32 or len(size) != 8:
        return True
    # width, height, and how far the middle of what is shown lies right of and below the picture's own
    width, w_den, height, h_den, right, r_den, down, d_den = struct.unpack(">8i", aperture)
    whole_width, whole_height = struct.unpack(">II", size)
    whole = (width, height, right, down) == (whole_width * w_den, whole_height * h_den, 0, 0)
    return not (whole and min(w_den, h_den, r_den, d_den) > 0)


def exif(data: bytes) -> bytes:
    """Return the first EXIF block of a file from its TIFF header on, as it lies there; nothing if there is none.

    Raises:
        struct.error: damaged boxes.
    """
    meta = dict(reversed(list(boxes(_first(boxes(data), b"meta")[4:]))))
    iinf = meta.get(b"iinf", b"")
    infos = boxes(iinf[6 if iinf[:1] == b"\0" else 8 :])
    for _, info in infos:
        item, kind = struct.unpack_from(">4xI2x4s" if info[:1] == b"\3" else ">4xH2x4s", info)
        if kind == b"Exif":
            block = _content(item, meta.get(b"iloc", b""), data, meta.get(b"idat", b""))
            (skipped,) = struct.unpack_from(">I", block)
            return block[4 + skipped :]
    return b""


def extents(iloc: bytes) -> Iterator[tuple[int, bool, int, int]]:
    """Yield where the items' bytes lie: item, whether in `meta` itself (its `idat`), start, length.

    Raises:
        struct.error: damaged.
    """
    version, sizes, bases = struct.unpack_from(">B3xBB", iloc)
    offset_size, length_size, base_size = sizes >> 4, sizes & 15, bases >> 4
    index_size = bases & 15 if version else 0
    at = 6

    def number(size: int) -> int:
        nonlocal at
        at += size
        if at > len(iloc):
            raise struct.error("cut within the places of the items")
        return int.from_bytes(iloc[at - size : at], "big")

    for _ in range(number(4 if version == 2 else 2)):
        item = number(4 if version == 2 else 2)
        in_idat = bool(version) and number(2) & 15 == 1
        number(2)  # the file it is in: this one
        base = number(base_size)
        for _ in range(number(2)):
            number(index_size)
            yield item, in_idat, base + number(offset_size), number(length_size)


def _content(item: int, iloc: bytes, data: bytes, idat: bytes) -> bytes:
    """Return an item's bytes. idat: what an item that lies in `meta` itself is made of."""
    content, is_found = b"", False
    for number, in_idat, start, length in extents(iloc):
        if is_found and number != item:
            break
        is_found = number == item
        if is_found and len(content) < len(data):
            content += (idat if in_idat else data)[start : start + length]
    return content


def _first(found: Iterator[Box], kind: bytes) -> bytes:
    return next((body for name, body in found if name == kind), b"")


def _associations(body: bytes) -> Iterator[tuple[int, list[int]]]:
    """Yield item and numbers of its properties, counted from 1, of an `ipma`."""
    version, flags, items = struct.unpack_from(">BxxBI", body)
    wide = flags & 1
    at = 8
    for _ in range(items):
        item, count = struct.unpack_from(">IB" if version else ">HB", body, at)
        at += 5 if version else 3
        numbers = struct.unpack_from(f">{count}{'H' if wide else 'B'}", body, at)
        at += count * (2 if wide else 1)
        yield item, [number & (0x7FFF if wide else 0x7F) for number in numbers]
