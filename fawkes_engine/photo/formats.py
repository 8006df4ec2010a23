"""Which kinds of picture can be cloaked and written back, and what to say about the others.

Only the parsers of supported formats ever see a file; every other kind is told by its first bytes.
"""

from __future__ import annotations

import re

import numpy as np
import pillow_heif
from PIL import Image, ImageFile

from fawkes_engine.errors import Refusal, Unreadable, Unsupported
from fawkes_engine.photo import png_colours
from fawkes_engine.photo.boxes import is_cropped

SUFFIXES = {
    "JPEG": ".jpg",
    "PNG": ".png",
    "WEBP": ".webp",
    "TIFF": ".tif",
    "AVIF": ".avif",
    "HEIF": ".heic",
}
OPENED = tuple(SUFFIXES)  # MPO, a JPEG with further pictures behind it, is opened as JPEG

pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)

_MODES = {"L", "LA", "RGB", "RGBA", "P", "PA"}
_EXPORT = "export it as JPEG, PNG, WebP, TIFF or AVIF"
_RAW = "a raw photo has to be developed first: export it as JPEG from your raw converter"
_VIDEO = "this is a video, and only photos are cloaked; export single pictures as JPEG"
_SIGNATURES = (
    (0, b"GIF8", f"GIF has too few colours for a cloak; {_EXPORT}"),
    (0, b"BM", f"BMP is not supported; {_EXPORT}"),
    (0, b"8BPS", f"Photoshop files have layers that may show the face; {_EXPORT}"),
    (0, b"\xff\x0a", f"JPEG XL is not supported; {_EXPORT}"),
    (4, b"JXL ", f"JPEG XL is not supported; {_EXPORT}"),
    (4, b"jP  ", f"JPEG 2000 is not supported; {_EXPORT}"),
    (0, b"\xff\x4f\xff\x51", f"JPEG 2000 is not supported; {_EXPORT}"),
    (0, b"\0\0\1\0", f"icon files are not supported; {_EXPORT}"),
    *(
        (0, start, f"PGM and PPM are not supported; {_EXPORT}")
        for start in (b"P5\n", b"P6\n", b"P5 ", b"P6 ")
    ),
    (0, b"%PDF", f"this is a document; {_EXPORT}"),
    (0, b"FUJIFILMCCD-RAW", _RAW),
    (0, b"IIRO", _RAW),  # Olympus
    (0, b"IIRS", _RAW),
    (0, b"MMOR", _RAW),
    (0, b"IIU\0", _RAW),  # Panasonic
    (0, b"FOVb", _RAW),  # Sigma
    (0, b"\0MRM", _RAW),  # Minolta
    (6, b"HEAPCCDR", _RAW),  # Canon
    (4, b"ftypcrx ", _RAW),
    *((4, b"ftyp" + brand, _VIDEO) for brand in (b"isom", b"iso2", b"mp4", b"avc1", b"qt  ", b"M4V", b"3g")),
    (0, b"\x1aE\xdf\xa3", _VIDEO),  # Matroska, WebM
    (8, b"AVI ", _VIDEO),
)
_NEW_SUBFILE_TYPE, _BITS_PER_SAMPLE, _DNG_VERSION = 254, 258, 50706
_REDUCED = 1  # bit of the new subfile type: this page is a smaller copy of another

# ISO/IEC 23091-2 colour codes. Primaries that are sRGB's or nearly so, or unspecified; transfers that are sRGB's, its
# like or unspecified (Chromium 150 shows an AVIF with BT.709's and its like as with sRGB's); transfers of HDR.
_ORDINARY_PRIMARIES = {1, 2, 5, 6}
_ORDINARY_TRANSFERS = {1, 2, 6, 13, 14, 15}
_HDR_TRANSFERS = {16, 18}
_UNSPECIFIED = (2, 2)
_COLOUR_BOX = re.compile(rb"colrnclx(..)(..)", re.DOTALL)
_AV1_CONFIGURATION = re.compile(rb"av1C..(.)", re.DOTALL)
_AV1_HIGH_BIT_DEPTH = 0x40


def foreign(data: bytes) -> Refusal:
    """Return the refusal of bytes that none of the parsers knows."""
    for position, signature, reason in _SIGNATURES:
        if data.startswith(signature, position):
            return Unsupported(reason)
    return Unreadable(f"damaged, or no picture that this version can read; {_EXPORT}")


def check(image: ImageFile.ImageFile, data: bytes) -> None:
    """Refuse, from the header, what cannot be written back faithfully.

    Raises:
        Unsupported: with what to do about it.
    """
    if image.format == "MPO":
        return  # only its first picture is read, and written as a JPEG
    if image.format == "TIFF" and _is_raw(image, data):
        raise Unsupported(_RAW)
    if getattr(image, "n_frames", 1) > 1:
        raise Unsupported("more than one picture in the file (animation or pages); export a single picture")
    if image.info.get("compression") == "webp":
        raise Unsupported("TIFF with WebP compression is not supported; export with deflate or LZW")
    if image.mode in {"CMYK", "LAB"}:
        raise Unsupported(f"{image.mode} colours are made for print; export the photo as RGB")
    if _bits_per_channel(image, data) > 8:
        raise Unsupported("more than 8 bits per channel would be lost; export the photo with 8 bits")
    if image.mode not in _MODES:
        raise Unsupported(f"the colour mode {image.mode} is not supported; export the photo as 8-bit RGB")
    if image.format == "AVIF" and is_cropped(
        data
    ):  # HEIC is cropped by its decoder; no other format has the like
        raise Unsupported(
            "it is cropped by a note in the file only, and what was cut away is still in it; crop it once more and"
            " export it as JPEG, PNG or AVIF"
        )
    if _has_lost_colours(image, data):
        raise Unsupported("HDR or wide colours without a colour profile would be lost; export as sRGB")


def _is_raw(image: Image.Image, data: bytes) -> bool:
    """Raw photos are TIFF files whose first page is a small preview, which must not pass for the photo."""
    tags = getattr(image, "tag_v2", {})
    reduced = tags.get(_NEW_SUBFILE_TYPE, 0)
    return (
        data[8:10] == b"CR" or _DNG_VERSION in tags or (isinstance(reduced, int) and reduced & _REDUCED > 0)
    )


def _bits_per_channel(image: ImageFile.ImageFile, data: bytes) -> int:
    """Pillow opens deeper PNG, TIFF, AVIF and HEIF pictures as 8-bit without a word, so the header is asked."""
    if image.mode in {"I", "F"} or image.mode.startswith("I;"):
        return 16
    if image.format == "PNG":
        return 16 if any(";16" in str(tile[3]) for tile in image.tile) else 8
    if image.format == "TIFF":
        return int(np.atleast_1d(getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, 8)).max())
    if image.format == "AVIF":
        flags = _AV1_CONFIGURATION.findall(data)
        return 16 if any(flag[0] & _AV1_HIGH_BIT_DEPTH for flag in flags) else 8
    return int(image.info.get("bit_depth", 8))


def _has_lost_colours(image: Image.Image, data: bytes) -> bool:
    """Say whether the colours are told by codes alone, and are no sRGB."""
    if image.format == "PNG":
        primaries, transfer, *_ = png_colours.read(data).get(b"cICP", _UNSPECIFIED)
    elif image.format in {"AVIF", "HEIF"}:
        found = _COLOUR_BOX.search(data)
        primaries, transfer = (
            (int.from_bytes(code, "big") for code in found.groups()) if found else _UNSPECIFIED
        )
    else:
        return False
    ordinary = primaries in _ORDINARY_PRIMARIES and transfer in _ORDINARY_TRANSFERS
    return transfer in _HDR_TRANSFERS or not (ordinary or image.info.get("icc_profile"))
