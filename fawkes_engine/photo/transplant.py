"""Lossless transplantation: only the touched blocks of a JPEG are encoded anew, all others are carried over to the bit.

The new file keeps the source's orientation, sampling and coefficients. Its quantisation may be too coarse for a cloak,
so each step of its tables is replaced by one of its divisors, fine enough: the coefficients times the quotient stand
for the same values, so the carried blocks still decode to the same pixels, and the new ones lose less.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import numpy as np
import numpy.typing as npt
from PIL import Image, JpegImagePlugin

from fawkes_engine.photo import coefficients, segments
from fawkes_engine.photo.colour import Pixels
from fawkes_engine.photo.orientation import Region, as_stored, region_as_stored, region_upright, upright

_SAMPLINGS = {0: (8, 8), 1: (16, 8), 2: (16, 16)}  # Pillow's number -> width and height of an MCU, px
_BLOCK = 8
_BAND = 256  # rows compared at a time; bounds memory


class Source:
    """A JPEG whose blocks can be carried over.

    bare: it, without metadata. lies: its orientation. width, height: of the upright photo, px; stored_size: as it lies.
    sampling: Pillow's number. full_colour: its resolution is not halved. mcu: width and height of an MCU, px.
    table_numbers, tables: of each component, as Pillow has them.
    """

    def __init__(self, jpeg: bytes, lies: int) -> None:
        """Raises ValueError for one of an unusual kind: other coding, colours or sampling, 16 bits, or damaged."""
        self.lies = lies
        self.bare = segments.bare(jpeg)
        if not all(map(_is_usual, segments.segments(self.bare))):
            raise ValueError("unusual coding")
        with Image.open(io.BytesIO(self.bare)) as image:
            self.grey = image.mode == "L"
            self.sampling = 0 if self.grey else JpegImagePlugin.get_sampling(image)
            if image.mode not in {"L", "RGB"} or self.sampling not in _SAMPLINGS:
                raise ValueError("unusual colours or sampling")
            self.table_numbers = [layer[3] for layer in cast("JpegImagePlugin.JpegImageFile", image).layer]
            self.stored_size = image.size
        self.tables = _tables(self.bare, self.table_numbers)
        self.width, self.height = self.stored_size if lies < 5 else self.stored_size[::-1]
        self.mcu = _SAMPLINGS[self.sampling]
        self.full_colour = self.sampling == 0

    def around(self, region: Region) -> tuple[slice, slice]:
        """Rows and columns of the MCUs that a region reaches into, all of the upright photo."""
        width, height = self.mcu
        x0, y0, x1, y1 = region_as_stored(region, self.lies, self.width, self.height)
        across, down = self.stored_size
        whole = (
            x0 // width * width,
            y0 // height * height,
            min(across, -(-x1 // width) * width),
            min(down, -(-y1 // height) * height),
        )
        x0, y0, x1, y1 = region_upright(whole, self.lies, self.width, self.height)
        return slice(y0, y1), slice(x0, x1)

    def carried(self, before: Pixels, after: Pixels, regions: Sequence[Region]) -> bool:
        """Whether two upright photos (H, W, 3) are equal outside the MCUs that the regions reach into.

        With halved colour resolution the colours of the next pixel beside them may differ: decoders smooth them.
        """
        margin = 1 if self.sampling else 0
        around = (self.around(region) for region in regions)
        return equal_outside(
            before,
            after,
            [(c.start - margin, r.start - margin, c.stop + margin, r.stop + margin) for r, c in around],
        )


@dataclass(frozen=True)
class Host:
    """A source with tables fine enough for new blocks.

    like: its bytes with these tables. tables: of each component, as Pillow has them. quotients: (8, 8) of each
    component, by which the coefficients that are carried over are multiplied.
    """

    source: Source
    like: bytes
    tables: Sequence[Sequence[int]]
    quotients: Sequence[npt.NDArray[np.int16]]

    @classmethod
    def of(cls, source: Source, quality: int) -> Host:
        """Refine the tables of a source to steps at least as fine as those of a Pillow quality."""
        like = _refined(source, quality)
        tables = _tables(like, source.table_numbers)
        quotients = [
            (np.array(steps, np.int16) // np.array(finer, np.int16)).reshape(_BLOCK, _BLOCK)
            for steps, finer in zip(source.tables, tables, strict=True)
        ]
        return cls(source, like, tables, quotients)

    def as_written(self, piece: Pixels) -> Pixels:
        """Return an upright piece (H, W, 3) of whole MCUs as it reads back from the file.

        With halved colour resolution only nearly: colours at its border depend on what is beside it.
        """
        with Image.open(io.BytesIO(self.encoded(as_stored(piece, self.source.lies)))) as image:
            return upright(np.asarray(image.convert("RGB")), self.source.lies)

    def encoded(self, stored: Pixels) -> bytes:
        """Return a JPEG of pixels (H, W, 3), as they lie in the file, with the host's tables and sampling."""
        out = io.BytesIO()
        image = Image.fromarray(stored).convert("L" if self.source.grey else "RGB")
        image.save(out, "JPEG", qtables=self.tables, subsampling=self.source.sampling)
        return out.getvalue()

    @property
    def block_sizes(self) -> list[tuple[int, int]]:
        """Width and height, in px of the photo, of a block of each component."""
        luma, chroma = (_BLOCK, _BLOCK), self.source.mcu
        return [luma] if self.source.grey else [luma, chroma, chroma]


class Transplant:
    """A host's blocks in memory: to be replaced, looked at in part, and written.

    Raises:
        OSError: damaged, or a coefficient is out of JPEG's range; also from its methods.
    """

    def __init__(self, host: Host) -> None:
        self.host = host
        self._planes = coefficients.read(host.source.bare)
        for plane, quotient in zip(self._planes, host.quotients, strict=True):
            np.multiply(plane, quotient, out=plane)

    def replace(self, pixels: Pixels, regions: Sequence[Region]) -> None:
        """Encode the MCUs in these regions from upright pixels (H, W, 3) of the whole photo."""
        source = self.host.source
        for rows, columns in map(source.around, regions):
            piece = self.host.encoded(as_stored(pixels[rows, columns], source.lies))
            whole = (columns.start, rows.start, columns.stop, rows.stop)
            left, top, _, _ = region_as_stored(whole, source.lies, source.width, source.height)
            new = coefficients.read(segments.bare(piece))
            for plane, blocks, (width, height) in zip(self._planes, new, self.host.block_sizes, strict=True):
                row, column = top // height, left // width
                plane[row : row + blocks.shape[0], column : column + blocks.shape[1]] = blocks

    def seen(self, region: Region) -> tuple[tuple[slice, slice], Pixels]:
        """Return rows and columns of the MCUs around a region, and what is read there from the file (H, W, 3), upright.

        Decoded are the MCUs beside them, too, whose colours decoders smooth into them.
        """
        source = self.host.source
        rows, columns = source.around(region)
        width, height = source.mcu
        wide, high = source.stored_size
        x0, y0, x1, y1 = region_as_stored(
            (columns.start, rows.start, columns.stop, rows.stop), source.lies, source.width, source.height
        )
        left, top = max(0, x0 - width), max(0, y0 - height)
        right, bottom = min(wide, x1 + width), min(high, y1 + height)
        parts = [
            np.ascontiguousarray(plane[top // h : -(-bottom // h), left // w : -(-right // w)])
            for plane, (w, h) in zip(self._planes, self.host.block_sizes, strict=True)
        ]
        like = self.host.encoded(np.zeros((bottom - top, right - left, 3), np.uint8))
        with Image.open(io.BytesIO(coefficients.write(like, parts))) as image:
            around = np.asarray(image.convert("RGB"))
        return (rows, columns), upright(around[y0 - top : y1 - top, x0 - left : x1 - left], source.lies)

    def jpeg(self) -> bytes:
        """Return the whole as a JPEG without metadata."""
        return segments.bare(coefficients.write(self.host.like, self._planes))


def equal_outside(before: Pixels, after: Pixels, parts: Sequence[Region]) -> bool:
    """Whether two pictures (H, W, 3) are equal to the bit outside these parts, which may reach beyond their edges."""
    if before.shape != after.shape:
        return False
    for top in range(0, len(before), _BAND):
        differs = before[top : top + _BAND] != after[top : top + _BAND]
        for x0, y0, x1, y1 in parts:
            differs[max(0, y0 - top) : max(0, y1 - top), max(0, x0) : max(0, x1)] = False
        if differs.any():
            return False
    return True


def _is_usual(segment: segments.Segment) -> bool:
    """Whether a segment belongs to a baseline or progressive JPEG in Huffman's code. Raises ValueError as `tables`.

    The library that reads coefficients crashes on a coding that Pillow's knows and it does not: the lossless one.
    """
    kind, body = segment
    if kind == segments.DQT:
        list(segments.tables(body))
    return kind in segments.USUAL


def _tables(jpeg: bytes, numbers: Sequence[int]) -> list[list[int]]:
    with Image.open(io.BytesIO(jpeg)) as image:
        tables = cast("JpegImagePlugin.JpegImageFile", image).quantization
    if not tables.keys() >= set(numbers):
        raise ValueError("a quantisation table is missing, or comes behind other coded data")
    return [tables[number] for number in numbers]


def _refined(source: Source, quality: int) -> bytes:
    luma, chroma = _steps(quality)
    out = segments.SOI
    for kind, body in segments.segments(source.bare):
        if kind == segments.DQT:
            for number, steps in segments.tables(body):
                finest = luma if number == source.table_numbers[0] else chroma
                out += segments.table(number, [_divisor(*pair) for pair in zip(steps, finest, strict=True)])
        else:
            out += body
    return out + segments.EOI


def _divisor(step: int, most: int) -> int:
    return next(divisor for divisor in range(min(step, most), 0, -1) if step % divisor == 0)


@lru_cache(maxsize=8)
def _steps(quality: int) -> tuple[bytes, bytes]:
    """Pillow's steps of luminance and chrominance at a quality, in a file's order."""
    out = io.BytesIO()
    Image.new("RGB", (_BLOCK, _BLOCK)).save(out, "JPEG", quality=quality)
    bodies = [body for kind, body in segments.segments(out.getvalue()) if kind == segments.DQT]
    found = dict(table for body in bodies for table in segments.tables(body))
    return found[0], found[1]
