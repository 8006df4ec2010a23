"""Surrogates in bfloat16: nearly the embeddings and gradients of float32, and as independent of the batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from batches import said_with_avx2, two_threads
from small_onnx import Graph, mobile_net
from torch import Tensor, nn

from fawkes_engine import extractors
from fawkes_engine.extractors import Extractor, onnx
from fawkes_engine.extractors.base import ARCFACE_TEMPLATE
from fawkes_engine.extractors.bfloat16 import in_bfloat16, is_faster
from fawkes_engine.identity.targets import Pool

pytestmark = pytest.mark.numeric
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
    # 8 bits leave 0.9997 of an embedding and 0.95 of its gradient (measured, with and without fused multiply-add)
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
    strided = [
        m for m in whole.network.modules() if isinstance(m, nn.Conv2d) and m.groups > 1 and max(m.stride) > 1
    ]
    assert strided
    x = chips(2, whole.chip_px)
    cosine = F.cosine_similarity(gradient(in_bfloat16(whole), x).flatten(1), gradient(whole, x).flatten(1))
    assert cosine.min() > 0.9


@pytest.mark.parametrize("count", [1, 2, 7])
def test_a_strided_depthwise_convolution_works_in_float32_as_if_on_all_images_at_once(count: int) -> None:
    convolution = nn.Conv2d(64, 64, 3, stride=2, padding=1, groups=64)  # 2 images of 112 px are a piece
    convolution.requires_grad_(requires_grad=False)
    x = torch.randn(count, 64, 112, 112, generator=torch.Generator().manual_seed(1)).bfloat16()
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    extractor = Extractor("one", 112, ARCFACE_TEMPLATE, nn.Sequential(convolution), torch.zeros(1))

    ours, plain = in_bfloat16(extractor).network(x), convolution(x.float()).bfloat16()

    assert ours.dtype == torch.bfloat16
    assert torch.equal(ours, plain)
    gradients = [torch.autograd.grad(y, x, torch.ones_like(y))[0] for y in (ours, plain)]
    assert torch.equal(*gradients)


@pytest.mark.parametrize(("able", "allowed"), [(True, True), (True, False), (False, True)])
def test_a_cpu_must_have_bfloat16_and_onednn_be_allowed_it(
    able: bool, allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": able})
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: allowed, raising=False)
    assert is_faster(CPU) is (able and allowed)


def test_a_cpu_that_is_kept_to_avx2_is_not_taken_for_one_with_bfloat16() -> None:
    """Whatever the CPU has: in a process of its own, as oneDNN asks its environment once."""
    assert said_with_avx2(
        "import torch; torch.cpu.get_capabilities = lambda: {'avx512_bf16': True}\n"
        "from fawkes_engine.extractors.bfloat16 import is_faster\n"
        "print(is_faster(torch.device('cpu')))"
    ) == ["False"]


def test_a_gpu_is_not_asked() -> None:
    assert not is_faster(torch.device("cuda"))
