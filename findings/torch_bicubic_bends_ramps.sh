#!/bin/sh
# torch's bicubic sampling bends a straight ramp, which its bilinear sampling and Pillow's bicubic keep straight.
#
# Versions: torch 2.14.1, Pillow 13.0.0, numpy 2.4.6 (2026-11-29).
# Likely guess: cubic interpolation is exact wherever linear interpolation is. A picture whose pixels hold their own positions,
# sampled between pixels, then holds the positions that were asked for.
# What happens: grid_sample(mode="bicubic") is off by up to 0.047 px a quarter of the way between pixels, and right half-way. Its
# kernel has a = -0.75; only a = -0.5 (Keys 1981), which Pillow has, keeps ramps. A smooth warp gets a ripple, twice per pixel.
# Output seen: "0.25: torch bicubic 0.0469, torch bilinear 0.0000, Pillow bicubic 0.0000", the same at 0.75; 0.0000 thrice at 0.5.
#
# Makes its own input; installs into a temporary folder; fails if that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.14.1 pillow==13.0.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

width = 64
ramp = torch.arange(float(width)).expand(1, 1, width, width).contiguous()


def torch_error(mode: str, fraction: float) -> float:
    """The largest error when the ramp is sampled this fraction to the right of every pixel, away from the borders."""
    wanted = torch.arange(8.0, width - 8) + fraction
    rows = torch.arange(8.0, width - 8)
    right, down = torch.meshgrid(wanted, rows, indexing="xy")
    grid = torch.stack([right, down], dim=-1)[None] * 2 / (width - 1) - 1
    return float((F.grid_sample(ramp, grid, mode=mode, align_corners=True)[0, 0] - right).abs().max())


def pillow_error(fraction: float) -> float:
    image = Image.fromarray(ramp[0, 0].numpy())
    box = (fraction, 0, width - 1 + fraction, width)
    moved = np.asarray(image.resize((width - 1, width), Image.Resampling.BICUBIC, box=box))
    return float(np.abs(moved[8:-8, 8:-8] - (np.arange(8, width - 9) + fraction)).max())


for fraction in (0.25, 0.5, 0.75):
    print(
        f"{fraction}: torch bicubic {torch_error('bicubic', fraction):.4f}, "
        f"torch bilinear {torch_error('bilinear', fraction):.4f}, Pillow bicubic {pillow_error(fraction):.4f}"
    )
assert 0.03 < torch_error("bicubic", 0.25) < 0.07, "torch's bicubic kernel is another one now"
assert torch_error("bilinear", 0.25) < 1e-3
assert pillow_error(0.25) < 1e-3
PYTHON
