"""Bytes to pixels and back: the only place that knows orientation, encoders and 8-bit colour.

A new file is built from pixels and an allow-list; nothing else of the source file is copied, so no thumbnail,
preview or trailing data can carry an uncloaked face. JPEG blocks that no cloak touches are encoded again, too:
copying them as they are would need the source's own sampling and tables, which cost a cloak most of its effect.
"""

from __future__ import annotations

import io
import math
import warnings
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from fawkes_engine import captions, exif, formats, metadata
from fawkes_engine.colour import ColourSpace, Pixels, colour_space
from fawkes_engine.metadata import Metadata
from fawkes_engine.types import HeicAs, MetadataPolicy, Unreadable, Unsupported

LARGEST_PIXELS = 200_000_000  # 200 MP, the largest phone sensors; above, a header is taken for a bomb
_HIGHEST_DPI = 65_535  # of a JPEG header
_LOSSLESS = {"PNG", "TIFF", "WEBP"}  # WebP's other mode halves the colour resolution, and with it a cloak


@dataclass(frozen=True, slots=True)
class Photo:
    """A decoded photo, orientation applied.

    pixels: (H, W, 3) uint8 RGB in the photo's own colour space; a grey photo has three equal channels.
    alpha: (H, W) uint8 or None. grey: the file has one channel and must keep one.
    format: Pillow's name of the format to write. icc: the colour profile's bytes, unchanged, or None.
    dpi: horizontal and vertical, or None. jpeg_quality: Pillow's quality that is at least as fine as the
    source's, 0 if it was no JPEG. metadata: to be written.
    """

    pixels: Pixels
    alpha: Pixels | None
    grey: bool
    format: str
    icc: bytes | None
    dpi: tuple[float, float] | None
    jpeg_quality: int
    metadata: Metadata

    @property
    def suffix(self) -> str:
        """File extension that fits the format."""
        return formats.SUFFIXES[self.format]

    @property
    def colour(self) -> ColourSpace | None:
        """The space of the pixels, None if it is sRGB."""
        return colour_space(self.icc, grey=self.grey)


def decode(
    data: bytes, policy: MetadataPolicy = MetadataPolicy(), heic: HeicAs = HeicAs.JPEG  # noqa: B008 - frozen
) -> Photo:
    """Read a photo. policy: what of its metadata it will be written with. heic: what a HEIC photo becomes.

    Raises:
        Unreadable: damaged, cut short, or no picture. Unsupported: a kind that cannot be written back faithfully.
    """
    Image.MAX_IMAGE_PIXELS = LARGEST_PIXELS // 2  # Pillow raises at twice this
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # damaged metadata warns; it is left out
        try:
            with Image.open(io.BytesIO(data), formats=formats.OPENED) as file:
                formats.check(file, data)
                file.load()
                return _as_photo(file, policy, heic)
        except (Unsupported, Unreadable):
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


def encode(photo: Photo, pixels: Pixels, quality: int) -> bytes:
    """Write pixels (H, W, 3) uint8 in the photo's format, with its profile, resolution and metadata.

    quality: Pillow's scale, for JPEG and AVIF (written 4:4:4) and HEIC. The others are written without loss.

    Raises:
        Unsupported: the format cannot hold this picture.
    """
    options = _encoder(photo.format, quality) | _attached(photo, pixels)
    if photo.icc:
        options["icc_profile"] = photo.icc
    if photo.dpi:
        options["dpi"] = photo.dpi
    if photo.format == "JPEG":
        options["optimize"] = True
    out = io.BytesIO()
    try:
        _image(photo, pixels).save(out, photo.format, **options)
    except (OSError, ValueError) as error:
        raise Unsupported(f"it cannot be written as {photo.format} ({error}); export it anew") from error
    if photo.format == "TIFF":
        return exif.with_tags(out.getvalue(), _tiff_tags(photo.metadata))
    return out.getvalue()


def as_written(photo: Photo, piece: Pixels, quality: int) -> Pixels:
    """Return a piece of the photo as it reads back from the encoded file.

    JPEG pieces must be whole blocks, and come back exactly; AVIF and HEIC ones nearly, as blocks there depend
    on their neighbours.
    """
    if photo.format in _LOSSLESS:
        return piece
    image = Image.fromarray(piece).convert("L" if photo.grey else "RGB")
    out = io.BytesIO()
    image.save(out, photo.format, **_encoder(photo.format, quality))
    return np.asarray(Image.open(out).convert("RGB"))


def _encoder(file_format: str, quality: int) -> dict[str, object]:
    return {
        "JPEG": {"quality": quality, "subsampling": 0},
        "PNG": {},
        "WEBP": {"lossless": True, "exact": True},
        "TIFF": {"compression": "tiff_adobe_deflate"},
        "AVIF": {"quality": quality, "subsampling": "4:4:4", "speed": 8},  # speed 6: 4 x the time for 2 %
        # hardly any phone opens HEIC 4:4:4; the slower presets cost 1.5 x the time for nothing
        "HEIF": {"quality": quality, "chroma": 420, "enc_params": {"preset": "fast"}},
    }[file_format]


def _attached(photo: Photo, pixels: Pixels) -> dict[str, object]:
    """Return the metadata as the encoder's options; TIFF's is added afterwards."""
    told = photo.metadata
    if photo.format == "TIFF":
        return {}
    options: dict[str, object] = {}
    if told.exif:
        height, width = pixels.shape[:2]
        header = b"Exif\0\0" if photo.format == "JPEG" else b""
        options["exif"] = header + exif.block(exif.sized(told.exif, width, height))
    if told.xmp and photo.format == "PNG":
        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", told.xmp.decode())
    elif told.xmp:
        options["xmp"] = told.xmp
    if told.iptc and photo.format == "JPEG":
        options["extra"] = captions.iptc_segment(told.iptc)
    return options


def _tiff_tags(told: Metadata) -> exif.Directory:
    tags = dict(told.exif)
    if told.xmp:
        tags[700] = exif.Value(exif.Kind.BYTE.value, told.xmp)
    if told.iptc:
        tags[33723] = exif.Value(exif.Kind.UNDEFINED.value, told.iptc)
    return tags


def _image(photo: Photo, pixels: Pixels) -> Image.Image:
    image = Image.fromarray(pixels)
    if photo.grey:
        image = image.getchannel(0)
    if photo.alpha is not None:
        image.putalpha(Image.fromarray(photo.alpha))
    return image


def _source_quality(image: Image.Image) -> int:
    tables = getattr(image, "quantization", None)
    if not tables:
        return 0
    luma = sum(next(iter(tables.values())))  # a file may number its tables as it likes
    return next((q for q in range(50, 100) if _luma_steps(q) <= luma), 100)


@lru_cache(maxsize=64)
def _luma_steps(quality: int) -> int:
    """Sum of the luminance quantiser steps that Pillow writes at this quality."""
    out = io.BytesIO()
    Image.new("L", (8, 8)).save(out, "JPEG", quality=quality)
    with Image.open(out) as image:
        return sum(getattr(image, "quantization")[0])  # noqa: B009 - not in Pillow's base class


def _as_photo(file: ImageFile.ImageFile, policy: MetadataPolicy, heic: HeicAs) -> Photo:
    lies = metadata.orientation(file)
    file_format = "JPEG" if file.format == "MPO" else str(file.format)
    if file_format == "HEIF" and heic is HeicAs.JPEG:
        file_format = "JPEG"
    grey = file.mode in {"L", "LA"}
    image: Image.Image = file
    alpha = None
    if file.has_transparency_data:
        image = file.convert("LA" if grey else "RGBA")
        alpha = _upright(np.asarray(image.getchannel("A")), lies)
    if alpha is not None and file_format == "JPEG":
        raise Unsupported("JPEG has no transparency; export the photo as PNG, or publish HEIC as HEIC")
    return Photo(
        pixels=_upright(np.asarray(image if image.mode == "RGB" else image.convert("RGB")), lies),
        alpha=alpha,
        grey=grey,
        format=file_format,
        icc=file.info.get("icc_profile") or None,
        dpi=_dpi(file.info.get("dpi")),
        jpeg_quality=_source_quality(file),
        metadata=metadata.read(file, policy),
    )


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Turn (H, W, ...) as EXIF's orientation 1..8 says: flip columns, rows or both, and from 5 on swap axes."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in {3, 4, 7, 8}:
        pixels = pixels[::-1]
    if orientation in {2, 3, 6, 7}:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _dpi(value: object) -> tuple[float, float] | None:
    if not isinstance(value, tuple) or len(value) != 2:
        return None
    horizontal, vertical = (float(number) for number in value)
    sensible = all(math.isfinite(number) and 1 <= number <= _HIGHEST_DPI for number in (horizontal, vertical))
    return (horizontal, vertical) if sensible else None
