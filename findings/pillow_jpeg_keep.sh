#!/bin/sh
# A JPEG saved again with its own tables: the higher its quality, the fewer of its blocks come back as they were.
#
# Versions: Pillow 13.0.0, jpeglib 1.0.2 (reads the coefficients), numpy 2.4.6 (2026-11-30).
# Likely guess: decoding and encoding with the same quantisation tables and colour resolution (quality="keep", subsampling="keep")
# costs a little each time, and least at high quality.
# What happens: up to quality 92 nearly every block of brightness keeps its coefficients to the bit. At 95 more than half change,
# and at 100 nearly all, since steps of 1 or 2 are finer than what colours rounded to 8 bits can carry. Whoever wants untouched
# parts of a good JPEG to stay as they are has to copy their coefficients. With halved colour resolution a part of the blocks of
# colour changes at any quality, and goes on changing each time.
# Output seen: "quality 92: 0.7 %, again 0.0 %; of colour in 4:2:0 12.7 %, again 10.0 %",
# "quality 95: 57.6 %, again 20.3 %; of colour in 4:2:0 20.3 %, again 12.9 %",
# "quality 100: 98.2 %, again 79.8 %; of colour in 4:2:0 100.0 %, again 100.0 %".
#
# Makes its own input; installs into a temporary folder; fails if that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0 jpeglib==1.0.2 numpy==2.4.6
"$folder/venv/bin/python" - "$folder/read.jpg" <<'PYTHON'
import io
import pathlib
import sys

import jpeglib
import numpy as np
from PIL import Image

scratch = pathlib.Path(sys.argv[1])


def picture() -> Image.Image:
    """A smooth scene with an edge and a little noise; no channel comes near 0 or 255, where values would be cut off."""
    y, x = np.mgrid[:256, :256] / 256
    channels = [90 + 60 * np.sin(7 * x + 3 * y), 110 + 50 * np.cos(5 * y), 128 + 40 * np.sin(24 * x * y)]
    scene = np.stack(channels, axis=-1)
    scene[(x - 0.5) ** 2 + (y - 0.4) ** 2 < 0.04] = [180, 60, 70]
    scene += np.random.default_rng(1).normal(0, 4, scene.shape)
    return Image.fromarray(scene.clip(30, 225).astype(np.uint8))


def blocks(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """The coefficients of brightness and of colour, 8 x 8 per block."""
    scratch.write_bytes(data)
    read = jpeglib.read_dct(str(scratch))
    return read.Y.reshape(-1, 8, 8), np.concatenate([read.Cb.reshape(-1, 8, 8), read.Cr.reshape(-1, 8, 8)])


def changed(before: bytes, after: bytes) -> list[float]:
    """Percent of the blocks of brightness and of colour that are not the same any more."""
    pairs = zip(blocks(before), blocks(after), strict=True)
    return [100 * float((one != other).any(axis=(1, 2)).mean()) for one, other in pairs]


def saved_again(data: bytes) -> bytes:
    stream = io.BytesIO()
    Image.open(io.BytesIO(data)).save(stream, "JPEG", quality="keep", subsampling="keep")
    return stream.getvalue()


def generations(quality: int, subsampling: str) -> list[list[float]]:
    """What the first and the second time change."""
    stream = io.BytesIO()
    picture().save(stream, "JPEG", quality=quality, subsampling=subsampling)
    first = saved_again(stream.getvalue())
    return [changed(stream.getvalue(), first), changed(first, saved_again(first))]


brightness, colour = {}, {}
for quality in (75, 92, 95, 100):
    brightness[quality] = [pair[0] for pair in generations(quality, "4:4:4")]
    colour[quality] = [pair[1] for pair in generations(quality, "4:2:0")]
    print(
        "quality {}: {:.1f} %, again {:.1f} %; of colour in 4:2:0 {:.1f} %, again {:.1f} %".format(
            quality, *brightness[quality], *colour[quality]
        )
    )

assert brightness[75][0] < 2
assert brightness[92][0] < 5
assert brightness[95][0] > 40
assert brightness[100][0] > 90
assert colour[92][0] > 5
assert colour[92][1] > 5
PYTHON
