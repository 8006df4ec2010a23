"""A step of the optimiser queues its work on a graphics card and never waits for it; seen without a card.

PyTorch's meta tensors are a device's without values: what asks for a value fails, and copies to them can be watched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from functools import cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from fawkes_engine import Budget
from fawkes_engine.cloak import state as descent
from fawkes_engine.cloak import views
from fawkes_engine.cloak.optimise import CLOAK, _loss
from fawkes_engine.cloak.state import CloakState
from fawkes_engine.cloak.subjects import Subject, Subjects
from fawkes_engine.extractors import Extractor
from fawkes_engine.extractors.base import ARCFACE_TEMPLATE
from fawkes_engine.face import align
from fawkes_engine.face.align import Similarity
from fawkes_engine.image import filters, visibility, warp
from fawkes_engine.image.filters import Banded
from fawkes_engine.image.visibility import SsimReference, Visibility

SIDE = 96
CACHED = (
    (filters, "_blur"),
    (visibility, "_windows"),
    (warp, "_similarities"),
    (views, "_ycc"),
    (views, "_steps"),
    (views, "_block_dct"),
)
NOISY = 4  # the view whose random numbers are a graphics card's own, which cannot be had without one
aten = torch.ops.aten


class Copies(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes copies between devices that the CPU would wait for."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.waited_for: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is aten._pin_memory.default:
            return args[0].clone()  # which only a machine with a card has
        result = func(*args, **kwargs)
        if func is aten._to_copy.default:
            self._note(args[0], result, waits=not kwargs.get("non_blocking"))
        elif func is aten.copy_.default:
            self._note(args[1], args[0], waits=not (args[2:] and args[2]))
        return result

    def _note(self, source: Tensor, target: Tensor, *, waits: bool) -> None:
        if source.device != target.device and waits:
            self.waited_for.append(f"{tuple(source.shape)} from {source.device} to {target.device}")


def on_card(x: Any) -> Any:
    """The same with tensors that have no values."""
    match x:
        case Tensor():
            return x.detach().to("meta").requires_grad_(x.requires_grad)
        case dict():
            return {key: on_card(value) for key, value in x.items()}
        case list() | tuple():
            return type(x)(map(on_card, x))
        case Banded() | SsimReference():
            copy = object.__new__(type(x))
            copy.__dict__ |= on_card(vars(x))
            return copy
        case CloakState() | Subjects() | Subject():
            return replace(x, **{field.name: on_card(getattr(x, field.name)) for field in fields(x)})
        case _:
            return x


def subject(seed: int) -> Subject:
    generator = torch.Generator().manual_seed(seed)
    seen = Visibility(0.001, 0.001, 0.1, 0.2)
    return Subject(
        canvas=torch.rand(3, SIDE, SIDE, generator=generator),
        mask=torch.ones(1, SIDE, SIDE),
        region=(20, 20, 70, 70),
        height_px=50.0,
        onto_canvas={"one": Similarity(0.5 + 0j, 20 + 20j)},
        target={"one": F.normalize(torch.rand(8, generator=generator), dim=0)},
        clean_embedding={"one": F.normalize(torch.rand(8, generator=generator), dim=0)},
        directions=torch.full((3, SIDE, SIDE), 3**-0.5) if seed else None,
        seed=seed,
        encoding=seen,
        visibility_of=lambda *_: seen,
    )


def extractor(device: str) -> Extractor:
    convolution = nn.Conv2d(3, 8, 3, stride=2, device=device)
    network = nn.Sequential(convolution, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network.requires_grad_(requires_grad=False)
    return Extractor("one", 112, ARCFACE_TEMPLATE, network, torch.zeros(8, device=device))


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """A function that does one step of each view on a card that is not there, and tells what it waited for."""
    state = CloakState.start([subject(0), subject(1)], Budget())
    numbers = [number for number in range(len(views._SCHEDULE)) if number != NOISY]
    monkeypatch.setattr(descent, "jittered", lambda onto, *_: onto)  # its random numbers are the CPU's own
    one_step(state, extractor("cpu"), numbers)  # on the CPU, so that what is made once is there
    for module, name in CACHED:
        made_once = getattr(module, name)
        takes_device_first = module is views
        monkeypatch.setattr(module, name, _from_cpu(made_once, takes_device_first=takes_device_first))

    def on_a_card() -> list[str]:
        there, recogniser = on_card(state), extractor("meta")
        with Copies():
            one_step(there, recogniser, numbers)  # makes there what is made once
        copies = Copies()
        with copies:
            one_step(there, recogniser, numbers)
        return copies.waited_for

    return on_a_card


def _from_cpu(made_once: Any, *, takes_device_first: bool) -> Callable[..., Any]:
    cpu = torch.device("cpu")
    if takes_device_first:
        return cache(lambda _, *others: on_card(made_once(cpu, *others)))
    return cache(lambda *others: on_card(made_once(*others[:-1], cpu)))


def one_step(state: CloakState, extractor: Extractor, numbers: Sequence[int]) -> None:
    for number in numbers:
        loss = _loss([state], CLOAK, extractor, number)
        delta, points = torch.autograd.grad(loss, [state.delta, state.points])
        state.descend(delta, step=number, of=len(numbers))
        state.move(points, step=number, of=len(numbers))


def test_a_step_waits_for_nothing(step: Callable[[], list[str]]) -> None:
    assert step() == []


def test_a_copy_that_is_waited_for_is_noticed(
    step: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(align, "_sent", lambda x, device: x.to(device))
    assert "(2, 2, 3) from cpu to meta" in step()


def test_a_value_that_is_asked_for_is_noticed(
    step: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CloakState, "cloaked", lambda self: self.faces.canvas * float(self.delta.abs().max()))
    with pytest.raises(RuntimeError, match="meta tensor"):
        step()
