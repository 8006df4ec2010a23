"""CenterFace: a second face detector, which shares neither architecture nor weights with MTCNN.

It looks once at the whole picture and finds a face by its centre, so that occluded, cut, turned and small faces are
found that MTCNN's cascade drops at its first stage.
"""

from __future__ import annotations

import math
from importlib import resources

import numpy as np
import onnx
import onnx2torch
import torch
from PIL import Image
from torch import Tensor, fx, nn

from fawkes_engine.device import SMALL_IMAGE
from fawkes_engine.face.detect import Box, Face, FaceDetector, Pixels, area, distinct

_WEIGHTS = "centerface.onnx"  # in fawkes_engine/data, whose README says where it comes from
_STRIDE_PX = 4  # of the maps, in pixels of the picture
_SIDES_ARE_MULTIPLES_OF_PX = 32
# A border mirrors the picture: a face that the edge cuts in half is whole there.
_BORDER_PX = 32
# The first layers need most of the memory: they go over the picture in strips of so many of its rows, and see more rows
# above and below, as many as they reach, so that the result is the same but for rounding. Shorter ones are no faster.
_STRIP_PX = 128
# Which layers: those that follow each other from one number to the next, the picture's rows to one of theirs, theirs to
# one of their result, and how many of theirs they reach. What is added in between, and all that follows, is small.
_RUNS = (
    (0, 10, 1, 4, 8),
    (10, 15, 4, 1, 2),
    (16, 21, 4, 2, 2),
    (21, 26, 8, 1, 2),
    (27, 32, 8, 1, 2),
    (33, 38, 8, 2, 2),
)
# A face whose mirror image shows this much of itself inside overlaps that image, so that one of both is kept.
_LEAST_INSIDE = 1 / 3
_CONFIDENT = 0.3  # of what is worth a closer look: small lying faces have no more (measured)


class CenterFaceDetector(FaceDetector):
    """CenterFace (Xu et al. 2019, arXiv 1911.03599), trained on WIDER FACE; the weights are in this package."""

    name = "centerface"

    def __init__(self, device: torch.device) -> None:
        weights = resources.files("fawkes_engine") / "data" / _WEIGHTS
        network = onnx2torch.convert(onnx.load_model_from_string(weights.read_bytes()))
        for layer in network.modules():
            if isinstance(layer, nn.ReLU):
                layer.inplace = True  # a third less time, since the largest maps need no second copy
        _in_strips(network)
        # channels last: a third less time on a processor
        self._network = network.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)
        self._device = device

    @torch.no_grad()
    def _on_copy(self, copy: Image.Image, scale: float) -> list[Face]:
        pixels = np.asarray(copy.convert("RGB"))
        centres, log_sizes, offsets, landmarks = self._network(_bordered(pixels).to(self._device))
        rows, columns = torch.nonzero(centres[0, 0] >= _CONFIDENT, as_tuple=True)
        at = (0, slice(None), rows, columns)
        confidences, sizes = centres[at][0], log_sizes[at].exp() * _STRIDE_PX
        middles = (torch.stack([rows, columns]) + offsets[at] + 0.5) * _STRIDE_PX - _BORDER_PX
        points = landmarks[at].view(5, 2, -1) * sizes + (middles - sizes / 2)
        faces = _faces(middles, sizes, points, confidences)
        return distinct([face for face in faces if _share_inside(face.box, *copy.size) >= _LEAST_INSIDE])


class _InStrips(nn.Module):
    """Layers that go over their picture in strips of some rows, and see more rows above and below, as many as reach.

    rows: of a strip at least, and more where so few would be added up in another order. stride: rows to one of the
    result.
    """

    def __init__(self, layers: nn.Sequential, rows: int, reach: int, stride: int) -> None:
        super().__init__()
        self.layers = layers
        self._rows, self._reach, self._stride = rows, reach, stride

    def forward(self, x: Tensor) -> Tensor:
        """X (1, C, H, W) -> (1, D, H / stride, W / stride)."""
        least = max(self._rows, SMALL_IMAGE // (x.shape[1] * x.shape[3]) + 1)
        rows = self._stride * math.ceil(x.shape[2] / max(1, x.shape[2] // least) / self._stride)
        strips = []
        for top in range(0, x.shape[2], rows):
            above = min(top, self._reach)
            strip = self.layers(x[:, :, top - above : top + rows + self._reach])
            start = above // self._stride
            strips.append(strip[:, :, start : start + rows // self._stride])
        return torch.cat(strips, dim=2)


def _in_strips(network: fx.GraphModule) -> None:
    """Put each run of the first layers in one that goes over the picture in strips."""
    names = [str(node.target) for node in network.graph.nodes if node.op == "call_module"]
    for start, end, scale, stride, reach in _RUNS:
        first, *rest = names[start:end]
        layers = nn.Sequential(*map(network.get_submodule, (first, *rest)))
        for name in rest:
            setattr(network, name, nn.Identity())
        setattr(network, first, _InStrips(layers, _STRIP_PX // scale, reach, stride))


def _bordered(pixels: Pixels) -> Tensor:
    """(H, W, 3) uint8 -> (1, 3, H', W') float32 in 0..255, whose sides the network can halve five times."""
    down, right = (
        _BORDER_PX + -(side + 2 * _BORDER_PX) % _SIDES_ARE_MULTIPLES_OF_PX for side in pixels.shape[:2]
    )
    bordered = np.pad(pixels, ((_BORDER_PX, down), (_BORDER_PX, right), (0, 0)), "symmetric")
    levels = torch.tensor(bordered).permute(2, 0, 1)[None].float()
    return levels.contiguous(memory_format=torch.channels_last)


def _share_inside(box: Box, width: int, height: int) -> float:
    """Return which share of a box lies in a picture, 0..1."""
    x0, y0, x1, y1 = box
    inside = max(0.0, min(x1, width) - max(x0, 0.0)) * max(0.0, min(y1, height) - max(y0, 0.0))
    return inside / area(box)


def _faces(middles: Tensor, sizes: Tensor, points: Tensor, confidences: Tensor) -> list[Face]:
    """middles, sizes: (2, N), points: (5, 2, N), each y before x, px."""
    corners = torch.cat([middles - sizes / 2, middles + sizes / 2])[[1, 0, 3, 2]]
    return [
        Face(tuple(box), np.asarray(landmarks, np.float64)[:, ::-1], confidence)
        for box, landmarks, confidence in zip(
            corners.T.tolist(), points.permute(2, 0, 1).tolist(), confidences.tolist(), strict=True
        )
    ]
