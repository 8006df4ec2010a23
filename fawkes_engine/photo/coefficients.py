"""The quantised DCT coefficients of a JPEG, read and written without loss, by libjpeg-turbo as `jpeglib` brings it.

Its binding is called directly, since its classes put the photo into temporary files, decode it once more and copy
markers: here a file in memory holds the bytes. It may crash on a damaged header, so it gets only what Pillow decoded.
"""

from __future__ import annotations

import ctypes
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import jpeglib
import numpy as np
import numpy.typing as npt
from jpeglib._bind import CJpegLib
from PIL import Image

jpeglib.version.set("turbo210")

Blocks = npt.NDArray[np.int16]  # (rows, columns, 8, 8), one component's, not yet multiplied by the table
_GREY, _YCBCR = 1, 3  # J_COLOR_SPACE


def read(jpeg: bytes) -> list[Blocks]:
    """Return the blocks of each component of a JPEG in grey or Y'CbCr.

    Raises:
        OSError: damaged.
    """
    planes = [np.zeros((rows, columns, 8, 8), np.int16) for rows, columns in _dimensions(jpeg)]
    with _in_memory(jpeg) as (path, _):
        CJpegLib.read_jpeg_dct(
            srcfile=path,
            **_by_name(planes),
            qt=((ctypes.c_ushort * 64) * 4)(),
            quant_tbl_no=(ctypes.c_short * 4)(),
        )
    return planes


def write(like: bytes, planes: Sequence[Blocks]) -> bytes:
    """Return a baseline JPEG of these blocks, with size, sampling and quantisation tables like another's.

    Raises:
        OSError: a coefficient is out of JPEG's range.
    """
    with Image.open(io.BytesIO(like)) as image:
        width, height = image.size
    with _in_memory(like) as (source, _), _in_memory() as (target, written):
        CJpegLib.write_jpeg_dct(
            srcfile=source,
            dstfile=target,
            **_by_name(planes),
            image_dims=(ctypes.c_int * 2)(height, width),
            block_dims=None,
            in_color_space=_YCBCR if len(planes) == 3 else _GREY,
            in_components=len(planes),
            samp_factor=None,
            qt=None,
            quality=-1,
            quant_tbl_no=None,
            num_markers=0,
            marker_types=None,
            marker_lengths=None,
            markers=None,
            flags=["+OPTIMIZE_CODING"],
        )
        return os.pread(written, os.fstat(written).st_size, 0)


def _dimensions(jpeg: bytes) -> list[tuple[int, int]]:
    """Rows and columns of blocks of each component, without those that only fill the last MCU."""
    with Image.open(io.BytesIO(jpeg)) as image:
        layers, (width, height) = getattr(image, "layer"), image.size  # noqa: B009 - not in Pillow's base class
    most_across, most_down = (max(layer[axis] for layer in layers) for axis in (1, 2))
    return [
        (-(-height * down // (8 * most_down)), -(-width * across // (8 * most_across)))
        for _, across, down, _ in layers
    ]


def _by_name(planes: Sequence[Blocks]) -> dict[str, ctypes.c_void_p | None]:
    if not all(plane.flags.c_contiguous and plane.dtype == np.int16 for plane in planes):
        raise ValueError("libjpeg needs contiguous blocks of int16")
    pointers = [plane.ctypes.data_as(ctypes.c_void_p) for plane in planes]
    return dict(zip(("Y", "Cb", "Cr", "K"), [*pointers, None, None, None], strict=False))


@contextmanager
def _in_memory(data: bytes = b"") -> Iterator[tuple[str, int]]:
    """Yield path and descriptor of a file in memory alone, for a with block."""
    descriptor = os.memfd_create("photo")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(data)
        yield f"/proc/self/fd/{descriptor}", descriptor
    finally:
        os.close(descriptor)
