"""Whether a file holds one picture and what the engine writes beside it, and nothing else.

It is compared part by part with the file that the engine writes of an empty picture with the same metadata. Of the
part that holds the picture only its frame is looked at here; what it shows is compared by `inspection`.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from fawkes_engine.errors import Refusal
from fawkes_engine.photo import boxes, coefficients, segments
from fawkes_engine.photo.colour import Pixels
from fawkes_engine.photo.decode import Photo
from fawkes_engine.photo.encode import encode, told
from fawkes_engine.photo.transplant import Source

Part = tuple[object, ...]  # a name, and what must be equal

_PNG_START, _RIFF_START, _BOX_HEAD = 8, 12, 8
_INFLATED_AT_ONCE = 1 << 20
_VP8L_HEADER = 5  # signature, width, height, whether there is alpha
_HEVC_PARAMETERS = 32  # first type of a NAL unit that holds no part of the picture
_AV1_HAS_EXTENSION, _AV1_HAS_SIZE = 4, 2
_AV1_PIXELS = {3, 4, 6}  # types of OBU: frame header, tile group, frame
_AV1_SEQUENCE, _LONGEST_SEQUENCE = 1, 32  # its header, in which encoders write what they found out; bytes
_FINEST = 100  # quality at which AVIF's header is another one


def is_as_written(data: bytes, photo: Photo, pixels: Pixels, quality: int) -> bool:
    """Whether the engine could have written this file, which Pillow has decoded to pixels (H, W, 3), of a photo.

    photo: the original, of the same size. quality: the engine's lowest, as of `encode`.
    """
    try:
        if photo.format == "JPEG":
            return _is_jpeg_as_written(data, photo)
        if photo.format == "TIFF":
            return data == encode(photo, pixels, quality)
        found, empty = list(_parts(data)), np.zeros_like(pixels)
        return any(found == list(_parts(encode(photo, empty, likely))) for likely in (quality, _FINEST))
    except (ValueError, LookupError, OSError, struct.error, zlib.error, Refusal):
        return False


def _is_jpeg_as_written(data: bytes, photo: Photo) -> bool:
    """Whether a JPEG has the metadata of this photo, and blocks coded in the one way in which the engine codes them."""
    bare = Source(data, 1).bare
    blocks = segments.bare(coefficients.write(bare, coefficients.read(bare))).removeprefix(segments.SOI)
    return any(data == segments.SOI + told(photo, lies) + blocks for lies in {1, photo.lies})


def _parts(data: bytes) -> Iterator[Part]:
    """Yield all parts of a PNG, WebP, AVIF or HEIC. Raises ValueError, LookupError, or an error of struct or zlib."""
    if data.startswith(b"\x89PNG"):
        return _png_parts(data)
    return _webp_parts(data) if data.startswith(b"RIFF") else _box_parts(data)


def _png_parts(png: bytes) -> Iterator[Part]:
    at, picture = _PNG_START, b""
    yield "signature", png[:at]
    while at < len(png):
        length, kind = struct.unpack_from(">I4s", png, at)
        end = at + 12 + length
        if end > len(png):
            raise ValueError("a chunk without an end")
        if kind == b"IDAT":
            picture += png[at + 8 : end - 4]
        else:
            if picture:
                yield "picture", _inflated_size(picture)
                picture = b""
            yield kind, png[at:end]
        at = end


def _inflated_size(data: bytes) -> int:
    """Return the size of what one deflate stream holds. Raises ValueError if it does not end where the data end."""
    inflater, size = zlib.decompressobj(), 0
    while not inflater.eof:
        piece = inflater.decompress(data, _INFLATED_AT_ONCE)
        data = inflater.unconsumed_tail
        size += len(piece)
        if not piece and not inflater.eof:
            raise ValueError("cut short")
    if inflater.unused_data or data:
        raise ValueError("more behind the picture")
    return size


def _webp_parts(webp: bytes) -> Iterator[Part]:
    size, kind = struct.unpack_from("<I4s", webp, 4)
    if size != len(webp) - 8:
        raise ValueError("another size than it says")
    yield "kind", kind
    at = _RIFF_START
    while at < len(webp):
        name, length = struct.unpack_from("<4sI", webp, at)
        body, padding = webp[at + 8 : at + 8 + length], webp[at + 8 + length : at + 8 + length + length % 2]
        if len(body) != length or padding != bytes(length % 2):
            raise ValueError("a chunk without an end")
        yield name, body[:_VP8L_HEADER] if name == b"VP8L" else body
        at += 8 + length + length % 2


def _box_parts(data: bytes) -> Iterator[Part]:
    top = _filling_boxes(data)
    meta = _filling_boxes(dict(top)[b"meta"][4:])
    yield from ((kind, b"" if kind in {b"meta", b"mdat"} else body) for kind, body in top)
    yield from ((kind, b"" if kind == b"iloc" else body) for kind, body in meta)
    of_meta = dict(meta)
    (primary,) = struct.unpack_from(">H", of_meta[b"pitm"], 4)
    end = _BOX_HEAD
    for kind, body in top:
        if kind == b"mdat":
            break
        end += _BOX_HEAD + len(body)
    for item, in_meta, start, length in sorted(boxes.extents(of_meta[b"iloc"]), key=lambda extent: extent[2]):
        if in_meta or start != end:
            raise ValueError("bytes of no item, or of two")
        end += length
        content = data[start:end]
        yield item, *(_picture_units(content, dict(top)[b"ftyp"][:4]) if item == primary else [content])
    if end != len(data):
        raise ValueError("bytes of no item")


def _filling_boxes(data: bytes) -> list[boxes.Box]:
    found = list(boxes.boxes(data))
    if sum(_BOX_HEAD + len(body) for _, body in found) != len(data):
        raise ValueError("bytes in no box")
    return found


def _picture_units(content: bytes, brand: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield type and bytes of the units that a picture is coded in; of those that code the pixels, no bytes."""
    units = _obus(content) if brand == b"avif" else _nal_units(content)
    pixels = _AV1_PIXELS if brand == b"avif" else range(_HEVC_PARAMETERS)
    for kind, unit in units:
        is_small_header = brand == b"avif" and kind == _AV1_SEQUENCE and len(unit) <= _LONGEST_SEQUENCE
        yield kind, b"" if kind in pixels or is_small_header else unit


def _nal_units(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Split HEVC into units, each behind its length (ISO/IEC 14496-15, 8.3); the type is in their second to 7th bit."""
    at = 0
    while at < len(content):
        (length,) = struct.unpack_from(">I", content, at)
        unit = content[at + 4 : at + 4 + length]
        if len(unit) != length:
            raise ValueError("cut short")
        yield unit[0] >> 1 & 63, unit
        at += 4 + length


def _obus(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Split AV1 into units (AV1 specification, 5.3): type, extension and size flags, size in LEB128."""
    at = 0
    while at < len(content):
        start, head = at, content[at]
        at += 2 if head & _AV1_HAS_EXTENSION else 1
        length = 0
        if not head & _AV1_HAS_SIZE:
            raise ValueError("of no size")
        for shift in range(0, 56, 7):
            length |= (content[at] & 127) << shift
            at += 1
            if content[at - 1] < 128:
                break
        at += length
        if at > len(content):
            raise ValueError("cut short")
        yield head >> 3 & 15, content[start:at]
