"""FaceNet's weights, read from both of the files they come in."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from batches import assert_equal_but_for_rounding, assert_independent_of_the_batch, in_float64
from facenet_pytorch import InceptionResnetV1
from frozen_graph import frozen_graph
from torch import Tensor, nn

from fawkes_engine import WeightsError
from fawkes_engine.extractors import facenet

pytestmark = pytest.mark.numeric
CPU = torch.device("cpu")
NO_MEAN = torch.zeros(())


@pytest.fixture(scope="module")
def original() -> InceptionResnetV1:
    """Random weights, with BatchNorms that are no identities; gamma stays 1, as facenet trains none."""
    torch.manual_seed(0)
    network = InceptionResnetV1(classify=False, num_classes=10).eval().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.bias.data.normal_(0, 0.1)
            module.get_buffer("running_mean").normal_(0, 0.1)
            module.get_buffer("running_var").uniform_(0.5, 1.5)
    return network


@pytest.fixture(scope="module")
def checkpoint(original: InceptionResnetV1, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "weights.pt"
    classifier = {"logits.weight": torch.zeros(10, 512), "logits.bias": torch.zeros(10)}
    torch.save({**original.state_dict(), **classifier}, path)
    return path


def chips(count: int = 2) -> Tensor:
    return torch.rand(count, 3, facenet.CHIP_PX, facenet.CHIP_PX, generator=torch.Generator().manual_seed(1))


def expected(original: InceptionResnetV1, x: Tensor) -> Tensor:
    """What facenet-pytorch computes, in float64."""
    embeddings: Tensor = copy.deepcopy(original).double()((x * 255 - 127.5) / 128)
    return embeddings


def graph_of(network: InceptionResnetV1, *, folded: bool) -> bytes:
    """The network as TensorFlow freezes it, or as its graph transforms fold it."""
    constants: dict[str, Tensor] = {}
    for name, module in network.named_modules():
        scope = tensorflow_scope(name)
        if isinstance(module, nn.Conv2d):
            constants[f"{scope}/weights"] = module.weight.permute(2, 3, 1, 0)
            if module.bias is not None:
                constants[f"{scope}/biases"] = module.bias
        elif isinstance(module, nn.Linear):
            constants[f"{scope}/weights"] = module.weight.T
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            beta, mean, variance = (
                module.bias,
                module.get_buffer("running_mean"),
                module.get_buffer("running_var"),
            )
            if folded and isinstance(module, nn.BatchNorm2d):
                scale = torch.rsqrt(variance + module.eps)
                constants[f"{scope}/weights"] = constants[f"{scope}/weights"] * scale
                constants[f"{scope}/Conv2D_bn_offset"] = beta - mean * scale
            else:
                constants[f"{scope}/BatchNorm/beta"] = beta
                constants[f"{scope}/BatchNorm/moving_mean"] = mean
                constants[f"{scope}/BatchNorm/moving_variance"] = variance
    return frozen_graph({name: np.ascontiguousarray(value.numpy()) for name, value in constants.items()})


STEPS_OF_BRANCHES = {  # tensorflow/models: inception_resnet_v1.py
    "mixed_6a.branch0": ["1a_3x3"],
    "mixed_6a.branch1": ["0a_1x1", "0b_3x3", "1a_3x3"],
    "mixed_7a.branch0": ["0a_1x1", "1a_3x3"],
    "mixed_7a.branch1": ["0a_1x1", "1a_3x3"],
    "mixed_7a.branch2": ["0a_1x1", "0b_3x3", "1a_3x3"],
    "repeat_1.branch1": ["0a_1x1", "0b_3x3"],
    "repeat_1.branch2": ["0a_1x1", "0b_3x3", "0c_3x3"],
    "repeat_2.branch1": ["0a_1x1", "0b_1x7", "0c_7x1"],
    "repeat_3.branch1": ["0a_1x1", "0b_1x3", "0c_3x1"],
    "block8.branch1": ["0a_1x1", "0b_1x3", "0c_3x1"],
}
SIZES_AT_THE_START = {"1a": "3x3", "2a": "3x3", "2b": "3x3", "3b": "1x1", "4a": "3x3", "4b": "3x3"}
BLOCKS = {"repeat_1": "Repeat/block35_", "repeat_2": "Repeat_1/block17_", "repeat_3": "Repeat_2/block8_"}


def tensorflow_scope(name: str) -> str:
    """Sandberg's name of what facenet-pytorch calls by this one, whether layer or BatchNorm."""
    name = re.sub(r"\.(conv|bn)$", "", name)
    if name in ("last_linear", "last_bn"):
        return "InceptionResnetV1/Bottleneck"
    if start := re.fullmatch(r"conv2d_(\d[ab])", name):
        return f"InceptionResnetV1/Conv2d_{start[1]}_{SIZES_AT_THE_START[start[1]]}"
    parts = re.fullmatch(r"(\w+?)(?:\.(\d+))?(?:\.(branch\d)(?:\.(\d))?|\.conv2d)", name)
    if parts is None:
        return name
    stack, block, branch, step = parts.groups()
    outer = f"{BLOCKS[stack]}{int(block) + 1}" if stack in BLOCKS else stack.capitalize()
    if branch is None:
        return f"InceptionResnetV1/{outer}/Conv2d_1x1"
    steps = STEPS_OF_BRANCHES.get(f"{stack}.{branch}", ["1x1"])
    return (
        f"InceptionResnetV1/{outer}/{branch.capitalize().replace('h', 'h_')}/Conv2d_{steps[int(step or 0)]}"
    )


def test_a_checkpoints_embeddings_are_facenet_pytorchs(original: InceptionResnetV1, checkpoint: Path) -> None:
    with in_float64():  # BatchNorms are folded into convolutions when the file is read
        extractor = facenet.load("facenet-casia", checkpoint, NO_MEAN, CPU)
    x = chips().double()
    assert_equal_but_for_rounding(extractor.network(x), expected(original, x))
    assert extractor.name == "facenet-casia"
    assert extractor.chip_px == facenet.CHIP_PX


@pytest.mark.parametrize("folded", [False, True])
def test_a_frozen_graph_holds_the_same_network(
    original: InceptionResnetV1, tmp_path: Path, folded: bool
) -> None:
    path = tmp_path / "weights.pb"
    path.write_bytes(graph_of(original, folded=folded))
    with in_float64():
        network = facenet.FaceNet(path)
    x = chips().double()
    # a folded graph's weights are themselves rounded to float32, as TensorFlow's are
    torch.testing.assert_close(network(x), expected(original, x), rtol=0, atol=1e-6 if folded else 1e-12)


def test_the_gradient_is_facenet_pytorchs_and_no_weight_is_trained(
    original: InceptionResnetV1, checkpoint: Path
) -> None:
    """In float64: in float32 rounding decides on which side of a ReLU's kink some values lie."""
    with in_float64():
        network = facenet.FaceNet(checkpoint)
    x = chips().double().requires_grad_()
    (ours,) = torch.autograd.grad(network(x)[:, :9].sum(), x)
    (theirs,) = torch.autograd.grad(expected(original, x)[:, :9].sum(), x)
    assert_equal_but_for_rounding(ours, theirs)
    assert not any(p.requires_grad for p in network.parameters())


def test_an_embedding_with_a_gradient_does_not_depend_on_the_others_in_the_batch(checkpoint: Path) -> None:
    assert_independent_of_the_batch(facenet.load("facenet-casia", checkpoint, NO_MEAN, CPU), chips(5))


def test_a_missing_file_is_a_weights_error(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"gone\.pt: No such file"):
        facenet.FaceNet(tmp_path / "gone.pt")


def test_a_damaged_checkpoint_is_a_weights_error(checkpoint: Path, tmp_path: Path) -> None:
    whole = checkpoint.read_bytes()
    for damaged in (whole[:-1000], whole[: len(whole) // 2], b"", b"\0" * 100, b"<html>not found</html>"):
        path = tmp_path / "damaged.pt"
        path.write_bytes(damaged)
        with pytest.raises(WeightsError, match="fetch it again"):
            facenet.FaceNet(path)


@pytest.mark.parametrize("state", [{"fc.weight": torch.zeros(2, 2)}, [torch.zeros(2)], torch.zeros(2)])
def test_a_checkpoint_of_another_network_is_a_weights_error(state: object, tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    torch.save(state, path)
    with pytest.raises(WeightsError, match=r"Inception ResNet v1.*vggface2\.pt"):
        facenet.FaceNet(path)


@pytest.mark.parametrize(
    "name", ["MobileNet/Conv2d_0/weights", "Bottleneck/weights", "Repeat_9/block1_2/a/weights"]
)
def test_a_graph_of_another_network_is_a_weights_error(name: str, tmp_path: Path) -> None:
    path = tmp_path / "other.pb"
    path.write_bytes(frozen_graph({name: np.zeros((3, 3, 3, 8), np.float32)}))
    with pytest.raises(WeightsError, match="Inception ResNet v1"):
        facenet.FaceNet(path)
