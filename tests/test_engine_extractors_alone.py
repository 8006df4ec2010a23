"""Surrogates in float32 with AVX2: the same bits for a face alone and among others, without passing it twice."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from batches import two_threads
from torch import Tensor

from fawkes_engine import extractors
from fawkes_engine.extractors import Extractor
from fawkes_engine.extractors.alone import equal_alone, is_possible
from fawkes_engine.identity.targets import Pool

pytestmark = pytest.mark.numeric
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def dlib() -> Extractor:
    return extractors.load("dlib", Pool.load().mean("dlib"), CPU)


def chips(count: int, side: int) -> Tensor:
    coarse = torch.rand(count, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    return F.interpolate(coarse, size=[side, side], mode="bicubic").clamp(0, 1).requires_grad_()


def passed(extractor: Extractor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings and gradients of chips."""
    embedding = extractor.embed(x)
    (gradient,) = torch.autograd.grad((embedding * torch.linspace(-1, 1, embedding.shape[1])).sum(), x)
    return embedding.detach(), gradient


@pytest.mark.skipif(not is_possible(CPU), reason="this CPU has more or less than AVX2")
@pytest.mark.parametrize("threads", [1, 2])
def test_a_face_gets_the_same_bits_alone_in_a_pair_and_in_a_full_batch(dlib: Extractor, threads: int) -> None:
    alike, x = equal_alone(dlib), chips(16, dlib.chip_px)
    with two_threads() if threads == 2 else nullcontext():
        in_a_pair = passed(dlib, x[:2])  # as plain networks compute all batches but full ones
        for count in (1, 3, 16):
            for ours, theirs in zip(passed(alike, x[:count]), in_a_pair, strict=True):
                shared = min(count, 2)
                assert torch.equal(ours[:shared], theirs[:shared]), f"{count} faces"


def test_a_face_alone_passes_the_network_once(dlib: Extractor) -> None:
    alike, seen = equal_alone(dlib), []
    alike.network.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    passed(alike, chips(1, dlib.chip_px))
    assert seen == [1]


def test_the_weights_are_shared(dlib: Extractor) -> None:
    ours, theirs = (
        {weight.data_ptr() for weight in network.parameters()}
        for network in (dlib.network, equal_alone(dlib).network)
    )
    assert ours == theirs


def test_only_a_cpu_with_avx2_alone_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    able = {"avx2": True, "avx512_f": False}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert is_possible(CPU)
    assert not is_possible(torch.device("cuda"))
    able["avx512_f"] = True
    assert not is_possible(CPU)
    able.clear()
    assert not is_possible(CPU)


def test_on_three_threads_faces_pass_in_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_f": False})
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert not is_possible(CPU)
