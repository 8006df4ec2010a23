"""From pixels to the file that is published.

A new file is built from pixels and an allow-list; nothing else of the source file is copied, so no thumbnail,
preview or trailing data can carry an uncloaked face. Of a JPEG the blocks that no cloak touches may be carried over:
`transplanted` does that.
"""

from __future__ import annotations

import contextlib
import io
import struct
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from fawkes_engine.errors import Unsupported
from fawkes_engine.photo import captions, coefficients, directory, exif, segments
from fawkes_engine.photo.colour import Pixels
from fawkes_engine.photo.decode import Photo
from fawkes_engine.photo.directory import Directory, Kind, Value
from fawkes_engine.photo.metadata import Metadata
from fawkes_engine.photo.transplant import Transplant

_HEIC_PRESET = {"preset": "fast"}  # the slower ones take 1.5 x the time for nothing
_LOSSLESS = {"PNG", "TIFF", "WEBP"}  # WebP's other mode halves the colour resolution, and with it a cloak


def encode(photo: Photo, pixels: Pixels, quality: int) -> bytes:
    """Write pixels (H, W, 3) uint8 in the photo's format, with its profile, resolution and metadata.

    quality: Pillow's scale, for JPEG and AVIF (written 4:4:4) and HEIC. The others are written without loss.

    Raises:
        Unsupported: the format cannot hold this picture.
    """
    height, width = pixels.shape[:2]
    tags = exif.sized(photo.metadata.exif, width, height)
    options = _encoder(photo.format, quality) | _attached(photo, tags)
    out = io.BytesIO()
    try:
        if photo.format == "JPEG":
            return _optimised(_image(photo, pixels), options)
        _image(photo, pixels).save(out, photo.format, **options)
    except (OSError, ValueError) as error:
        raise Unsupported(f"it cannot be written as {photo.format} ({error}); export it anew") from error
    if photo.format == "TIFF":
        return directory.with_tags(out.getvalue(), _tiff_tags(photo.metadata))
    return out.getvalue()


def transplanted(photo: Photo, blocks: Transplant) -> bytes:
    """Write the photo's own JPEG with some of its blocks replaced, and with its metadata.

    It keeps its orientation, told in EXIF. Raises:
        OSError: it cannot take these blocks.
    """
    return segments.SOI + told(photo, photo.lies) + blocks.jpeg().removeprefix(segments.SOI)


def told(photo: Photo, lies: int) -> bytes:
    """Return the segments that tell about a photo's pixels in a JPEG; lies: how they lie in it, as EXIF has it."""
    height, width = photo.pixels.shape[:2]
    tags = exif.sized(photo.metadata.exif, *((width, height) if lies < 5 else (height, width)))
    if lies != 1:
        tags = {**tags, exif.ORIENTATION: Value(Kind.SHORT.value, struct.pack("<H", lies))}
    out = io.BytesIO()
    Image.new("L" if photo.grey else "RGB", (8, 8)).save(out, "JPEG", **_attached(photo, tags))
    return segments.told(out.getvalue())


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


def _optimised(image: Image.Image, options: dict[str, Any]) -> bytes:
    """Return a JPEG with the shortest codes. Raises OSError or ValueError if it cannot be written."""
    out = io.BytesIO()
    with contextlib.suppress(
        OSError
    ):  # a picture full of noise does not fit into Pillow's buffer, 2 bytes a pixel
        image.save(out, "JPEG", optimize=True, **options)
        return out.getvalue()
    out = io.BytesIO()
    image.save(out, "JPEG", **options)
    plain = out.getvalue()
    bare = segments.bare(plain)
    blocks = segments.bare(coefficients.write(bare, coefficients.read(bare)))
    return segments.SOI + segments.told(plain) + blocks.removeprefix(segments.SOI)


def _encoder(file_format: str, quality: int) -> dict[str, Any]:
    options: dict[str, dict[str, Any]] = {
        "JPEG": {"quality": quality, "subsampling": 0},
        "PNG": {},
        "WEBP": {"lossless": True, "exact": True},
        "TIFF": {"compression": "tiff_adobe_deflate"},
        "AVIF": {"quality": quality, "subsampling": "4:4:4", "speed": 8},  # speed 6: 4 x the time for 2 %
        "HEIF": {"quality": quality, "chroma": 420, "enc_params": _HEIC_PRESET},  # phones open no HEIC 4:4:4
    }
    return options[file_format]


def _attached(photo: Photo, tags: Directory) -> dict[str, Any]:
    """Return profile, resolution and metadata as the encoder's options; TIFF's is added afterwards."""
    told = photo.metadata
    options: dict[str, Any] = {}
    if photo.icc:
        options["icc_profile"] = photo.icc
    if photo.dpi:
        options["dpi"] = photo.dpi
    if photo.format == "TIFF":
        return options
    if tags:
        header = b"Exif\0\0" if photo.format == "JPEG" else b""
        options["exif"] = header + directory.block(tags)
    if photo.format == "PNG":
        options["pnginfo"] = PngInfo()
        for kind, body in photo.chunks.items():
            options["pnginfo"].add(kind, body)
        if told.xmp:
            options["pnginfo"].add_itxt("XML:com.adobe.xmp", told.xmp.decode())
    elif told.xmp:
        options["xmp"] = told.xmp
    if told.iptc and photo.format == "JPEG":
        options["extra"] = captions.iptc_segment(told.iptc)
    return options


def _tiff_tags(told: Metadata) -> Directory:
    tags = dict(told.exif)
    if told.xmp:
        tags[700] = Value(Kind.BYTE.value, told.xmp)
    if told.iptc:
        tags[33723] = Value(Kind.UNDEFINED.value, told.iptc)
    return tags


def _image(photo: Photo, pixels: Pixels) -> Image.Image:
    image = Image.fromarray(pixels)
    if photo.grey:
        image = image.getchannel(0)
    if photo.alpha is not None:
        image.putalpha(Image.fromarray(photo.alpha))
    return image
