"""What a published photo says about itself: rights, dates, caption, rating, camera; places only on request.

Every block is built anew from an allow-list, so nothing can hide in one, and a damaged block is left out
instead of failing its photo.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from PIL import ImageFile

from fawkes_engine.photo import captions, exif
from fawkes_engine.types import MetadataPolicy

Block = TypeVar("Block")
_ORIENTATION = 0x0112


@dataclass(frozen=True, slots=True)
class Metadata:
    """New blocks for a new file. exif: its directory. xmp: a whole packet. iptc: records. Each may be empty."""

    exif: exif.Directory = field(default_factory=dict)
    xmp: bytes = b""
    iptc: bytes = b""


def read(image: ImageFile.ImageFile, policy: MetadataPolicy) -> Metadata:
    """Return what may be published of a loaded photo's metadata."""
    if not policy.all:
        return Metadata()
    return Metadata(
        exif=_or_nothing(partial(exif.read, image, policy), {}),
        xmp=_or_nothing(partial(captions.read_xmp, image), b""),
        iptc=_or_nothing(partial(captions.read_iptc, image), b""),
    )


def orientation(image: ImageFile.ImageFile) -> int:
    """Return how the pixels of a loaded photo lie, 1 (upright) to 8 as in EXIF; 1 if it does not say."""
    value = _or_nothing(lambda: image.getexif().get(_ORIENTATION), None)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _or_nothing(reader: Callable[[], Block], nothing: Block) -> Block:
    try:
        return reader()
    # Pillow's readers raise many kinds of error on damaged blocks, and a photo never fails for one.
    except Exception:  # noqa: BLE001
        return nothing
