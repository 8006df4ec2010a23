"""The chunks by which a PNG tells its colours without a profile, and the colour space that they mean.

They are written again byte for byte, so that every viewer shows the copy as it shows the original, whatever it makes of
them. Their meaning and their precedence (cICP, iCCP, sRGB, then gAMA with cHRM) are those of PNG, third edition (W3C
2025), 4.3 and 11.3.2; the profile is a display's with matrix and curves, or with grey alone (ICC.1:2022, 8.4).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Chunks = Mapping[bytes, bytes]  # kind -> body
Matrix = npt.NDArray[np.float64]

_SIZES = {b"cICP": 4, b"sRGB": 1, b"gAMA": 4, b"cHRM": 32}  # bytes; of another size they mean nothing
_UNIT = 100_000  # of gAMA and cHRM
_SRGB_GAMA, _NEAR_GAMA = 45_455, 500
# x and y of white, red, green, blue: D65 and BT.709's primaries
_SRGB_CHRM, _NEAR_CHRM = (31_270, 32_900, 64_000, 33_000, 30_000, 60_000, 15_000, 6_000), 100
_GAMA_RANGE = (5_000, 500_000)  # display gamma 20 to 0.2; what is beyond is a slip, and means nothing
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)  # ICC.1 annex E
_D50 = np.array([0.9642, 1.0, 0.8249])  # ICC.1, 7.2.16
_LARGEST_XYZ = 4.0  # of a primary; more are senseless chromaticities


def read(png: bytes) -> dict[bytes, bytes]:
    """Return the colour chunks of a PNG file, the first of each; they count only before the palette and the pixels."""
    found: dict[bytes, bytes] = {}
    at = 8  # behind the signature
    while at + 8 <= len(png):
        length, kind = struct.unpack_from(">I4s", png, at)
        if kind in {b"PLTE", b"IDAT"}:
            break
        if _SIZES.get(kind) == length:
            found.setdefault(kind, png[at + 8 : at + 8 + length])
        at += 12 + length
    return found


def profile(chunks: Chunks, *, grey: bool) -> bytes | None:
    """Return an ICC profile of what the chunks say, None if that is sRGB, nothing, or nonsense.

    chunks: as `read` returns them. cHRM without gAMA is nothing: browsers leave it alone.
    """
    if b"gAMA" not in chunks or {b"cICP", b"sRGB"} & chunks.keys():
        return None
    (gama,) = struct.unpack(">I", chunks[b"gAMA"])
    chrm = struct.unpack(">8I", chunks[b"cHRM"]) if b"cHRM" in chunks else _SRGB_CHRM
    ordinary = all(abs(one - other) <= _NEAR_CHRM for one, other in zip(chrm, _SRGB_CHRM, strict=True))
    if not _GAMA_RANGE[0] <= gama <= _GAMA_RANGE[1] or (
        abs(gama - _SRGB_GAMA) <= _NEAR_GAMA and (ordinary or grey)
    ):
        return None
    curve = b"para" + struct.pack(">4xHxxi", 0, round(_UNIT / gama * 65_536))
    if grey:
        return _icc(b"GRAY", {b"kTRC": curve, b"wtpt": _xyz(_D50)})
    primaries = _primaries(np.array(chrm, dtype=np.float64).reshape(4, 2) / _UNIT)
    if primaries is None:
        return None
    tags = {b"wtpt": _xyz(_D50)} | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    tags |= {
        name: _xyz(column) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries.T, strict=True)
    }
    return _icc(b"RGB ", tags)


def _primaries(chromaticities: Matrix) -> Matrix | None:
    """Return the XYZ of red, green, blue in columns, for a white of D50; None if there are no such primaries."""
    x, y = chromaticities.T
    if not y.all():
        return None
    white, *primaries = np.stack([x / y, np.ones(4), (1 - x - y) / y], axis=1)
    try:
        columns = np.array(primaries).T
        columns = columns * np.linalg.solve(columns, white)
        cones = np.diag(_BRADFORD @ _D50 / (_BRADFORD @ white))
        adapted: Matrix = np.linalg.inv(_BRADFORD) @ cones @ _BRADFORD @ columns
    except (np.linalg.LinAlgError, ZeroDivisionError):
        return None
    real = np.isfinite(adapted).all() and np.abs(adapted).max() < _LARGEST_XYZ
    return adapted if real and abs(np.linalg.det(adapted)) > 1e-3 else None


def _xyz(values: Matrix) -> bytes:
    return b"XYZ " + struct.pack(">4x3i", *(round(value * 65_536) for value in values))


def _icc(space: bytes, tags: Mapping[bytes, bytes]) -> bytes:
    """Return a profile of a display: header (ICC.1, 7.2), table of tags, tags."""
    table = struct.pack(">I", len(tags))
    body = b""
    for name, tag in tags.items():
        table += name + struct.pack(">II", 128 + 4 + 12 * len(tags) + len(body), len(tag))
        body += tag + bytes(-len(tag) % 4)
    size = 128 + len(table) + len(body)
    header = (
        struct.pack(">I4xI4s4s4s", size, 0x04400000, b"mntr", space, b"XYZ ")
        + bytes(12)
        + b"acsp"
        + bytes(28)
    )
    return header + _xyz(_D50)[8:] + bytes(48) + table + body
