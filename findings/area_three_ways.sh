#!/bin/sh
# A picture made one per cent smaller by averaging areas: three libraries make flat grey, half the contrast, and all of it.
#
# Versions: torch 2.14.1, Pillow 13.0.0, opencv-python-headless 5.0.0.93, numpy 2.4.6 (2026-12-01).
# Likely guess: torch's mode="area", OpenCV's INTER_AREA and Pillow's BOX are one method: a pixel of the result is the mean of what
# it covers, and what it covers in part counts in part.
# What happens: only OpenCV does that. torch pools adaptively: the plain mean of every pixel that is touched, be it by a hundredth,
# so that from 200 to 198 px nearly every result is the mean of two, and columns that alternate between 0 and 255 become flat grey.
# Pillow takes the pixels whose centres are covered, mostly one, so that columns stay, and some are lost. At a half all agree.
# Face detectors whose image pyramid torch makes so, as facenet-pytorch's MTCNN, see other copies than those that use OpenCV.
# Output seen: "200 -> 198: contrast left by torch 0.00, OpenCV 0.57, Pillow 0.99", "200 -> 100: largest difference 0.0".
#
# Makes its own input; installs into a temporary folder; fails if that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.14.1 pillow==13.0.0 numpy==2.4.6 \
    opencv-python-headless==5.0.0.93
"$folder/venv/bin/python" - <<'PYTHON'
import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

width = 200
stripes = np.tile(np.array([0, 255], np.float32), (width, width // 2))


def scaled(side: int) -> dict[str, np.ndarray]:
    """The stripes, made as wide as this, and as high as before."""
    size = (side, width)
    return {
        "torch": F.interpolate(torch.from_numpy(stripes)[None, None], size=size[::-1], mode="area")[0, 0].numpy(),
        "OpenCV": cv2.resize(stripes, size, interpolation=cv2.INTER_AREA),
        "Pillow": np.asarray(Image.fromarray(stripes).resize(size, Image.Resampling.BOX)),
    }


small = scaled(198)
left = {name: float(np.std(picture) / np.std(stripes)) for name, picture in small.items()}
print("200 -> 198: contrast left by", ", ".join(f"{name} {share:.2f}" for name, share in left.items()))
half = scaled(100)
apart = max(float(np.abs(half["torch"] - half[name]).max()) for name in ("OpenCV", "Pillow"))
print(f"200 -> 100: largest difference {apart:.1f}")
assert left["torch"] < 0.2, "torch weights by area now"
assert 0.4 < left["OpenCV"] < 0.8
assert left["Pillow"] > 0.9, "Pillow weights by area now"
assert apart < 0.01
PYTHON
