"""What a published photo says about itself: rights, dates, caption, rating, camera; places only on request.

Every block is built anew from an allow-list, so nothing can hide in one, and a damaged block is left out
instead of failing its photo.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from PIL import ImageFile

from fawkes_engine.photo import boxes, captions, exif
from fawkes_engine.photo.directory import Directory
from fawkes_engine.types import MetadataPolicy

Block = TypeVar("Block")
_IMAGEMAGICK = "Raw profile type exif"  # a text chunk in which it wrote EXIF before PNG had a chunk for that


@dataclass(frozen=True, slots=True)
class Metadata:
    """New blocks for a new file. exif: its directory. xmp: a whole packet. iptc: records. Each may be empty."""

    exif: Directory = field(default_factory=dict)
    xmp: bytes = b""
    iptc: bytes = b""


def read(image: ImageFile.ImageFile, data: bytes, policy: MetadataPolicy) -> Metadata:
    """Return what may be published of a loaded photo's metadata. data: the file's bytes."""
    kept_of_exif: Directory = _or_nothing(lambda: exif.read(_exif_of(image, data), policy), {})
    if not policy.all:
        return Metadata(kept_of_exif)
    return Metadata(
        exif=kept_of_exif,
        xmp=_or_nothing(partial(captions.read_xmp, image), b""),
        iptc=_or_nothing(partial(captions.read_iptc, image), b""),
    )


def keep_other_orientations_out(image: ImageFile.ImageFile) -> None:
    """Have Pillow turn a TIFF, as it does while loading it, by the file's own tag and by nothing else.

    Otherwise it takes the first `tiff:Orientation` in the text of the XMP, also one that tells of another picture.
    """
    tags = getattr(image, "tag_v2", None)
    if tags is not None:
        image.getexif()[exif.ORIENTATION] = tags.get(exif.ORIENTATION, 1)


def orientation(image: ImageFile.ImageFile) -> int:
    """Return how the pixels of a loaded photo lie, 1 (upright) to 8 as in EXIF; 1 if it does not say.

    Only what the format says counts: EXIF's tag in JPEG, PNG (chunk eXIf) and WebP; in AVIF `irot` and `imir`, which
    Pillow writes into the EXIF block in place of what that said. TIFF and HEIC are upright once they are loaded. XMP
    tells nothing here: a `tiff:Orientation` in it may be another picture's, and browsers turn no photo by it (Chromium
    150: JPEG and PNG by EXIF, AVIF by `irot`, WebP not at all; none of the four by XMP, PNG not by ImageMagick's text).
    """
    if image.format in {"TIFF", "HEIF"}:
        return 1
    return _or_nothing(lambda: exif.orientation(_block(image)), 1)


def _exif_of(image: ImageFile.ImageFile, data: bytes) -> bytes:
    """Return the EXIF from its TIFF header on; a TIFF file is such a block itself."""
    if image.format == "TIFF":
        return data
    if (
        image.format == "AVIF"
    ):  # where Pillow changes the orientation in the block, it loses all letters but ASCII's
        return boxes.exif(data)
    as_text = image.info.get(_IMAGEMAGICK)
    if "exif" not in image.info and isinstance(as_text, str):
        return _from_header(
            bytes.fromhex("".join(as_text.split("\n")[3:]))
        )  # behind: nothing, a name, a length
    return _block(image)


def _block(image: ImageFile.ImageFile) -> bytes:
    return _from_header(image.info.get("exif", b""))


def _from_header(block: bytes) -> bytes:
    return re.sub(rb"^(Exif\0\0){1,2}", b"", block)


def _or_nothing(reader: Callable[[], Block], nothing: Block) -> Block:
    try:
        return reader()
    # Pillow's readers raise many kinds of error on damaged blocks, and a photo never fails for one.
    except Exception:  # noqa: BLE001
        return nothing
