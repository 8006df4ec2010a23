"""LightCNN's weights, read from the file they come in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from batches import assert_equal_but_for_rounding, assert_independent_of_the_batch
from torch import Tensor

from fawkes_engine import WeightsError, extractors
from fawkes_engine.extractors import lightcnn
from fawkes_engine.weights import catalog

pytestmark = pytest.mark.numeric
CPU = torch.device("cpu")
NO_MEAN = torch.zeros(())
# layer -> channels in and passed; a stage's blocks have two layers each
LAYERS = {"conv1": (3, 48), "conv2": (48, 96), "conv3": (96, 192), "conv4": (192, 128), "conv5": (128, 128)}
STAGES = {"block1": (1, 48), "block2": (2, 96), "block3": (3, 192), "block4": (4, 128)}


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """Random weights under the published names."""
    random = torch.Generator().manual_seed(0)
    shapes = dict(LAYERS)
    for stage, (count, channels) in STAGES.items():
        shapes |= {f"{stage}.{i}.conv{k}": (channels, channels) for i in range(count) for k in (1, 2)}
    weights: dict[str, Tensor] = {}
    for name, (taken, passed) in shapes.items():
        weights[f"{name}.filter.weight"] = torch.randn(2 * passed, taken, 3, 3, generator=random) / (
            3 * taken**0.5
        )
        weights[f"{name}.filter.bias"] = 0.1 * torch.randn(2 * passed, generator=random)
    weights["fc.weight"] = torch.randn(256, 8192, generator=random) / 90
    weights["fc.bias"] = torch.randn(256, generator=random)
    return weights


@pytest.fixture(scope="module")
def checkpoint(state: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "weights.pth.tar"
    torch.save({"epoch": 1, "state_dict": {f"module.{name}": value for name, value in state.items()}}, path)
    return path


def chips(count: int = 2) -> Tensor:
    return torch.rand(count, 3, 128, 128, generator=torch.Generator().manual_seed(1))


def in_float64(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.double() for name, value in state.items()}


def expected(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """The network as its authors' code computes it, layer by layer."""

    def larger(name: str, x: Tensor) -> Tensor:
        y = F.conv2d(x, state[f"{name}.filter.weight"], state[f"{name}.filter.bias"], padding=1)
        return torch.stack(y.chunk(2, dim=1)).amax(dim=0)

    def stage(name: str, x: Tensor) -> Tensor:
        for i in range(STAGES[name][0]):
            x = larger(f"{name}.{i}.conv2", larger(f"{name}.{i}.conv1", x)) + x
        return x

    def reduced(x: Tensor) -> Tensor:
        return F.max_pool2d(x, 2) + F.avg_pool2d(x, 2)

    x = reduced(larger("conv1", x))
    x = reduced(larger("conv2", stage("block1", x)))
    x = reduced(larger("conv3", stage("block2", x)))
    x = stage("block4", larger("conv4", stage("block3", x)))
    return F.linear(reduced(larger("conv5", x)).flatten(1), state["fc.weight"], state["fc.bias"])


def test_the_embeddings_are_those_of_the_published_network(
    state: dict[str, Tensor], checkpoint: Path
) -> None:
    extractor = lightcnn.load("lightcnn", checkpoint, NO_MEAN, CPU)
    x = chips().double()
    assert_equal_but_for_rounding(extractor.network.double()(x), expected(in_float64(state), x))
    assert extractor.name == "lightcnn"
    assert not any(p.requires_grad for p in extractor.network.parameters())


def test_the_gradient_is_that_of_the_published_network(state: dict[str, Tensor], checkpoint: Path) -> None:
    """In float64: in float32 rounding decides for some of 10^7 maxima who is the larger, and moves it by 1 %."""
    network = lightcnn.load("lightcnn", checkpoint, NO_MEAN, CPU).network.double()
    x = chips().double().requires_grad_()
    (ours,) = torch.autograd.grad(network(x)[:, :9].sum(), x)
    (theirs,) = torch.autograd.grad(expected(in_float64(state), x)[:, :9].sum(), x)
    assert_equal_but_for_rounding(ours, theirs)


def test_an_embedding_with_a_gradient_does_not_depend_on_the_others_in_the_batch(checkpoint: Path) -> None:
    assert_independent_of_the_batch(lightcnn.load("lightcnn", checkpoint, NO_MEAN, CPU), chips(5))


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None])
def test_a_file_of_something_else_is_a_weights_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "weights.pth.tar"
    if content is None:
        torch.save({"state_dict": {"conv1.filter.weight": torch.zeros(96, 3, 5, 5)}}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match="LightCNN"):
        lightcnn.load("lightcnn", path, NO_MEAN, CPU)


def test_a_missing_file_is_a_weights_error(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="No such file"):
        lightcnn.load("lightcnn", tmp_path / "gone.pth.tar", NO_MEAN, CPU)


def test_the_registry_knows_it_by_its_name_and_its_hash(tmp_path: Path, checkpoint: Path) -> None:
    catalog.path("lightcnn", tmp_path).write_bytes(checkpoint.read_bytes())
    with pytest.raises(WeightsError, match="not the pinned weights file"):
        extractors.load("lightcnn", np.zeros(1, np.float32), CPU, tmp_path)
