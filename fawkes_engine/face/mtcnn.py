"""MTCNN: the face detector whose landmarks the recognisers are aligned by."""

from __future__ import annotations

import math

import numpy as np
import torch
from facenet_pytorch import MTCNN
from PIL import Image
from torch import Tensor, nn

from fawkes_engine.face.detect import Face, FaceDetector, Pixels, distinct, usual_scale

# Faces of 40 px must be found. P-Net's box sizes scatter by a quarter, so the search starts below that.
_SEARCH_FROM_PX = 30
_SMALLEST_ON_COPY_PX = 12.0  # P-Net's window
SURE = 0.99  # nearly all upright faces score higher; a sideways one looks like half a face, with less
_SHORTEST_SIDE_PX = 48  # the image pyramid is empty below this
# P-Net goes over a picture in strips that give at least so many rows of its result: in one piece it needs most of the
# memory. Few rows would be computed by another library, and rounded otherwise.
_STRIP_ROWS = 128
_STRIDE_PX, _WINDOW_PX = 2, 12  # of P-Net: each row of its result sees so many of the picture


class MtcnnDetector(FaceDetector):
    """MTCNN (Zhang et al. 2016) with the weights inside facenet-pytorch's wheel."""

    name = "mtcnn"

    def __init__(self, device: torch.device) -> None:
        self._mtcnn = MTCNN(keep_all=True, device=device, select_largest=False)
        self._mtcnn.pnet = _InStrips(self._mtcnn.pnet)

    def search(self, pixels: Pixels) -> list[Face]:
        """Find faces as `detect` does; if none is certain, also search at full size and for rotated faces."""
        found = self.detect(pixels)
        if any(face.confidence >= SURE for face in found):
            return found
        scale = usual_scale(pixels)
        if scale < 1.0:
            found += self.at_scale(pixels, 1.0)
        found += [face for turns in (1, 2, 3) for face in self.turned(pixels, turns, scale)]
        return distinct(found)

    def _on_copy(self, copy: Image.Image, scale: float) -> list[Face]:
        if min(copy.size) < _SHORTEST_SIDE_PX:
            return []
        self._mtcnn.min_face_size = max(_SMALLEST_ON_COPY_PX, _SEARCH_FROM_PX * scale)
        boxes, confidences, landmarks = self._mtcnn.detect(copy, landmarks=True)
        if boxes is None:
            return []
        return [
            Face(
                box=(float(x0), float(y0), float(x1), float(y1)),
                landmarks=np.asarray(points, np.float64),
                confidence=float(confidence),
            )
            for (x0, y0, x1, y1), confidence, points in zip(boxes, confidences, landmarks, strict=True)
        ]


class _InStrips(nn.Module):
    """P-Net over a picture in strips: its layers pad nothing, so that each value is the one of the whole."""

    def __init__(self, pnet: nn.Module) -> None:
        super().__init__()
        self._pnet = pnet

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """X (1, 3, H, W) -> what P-Net has for each place: boxes (1, 4, H', W') and probabilities (1, 2, H', W')."""
        rows = math.ceil((x.shape[2] - _WINDOW_PX) / _STRIDE_PX) + 1
        step = math.ceil(rows / max(1, rows // _STRIP_ROWS))
        beyond = _WINDOW_PX - _STRIDE_PX
        strips = [
            self._pnet(x[:, :, _STRIDE_PX * top : _STRIDE_PX * (top + step) + beyond])
            for top in range(0, rows, step)
        ]
        boxes, probabilities = (torch.cat(parts, dim=2) for parts in zip(*strips, strict=True))
        return boxes, probabilities
