"""FaceNet's Inception ResNet v1, as David Sandberg trained it and facenet-pytorch builds it.

Two sets of weights are public: 20180408-102900, trained on CASIA-WebFace, and 20180402-114759, trained on VGGFace2.
Both exist as facenet-pytorch's `.pt` and as the frozen TensorFlow graph (`.pb`) it was converted from.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from facenet_pytorch import InceptionResnetV1
from facenet_pytorch.models.inception_resnet_v1 import BasicConv2d
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from fawkes_engine.errors import WeightsError
from fawkes_engine.extractors import checkpoint
from fawkes_engine.extractors.base import ARCFACE_CHIP_PX, ARCFACE_TEMPLATE, Extractor
from fawkes_engine.extractors.graphdef import read_weights
from fawkes_engine.extractors.layers import as_convolution

CHIP_PX = 160
# FaceNet was trained on MTCNN's boxes with a margin of 32 px of 182 (facenet/src/align/align_dataset_mtcnn.py), resized
# to 160. There the landmarks of 1,569 LFW faces are on average nearest to ArcFace's at 0.98 of their scale and 12.6 px
# up. True accepts at 0.1 % false accepts on 540 of these faces: 92.8 %; with ArcFace's template centred 91.2 % (scale
# 0.9) and 87.6 % (0.8).
_TEMPLATE = (ARCFACE_TEMPLATE - ARCFACE_CHIP_PX / 2) * (0.98 * CHIP_PX / ARCFACE_CHIP_PX) + (
    CHIP_PX / 2,
    CHIP_PX / 2 - 12.6,
)

_BN_EPS = 0.001  # of all BatchNorms (facenet/src/models/inception_resnet_v1.py, batch_norm_params)
# TensorFlow's names of the three stacks of residual blocks, and facenet-pytorch's
_STACKS = {"Repeat": "repeat_1", "Repeat_1": "repeat_2", "Repeat_2": "repeat_3"}

State = dict[str, Tensor]


def load(name: str, weights: Path, mean: Tensor, device: torch.device) -> Extractor:
    """Load the extractor.

    name: what it is called in targets and reports. weights: a `.pt` or `.pb` file. mean: (512,) or a scalar,
    the embedding of the average stranger.

    Raises:
        WeightsError: the file cannot be read, is damaged, or belongs to another network.
    """
    network = FaceNet(weights).to(device).to(memory_format=torch.channels_last)
    return Extractor(name, CHIP_PX, _TEMPLATE, network, mean)


class FaceNet(nn.Module):
    """RGB chips (N, 3, 160, 160), [0, 1] -> unit embeddings (N, 512)."""

    def __init__(self, weights: Path) -> None:
        super().__init__()
        self.body = InceptionResnetV1().eval()
        read = _read_graph if weights.suffix == ".pb" else _read_checkpoint
        try:
            self.body.load_state_dict(read(weights))
        except (KeyError, RuntimeError) as error:
            raise _of_another_network(weights) from error
        _fold(self.body)
        self.requires_grad_(False)

    def forward(self, chips: Tensor) -> Tensor:
        """See the class."""
        # facenet-pytorch's fixed_image_standardization
        embeddings: Tensor = self.body((chips * 255.0 - 127.5) / 128.0)
        return embeddings


def _fold(body: InceptionResnetV1) -> None:
    """Fold every BatchNorm into the layer before it: saves 5 % of the time on a quiet machine, 20 % on a busy one."""
    for block in body.modules():
        if isinstance(block, BasicConv2d):
            block.conv, block.bn = fuse_conv_bn_eval(block.conv, block.bn), nn.Identity()
    linear = fuse_linear_bn_eval(body.last_linear, body.last_bn)
    body.last_linear = nn.Sequential(
        nn.Unflatten(1, (linear.in_features, 1, 1)), as_convolution(linear, 1, 1), nn.Flatten()
    )
    body.last_bn = nn.Identity()


def _read_checkpoint(path: Path) -> State:
    """Return facenet-pytorch's state dict without the classifier on top, whose size depends on the data set."""
    state = checkpoint.read(path, "PyTorch")
    if not isinstance(state, dict):
        raise _of_another_network(path)
    return {key: value for key, value in state.items() if not key.startswith("logits.")}


def _of_another_network(path: Path) -> WeightsError:
    return WeightsError(
        f"{path} does not hold the weights of Inception ResNet v1: use facenet-pytorch's "
        "20180402-114759-vggface2.pt or 20180408-102900-casia-webface.pt, or the .pb of that date"
    )


def _read_graph(path: Path) -> State:
    """Return the network's state dict from a frozen TensorFlow graph."""
    constants = {
        name.removeprefix("InceptionResnetV1/"): torch.from_numpy(value)
        for name, value in read_weights(path).items()
    }
    scopes = sorted(name.removesuffix("/weights") for name in constants if name.endswith("/weights"))
    state: State = {}
    for scope in scopes:
        layer, norm = _names(scope, scopes)
        weight = constants[f"{scope}/weights"]  # (rows, columns, in, out), of the linear layer (in, out)
        state[f"{layer}.weight"] = weight.permute(3, 2, 0, 1) if weight.dim() == 4 else weight.T
        if norm is None:
            state[f"{layer}.bias"] = constants[f"{scope}/biases"]
        else:
            state |= {f"{norm}.{key}": value for key, value in _batch_norm(scope, constants).items()}
    return state


def _batch_norm(scope: str, constants: State) -> State:
    offset = constants.get(f"{scope}/Conv2D_bn_offset")
    if offset is not None:
        # TensorFlow's fold_batch_norms has scaled the weights already; only an offset is left
        one = torch.ones_like(offset)
        return {"weight": one, "bias": offset, "running_mean": 0 * one, "running_var": one - _BN_EPS}
    scope += "/BatchNorm"
    beta = constants[f"{scope}/beta"]
    return {
        "weight": constants.get(f"{scope}/gamma", torch.ones_like(beta)),  # facenet trains none
        "bias": beta,
        "running_mean": constants[f"{scope}/moving_mean"],
        "running_var": constants[f"{scope}/moving_variance"],
    }


def _names(scope: str, scopes: list[str]) -> tuple[str, str | None]:
    """Return facenet-pytorch's names of the layer in a TensorFlow scope, and of its BatchNorm if it has one.

    scopes: all, in order; in a branch of several layers, each is named by its rank there.

        Conv2d_1a_3x3                               conv2d_1a.conv, .bn
        Repeat_1/block17_10/Branch_1/Conv2d_0b_1x7  repeat_2.9.branch1.1.conv, .bn
        Repeat_1/block17_10/Branch_0/Conv2d_1x1     repeat_2.9.branch0.conv, .bn
        Repeat_1/block17_10/Conv2d_1x1              repeat_2.9.conv2d
        Bottleneck                                  last_linear, last_bn
    """
    if scope == "Bottleneck":
        return "last_linear", "last_bn"
    outer, _, leaf = scope.rpartition("/")
    if not outer:
        module = leaf[: len("conv2d_1a")]
    elif "/Branch_" not in outer:
        return f"{_outer_name(outer)}.conv2d", None
    else:
        branch = [other for other in scopes if other.rpartition("/")[0] == outer]
        module = _outer_name(outer) + (f".{branch.index(scope)}" if len(branch) > 1 else "")
    return f"{module.lower()}.conv", f"{module.lower()}.bn"


def _outer_name(outer: str) -> str:
    """Repeat_1/block17_10/Branch_1 -> repeat_2.9.branch1, Mixed_6a/Branch_0 -> mixed_6a.branch0."""
    name = re.sub(
        r"^(Repeat(?:_\d)?)/block\d+_(\d+)", lambda block: f"{_STACKS[block[1]]}.{int(block[2]) - 1}", outer
    )
    return name.replace("/Branch_", ".branch").lower()
