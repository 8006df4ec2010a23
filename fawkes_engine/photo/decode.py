"""From a photo's bytes to its upright pixels, and what of the rest will be written again (see encode.py)."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from fawkes_engine.errors import Unreadable, Unsupported
from fawkes_engine.photo import formats, metadata, png_colours
from fawkes_engine.photo.colour import ColourSpace, Pixels, colour_space
from fawkes_engine.photo.metadata import Metadata
from fawkes_engine.photo.orientation import upright
from fawkes_engine.types import HeicAs, MetadataPolicy

LARGEST_PIXELS = 200_000_000  # 200 MP, the largest phone sensors; above, a header is taken for a bomb
Image.MAX_IMAGE_PIXELS = LARGEST_PIXELS // 2  # Pillow raises at twice this
_HIGHEST_DPI = 65_535  # of a JPEG header
_OPAQUE = 255
_BY_DEFAULT = MetadataPolicy()


@dataclass(frozen=True, slots=True)
class Photo:
    """A decoded photo, orientation applied.

    pixels: (H, W, 3) uint8 RGB in the photo's own colour space; a grey photo has three equal channels.
    alpha: (H, W) uint8 or None. grey: the file has one channel and must keep one.
    format: Pillow's name of the format to write. icc: the colour profile's bytes, unchanged, or None.
    dpi: horizontal and vertical, or None. jpeg_quality: Pillow's quality that is at least as fine as the
    source's, 0 if it was no JPEG. metadata: to be written. chunks: kind -> body of a PNG's colour chunks besides the
    profile, to be written unchanged. implied: the ICC profile that they amount to, None for sRGB; it is not written.
    jpeg: the bytes of a source that can be written again, block by block; None for other formats. lies: how the
    source's pixels lie, 1 (upright) to 8 as in EXIF.
    """

    pixels: Pixels
    alpha: Pixels | None
    grey: bool
    format: str
    icc: bytes | None
    dpi: tuple[float, float] | None
    jpeg_quality: int
    metadata: Metadata
    chunks: Mapping[bytes, bytes] = field(default_factory=dict)
    implied: bytes | None = None
    jpeg: bytes | None = None
    lies: int = 1

    @property
    def suffix(self) -> str:
        """File extension that fits the format."""
        return formats.SUFFIXES[self.format]

    @property
    def colour(self) -> ColourSpace | None:
        """The space of the pixels, None if it is sRGB."""
        return colour_space(self.icc or self.implied, grey=self.grey)


def decode(
    data: bytes,
    policy: MetadataPolicy = _BY_DEFAULT,
    heic: HeicAs = HeicAs.JPEG,
) -> Photo:
    """Read a photo. policy: what of its metadata it will be written with. heic: what a HEIC photo becomes.

    Raises:
        Unreadable: damaged, cut short, or no picture. Unsupported: a kind that cannot be written back faithfully.
    """
    with _opened(data) as file:
        formats.check(file, data)
        metadata.keep_other_orientations_out(file)
        file.load()
        return _as_photo(file, data, policy, heic)


def decode_pixels(data: bytes) -> Pixels:
    """Return the upright pixels (H, W, 3) of a file that `encode` or `transplanted` wrote.

    Raises:
        Unreadable: damaged.
    """
    with _opened(data) as file:
        pixels = np.asarray(file if file.mode == "RGB" else file.convert("RGB"))
        return upright(pixels, metadata.orientation(file))


@contextmanager
def _opened(data: bytes) -> Iterator[ImageFile.ImageFile]:
    """Open a photo for a with block; what goes wrong in it is a Refusal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # damaged metadata warns; it is left out
        try:
            with Image.open(io.BytesIO(data), formats=formats.OPENED) as file:
                yield file
        except (Unsupported, Unreadable, MemoryError):
            raise
        except Image.DecompressionBombError as error:
            raise Unsupported(
                f"larger than {LARGEST_PIXELS // 1_000_000} megapixels; export it smaller"
            ) from error
        except UnidentifiedImageError as error:
            raise formats.foreign(data) from error
        # Pillow's decoders raise many kinds of error on damaged bytes, and each means the same thing here.
        except Exception as error:
            raise Unreadable(f"the file is damaged or incomplete ({error})") from error


def pixel_count(data: bytes) -> int:
    """Width times height as the header says, 0 for what `decode` refuses anyway."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data), formats=formats.OPENED) as file:
                return file.width * file.height
        except Exception:  # noqa: BLE001 - as above: damaged bytes raise anything; decode says what is wrong
            return 0


def _source_quality(image: Image.Image) -> int:
    tables = getattr(image, "quantization", None)
    if not tables:
        return 0
    finest = min(sum(table) for table in tables.values())  # luminance may have a table of any number
    return next((q for q in range(50, 100) if _luma_steps(q) <= finest), 100)


@lru_cache(maxsize=64)
def _luma_steps(quality: int) -> int:
    """Sum of the luminance quantiser steps that Pillow writes at this quality."""
    out = io.BytesIO()
    Image.new("L", (8, 8)).save(out, "JPEG", quality=quality)
    with Image.open(out) as image:
        return sum(getattr(image, "quantization")[0])  # noqa: B009 - not in Pillow's base class


def _as_photo(file: ImageFile.ImageFile, data: bytes, policy: MetadataPolicy, heic: HeicAs) -> Photo:
    lies = metadata.orientation(file)
    file_format = "JPEG" if file.format == "MPO" else str(file.format)
    if file_format == "HEIF" and heic is HeicAs.JPEG:
        file_format = "JPEG"
    grey = file.mode in {"L", "LA"}
    image: Image.Image = file
    alpha = None
    if file.has_transparency_data:
        image = file.convert("LA" if grey else "RGBA")
        alpha = upright(np.asarray(image.getchannel("A")), lies)
    if alpha is not None and file_format == "JPEG":
        if alpha.min() < _OPAQUE:
            raise Unsupported("JPEG has no transparency; export the photo as PNG, or publish HEIC as HEIC")
        alpha = None
    chunks = png_colours.read(data) if file_format == "PNG" else {}
    return Photo(
        pixels=upright(np.asarray(image if image.mode == "RGB" else image.convert("RGB")), lies),
        alpha=alpha,
        grey=grey,
        format=file_format,
        icc=file.info.get("icc_profile") or None,
        dpi=_dpi(file.info.get("dpi")),
        jpeg_quality=_source_quality(file),
        metadata=metadata.read(file, data, policy),
        chunks=chunks,
        implied=png_colours.profile(chunks, grey=grey),
        jpeg=data if file.format in {"JPEG", "MPO"} else None,
        lies=lies,
    )


def _dpi(value: Any) -> tuple[float, float] | None:  # noqa: ANN401 - whatever Pillow read
    try:
        horizontal, vertical = (float(number) for number in value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    # Pillow reports 1 x 1 for a TIFF that tells no resolution, and for EXIF's "no unit"
    sensible = all(1 < number <= _HIGHEST_DPI for number in (horizontal, vertical))
    return (horizontal, vertical) if sensible else None
