"""Bytes to pixels and back: the only place that knows file formats, orientation and 8-bit colour.

A new file is built from pixels and an allow-list; nothing else of the source file is copied, so no thumbnail,
preview or trailing data can carry an uncloaked face.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from fawkes_engine.faces import Pixels
from fawkes_engine.types import Unreadable, Unsupported

LARGEST_PIXELS = 200_000_000  # 200 MP, the largest phone sensors; above, a header is taken for a bomb
_PLATFORM_SIDE_PX = 2048
_SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "TIFF": ".tif"}
_MODES = {"L", "RGB", "RGBA", "P"}


@dataclass(frozen=True, slots=True)
class Photo:
    """A decoded photo, orientation applied.

    pixels: (H, W, 3) uint8 RGB; a grey photo has three equal channels. alpha: (H, W) uint8 or None.
    grey: the file has one channel and must keep one. format: Pillow's name of the file format.
    icc: the colour profile's bytes, unchanged, or None. dpi: horizontal and vertical, or None.
    jpeg_quality: Pillow's quality that is at least as fine as the source's, 0 if it was no JPEG.
    """

    pixels: Pixels
    alpha: Pixels | None
    grey: bool
    format: str
    icc: bytes | None
    dpi: tuple[float, float] | None
    jpeg_quality: int

    @property
    def suffix(self) -> str:
        """File extension that fits the format."""
        return _SUFFIXES[self.format]


def decode(data: bytes) -> Photo:
    """Read a photo.

    Raises:
        Unreadable: damaged, cut short, or no picture. Unsupported: a kind that cannot be written back faithfully.
    """
    Image.MAX_IMAGE_PIXELS = LARGEST_PIXELS // 2  # Pillow raises at twice this
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # damaged EXIF blocks warn; they are not copied anyway
        try:
            file = Image.open(io.BytesIO(data))
            _check_kind(file)
            file.load()
            image = ImageOps.exif_transpose(file)
        except (Unsupported, Unreadable):
            raise
        except Image.DecompressionBombError as error:
            raise Unsupported(f"larger than {LARGEST_PIXELS // 1_000_000} megapixels") from error
        except UnidentifiedImageError as error:
            raise Unreadable(
                "not a picture this version can read; export it as JPEG, PNG, WebP or TIFF"
            ) from error
        # Pillow's decoders raise many kinds of error on damaged bytes, and each means the same thing here.
        except Exception as error:
            raise Unreadable(f"the file is damaged or incomplete ({error})") from error
    file_format = "JPEG" if file.format == "MPO" else str(file.format)
    return _as_photo(image, file_format, _source_quality(file))


def encode(photo: Photo, pixels: Pixels, jpeg_quality: int) -> bytes:
    """Write pixels (H, W, 3) uint8 in the photo's format, with its profile and resolution and nothing else.

    jpeg_quality: Pillow's scale, written 4:4:4. The other formats are written without loss.
    """
    image = Image.fromarray(pixels)
    if photo.grey:
        image = image.getchannel(0)
    elif photo.alpha is not None:
        image.putalpha(Image.fromarray(photo.alpha))
    options: dict[str, object] = {"icc_profile": photo.icc} if photo.icc else {}
    if photo.dpi:
        options["dpi"] = photo.dpi
    if photo.format == "JPEG":
        options |= {"quality": jpeg_quality, "subsampling": 0, "optimize": True}
    elif photo.format == "WEBP":
        options |= {"lossless": True, "exact": True}  # colours below full transparency too
    elif photo.format == "TIFF":
        options |= {"compression": "tiff_adobe_deflate"}
    out = io.BytesIO()
    image.save(out, photo.format, **options)
    return out.getvalue()


def as_written(photo: Photo, piece: Pixels, jpeg_quality: int) -> Pixels:
    """Return a piece of the photo as it reads back from the encoded file; JPEG pieces must be whole blocks."""
    if photo.format != "JPEG":
        return piece
    image = Image.fromarray(piece).convert("L" if photo.grey else "RGB")
    out = io.BytesIO()
    image.save(out, "JPEG", quality=jpeg_quality, subsampling=0)
    return np.asarray(Image.open(out).convert("RGB"))


def as_shared(pixels: Pixels) -> Pixels:
    """Return a picture (H, W, 3) as a photo platform passes it on: 2048 px at most, JPEG quality 75 4:2:0."""
    image = Image.fromarray(pixels)
    image.thumbnail((_PLATFORM_SIDE_PX, _PLATFORM_SIDE_PX), Image.Resampling.BICUBIC)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=75, subsampling=2)
    return np.asarray(Image.open(out).convert("RGB"))


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


def _check_kind(image: ImageFile.ImageFile) -> None:
    """Refuse, from the header, what cannot be written back faithfully."""
    if image.format == "MPO":
        return  # a JPEG with further pictures behind it; only the first is written
    if image.format not in _SUFFIXES:
        raise Unsupported(f"{image.format} files are not supported yet; export as JPEG, PNG, WebP or TIFF")
    if getattr(image, "n_frames", 1) > 1:
        raise Unsupported("more than one picture in the file (animation or pages); export a single picture")
    if image.mode not in _MODES:
        raise Unsupported(f"colour mode {image.mode} is not supported yet; export as 8-bit RGB or grey")
    if _deeper_than_8_bits(image):
        raise Unsupported("more than 8 bits per channel would be lost; export as 8-bit")


def _deeper_than_8_bits(image: ImageFile.ImageFile) -> bool:
    """Pillow opens 16-bit RGB PNG and TIFF as 8-bit without a word, so the header is asked."""
    if image.format == "PNG":
        return any(str(tile[3]).startswith(("I;16", "RGB;16", "RGBA;16", "LA;16")) for tile in image.tile)
    if image.format == "TIFF":
        depths = np.atleast_1d(getattr(image, "tag_v2", {}).get(258, 8))
        return bool(depths.max() > 8)
    return False


def _as_photo(image: Image.Image, file_format: str, quality: int) -> Photo:
    alpha = None
    if image.mode == "RGBA" or "transparency" in image.info:
        image = image.convert("RGBA")
        alpha = np.asarray(image.getchannel("A"))
    return Photo(
        pixels=np.asarray(image.convert("RGB")),
        alpha=alpha,
        grey=image.mode == "L" and alpha is None,
        format=file_format,
        icc=image.info.get("icc_profile"),
        dpi=_resolution(image),
        jpeg_quality=quality,
    )


def _resolution(image: Image.Image) -> tuple[float, float] | None:
    """Return dots per inch across and down, or None if the file says none or nonsense."""
    try:
        across, down = (float(value) for value in image.info.get("dpi", ()))
    except (TypeError, ValueError):
        return None
    return (across, down) if 0 < across < 2**16 and 0 < down < 2**16 else None
