#!/bin/sh
# A grainy photo cannot be saved as an optimised or progressive JPEG by Pillow, which saves it as a plain one; and at 94, but not at 95.
#
# Versions: Pillow 13.0.0, numpy 2.4.6 (2026-11-30).
# Likely guess: optimize=True only makes the file smaller; what can be saved without it can be saved with it, and if it fails, then
# at the higher qualities first.
# What happens: libjpeg's optimiser needs the whole file in one buffer, which Pillow makes 1 byte a pixel large below quality 95 and
# 2 bytes from 95 on. Grain of a standard deviation of 15 levels, as at high ISO, takes more than that at 94 and, in 4:4:4, at 100:
# OSError "broken data stream when writing image file". At 95 it is saved again. Pictures of up to 64 KiB never fail, so small test
# pictures do not show it.
# Output seen: "plain: 1.17 bytes a pixel at 94, 1.28 at 95, 2.64 at 100", "optimised: OSError at 94, 1.16 at 95, OSError at 100",
# "progressive: OSError at 94, 1.14 at 95, OSError at 100", "a quarter of the side, optimised: 2.28 at 100".
#
# Makes its own input; installs into a temporary folder; fails if that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0 numpy==2.4.6
"$folder/venv/bin/python" - 2>/dev/null <<'PYTHON'
import io

import numpy as np
from PIL import Image


def photo(side: int) -> Image.Image:
    """A smooth scene with grain."""
    y, x = np.mgrid[:side, :side] / side
    scene = np.stack([110 + 60 * np.sin(5 * x), 120 + 50 * np.cos(4 * y), 128 + 40 * x * y], axis=-1)
    scene += np.random.default_rng(1).normal(0, 15, scene.shape)
    return Image.fromarray(scene.clip(0, 255).astype(np.uint8))


def size(image: Image.Image, quality: int, **options: bool) -> str:
    """Bytes a pixel, or the error's name."""
    stream = io.BytesIO()
    try:
        image.save(stream, "JPEG", quality=quality, subsampling=0, **options)
    except OSError as error:
        assert str(error) == "broken data stream when writing image file"
        return "OSError"
    return f"{stream.tell() / image.width / image.height:.2f}"


told = {}
for name, options in {"plain": {}, "optimised": {"optimize": True}, "progressive": {"progressive": True}}.items():
    told[name] = [size(photo(400), quality, **options) for quality in (94, 95, 100)]
    print("{}: {} bytes a pixel at 94, {} at 95, {} at 100".format(name, *told[name]).replace("OSError bytes a pixel", "OSError"))
small = size(photo(100), 100, optimize=True)
print(f"a quarter of the side, optimised: {small} at 100")

assert "OSError" not in told["plain"]
for name in ("optimised", "progressive"):
    assert [one == "OSError" for one in told[name]] == [True, False, True]
assert small != "OSError"
PYTHON
