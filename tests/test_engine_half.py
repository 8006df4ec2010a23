"""Surrogates in bfloat16: nearly the embeddings and gradients of float32, and as independent of the batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from batches import two_threads
from small_onnx import Graph, mobile_net
from torch import Tensor, nn

from fawkes_engine import extractors
from fawkes_engine.extractors import Extractor, onnx
from fawkes_engine.extractors import half as half_module
from fawkes_engine.extractors.half import in_bfloat16, is_faster
from fawkes_engine.targets import Pool

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def dlib() -> Extractor:
    return extractors.load("dlib", Pool.load().mean("dlib"), CPU)


@pytest.fixture(scope="module")
def half(dlib: Extractor) -> Extractor:
    return in_bfloat16(dlib)


def chips(count: int, side: int) -> Tensor:
    """Smooth noise: of white noise a recogniser sees little."""
    coarse = torch.rand(count, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    return F.interpolate(coarse, size=[side, side], mode="bicubic").clamp(0, 1).requires_grad_()


def gradient(extractor: Extractor, x: Tensor) -> Tensor:
    weights = torch.linspace(-1, 1, extractor.embed(x[:1]).shape[1])
    (towards,) = torch.autograd.grad((extractor.embed(x) * weights).sum(), x)
    return towards


def test_it_sees_what_float32_sees(dlib: Extractor, half: Extractor) -> None:
    x = chips(4, dlib.chip_px)
    assert half.embed(x).dtype == torch.float32
    assert (half.embed(x) * dlib.embed(x)).sum(dim=1).min() > 0.99
    cosine = F.cosine_similarity(gradient(half, x).flatten(1), gradient(dlib, x).flatten(1))
    assert cosine.min() > 0.9


def test_the_original_stays_in_float32(dlib: Extractor, half: Extractor) -> None:
    assert {p.dtype for p in dlib.network.parameters()} == {torch.float32}
    assert torch.bfloat16 in {p.dtype for p in half.network.parameters()}


@pytest.mark.skipif(
    not is_faster(CPU), reason="this CPU does not multiply in bfloat16, so the engine does not"
)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_face_does_not_depend_on_the_others(half: Extractor, count: int) -> None:
    x = chips(6, half.chip_px)
    with two_threads():
        assert torch.equal(half.embed(x[:count]), half.embed(x)[:count])
        assert torch.equal(gradient(half, x[:count]), gradient(half, x)[:count])


def test_a_network_with_strided_depthwise_convolutions_and_prelus_passes_gradients(tmp_path: Path) -> None:
    path = mobile_net(Graph()).write(tmp_path / "small.onnx")
    whole = onnx.load("small", path, torch.zeros(1), CPU)
    assert any(m.groups > 1 and max(m.stride) > 1 for m in convolutions(whole.network))
    x = chips(2, whole.chip_px)
    cosine = F.cosine_similarity(gradient(in_bfloat16(whole), x).flatten(1), gradient(whole, x).flatten(1))
    assert cosine.min() > 0.9


def convolutions(network: nn.Module) -> list[nn.Conv2d]:
    return [m for m in network.modules() if isinstance(m, nn.Conv2d)]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [(3, 1, 1), (3, 2, 1), ((3, 5), (2, 1), (0, 3)), ((4, 7), 3, 0), (1, 1, 0), (1, 2, 0)],
)
@pytest.mark.parametrize("size", [(12, 12), (11, 14), (7, 7)])
def test_a_depthwise_convolution_passes_what_it_passed_before(
    kernel: int | tuple[int, int],
    stride: int | tuple[int, int],
    padding: int | tuple[int, int],
    size: tuple[int, int],
    bias: bool,
) -> None:
    whole = nn.Conv2d(8, 8, kernel, stride, padding, groups=8, bias=bias).requires_grad_(False)
    assert half_module._Depthwise.can_be(whole)
    outcomes = []
    for layer in (whole, half_module._Depthwise(whole)):
        x = torch.rand(2, 8, *size, generator=torch.Generator().manual_seed(0)).requires_grad_()
        y = layer(x)
        weights = torch.rand(y.shape, generator=torch.Generator().manual_seed(1))
        outcomes.append((y.detach(), *torch.autograd.grad((y * weights).sum(), x)))
    torch.testing.assert_close(*outcomes)


@pytest.mark.parametrize(
    "other",
    [
        nn.Conv2d(8, 8, 3),
        nn.Conv2d(8, 16, 3, groups=8),
        nn.Conv2d(8, 8, 3, groups=4),
        nn.Conv2d(8, 8, 3, groups=8, dilation=2),
        nn.Conv2d(8, 8, 3, groups=8, padding=1, padding_mode="reflect"),
        nn.Conv2d(8, 8, 1, groups=8, padding=1),
    ],
    ids=str,
)
def test_other_convolutions_are_left_to_torch(other: nn.Conv2d) -> None:
    assert not half_module._Depthwise.can_be(other)


def test_what_strides_in_other_groups_stays_in_float32() -> None:
    network = nn.Sequential(
        nn.Conv2d(8, 8, 3, 2, groups=4), nn.Conv2d(8, 8, 3, 2, groups=8), nn.Conv2d(8, 8, 3, 2)
    )
    extractor = Extractor("small", 12, np.zeros((5, 2)), network.requires_grad_(False), torch.zeros(()))
    kinds = [m.weight.dtype for m in convolutions(in_bfloat16(extractor).network)]
    assert kinds == [torch.float32, torch.bfloat16, torch.bfloat16]


def test_a_gpu_is_not_asked() -> None:
    assert not is_faster(torch.device("cuda"))
