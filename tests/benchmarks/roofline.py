"""Where the optimiser's time goes, and how close its networks come to the machine's peak performance.

    export OMP_NUM_THREADS=1 MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=4294967296 MALLOC_TOP_PAD_=67108864
    python -m tests.benchmarks.roofline --data DIR/faces
    python -m tests.benchmarks.roofline                     # on scikit-image's astronaut

First a batch of photos is cloaked twice by a resident engine: the first run only gets its memory from the system.
The second run times every pass through a network, forward and backward. Then each of its convolutions runs
alone, as torch computes it, on the same shapes and in the faster precision: their sum is what the networks would take
if they had no other layers. All on one thread, in CPU seconds, which other programs disturb least.

Floating-point operations are those of the convolutions (a multiplication and an addition are two); backward counts as
much as forward, since only the gradient of the input is needed. Bytes are the minimum traffic: input, weights and
output of each convolution, once per direction.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from fawkes_engine import EngineSettings, Request
from fawkes_engine.cloak.optimise import Cloak, optimise
from fawkes_engine.engine import Engine
from fawkes_engine.evaluation import MemoryTargets
from fawkes_engine.evaluation.data.publication import request
from fawkes_engine.evaluation.data.splits import photos_of, shuffled
from fawkes_engine.evaluation.report.text import table
from fawkes_engine.extractors import Extractor
from fawkes_engine.extractors.bfloat16 import is_faster

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' own helpers

from engine_pictures import astronaut

_REPEATS = 5  # of each convolution alone; the fastest counts


@dataclass(frozen=True, slots=True)
class Shape:
    """One convolution call. x, weight: sizes."""

    x: tuple[int, ...]
    weight: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    groups: int
    dtype: torch.dtype

    @property
    def out(self) -> tuple[int, ...]:
        """Size of the result."""
        sides = (
            (side + 2 * pad - kernel) // step + 1
            for side, pad, kernel, step in zip(
                self.x[2:], self.padding, self.weight[2:], self.stride, strict=True
            )
        )
        return (self.x[0], self.weight[0], *sides)

    @property
    def flop(self) -> int:
        """Floating-point operations in one direction."""
        return 2 * _product(self.out) * _product(self.weight[1:])

    @property
    def bytes(self) -> int:
        """Minimum memory traffic in one direction, bytes."""
        return (_product(self.x) + _product(self.weight) + _product(self.out)) * self.dtype.itemsize

    def seconds(self) -> float:
        """Time alone, forward and back, as torch computes it: in bfloat16 or, where that is faster, in float32."""
        return min(self._seconds(dtype) for dtype in {self.dtype, torch.float32})

    def _seconds(self, dtype: torch.dtype) -> float:
        layout = {"memory_format": torch.channels_last}
        x = torch.rand(self.x, dtype=dtype).contiguous(**layout).requires_grad_()
        weight = torch.rand(self.weight, dtype=dtype).contiguous(**layout)

        def forward() -> Tensor:
            return F.conv2d(x, weight, None, self.stride, self.padding, 1, self.groups)

        y = forward()
        back = torch.rand_like(y)
        return _fastest(forward) + _fastest(lambda: torch.autograd.grad(y, x, back, retain_graph=True))


class Clock:
    """Time inside the networks while the optimiser runs, and the calls of their convolutions."""

    def __init__(self, surrogates: Sequence[Extractor]) -> None:
        # seconds by network: forward alone, when cloaks are compared; forward, when a gradient follows; back
        self.scoring: dict[str, float] = defaultdict(float)
        self.forward: dict[str, float] = defaultdict(float)
        self.back: dict[str, float] = defaultdict(float)
        self.faces: Counter[str] = Counter()  # face-passes both ways
        self.shapes: dict[str, Counter[Shape]] = defaultdict(Counter)  # of passes both ways
        self.optimising = 0.0
        self._begun = 0.0
        self._optimising = False
        for extractor in surrogates:
            self._watch(extractor.name, extractor.network)

    def optimise(self, *args: Any, **kwargs: Any) -> list[Cloak]:
        """Run and time the engine's optimiser."""
        begun, self._optimising = time.process_time(), True
        cloaks = optimise(*args, **kwargs)
        self.optimising += time.process_time() - begun
        self._optimising = False
        return cloaks

    def _watch(self, name: str, network: nn.Module) -> None:
        def start(*_: object) -> None:
            self._begun = time.process_time()

        def end_forward(_: nn.Module, inputs: tuple[Tensor, ...], __: Tensor) -> None:
            spent = time.process_time() - self._begun
            if not self._optimising:
                return
            if inputs[0].requires_grad:
                self.forward[name] += spent
                self.faces[name] += len(inputs[0])
            else:
                self.scoring[name] += spent

        def end_back(*_: object) -> None:
            self.back[name] += time.process_time() - self._begun

        def note(conv: nn.Conv2d, inputs: tuple[Tensor, ...]) -> None:
            if inputs[0].requires_grad:
                x, weight = inputs[0], conv.weight
                padding = tuple(int(p) for p in conv.padding)
                shape = Shape(
                    tuple(x.shape), tuple(weight.shape), conv.stride, padding, conv.groups, weight.dtype
                )
                self.shapes[name][shape] += 1

        network.register_forward_pre_hook(start)
        network.register_forward_hook(end_forward)
        network.register_full_backward_pre_hook(start)
        network.register_full_backward_hook(end_back)
        for module, conv in _convolutions(network):
            module.register_forward_pre_hook(lambda _, inputs, conv=conv: note(conv, inputs))


def _convolutions(network: nn.Module) -> Iterator[tuple[nn.Module, nn.Conv2d]]:
    """Each convolution, and the module that is called with whole batches: it, or what wraps it in another precision."""
    modules = list(network.modules())
    wrapped = {
        module.inner: module for module in modules if isinstance(getattr(module, "inner", None), nn.Conv2d)
    }
    for module in modules:
        if isinstance(module, nn.Conv2d):
            yield wrapped.get(module, module), module


def main() -> None:
    """Measure and print."""
    args = _arguments()
    torch.set_num_threads(1)
    engine = Engine(EngineSettings(device="cpu", threads=1), MemoryTargets())
    engine.warm_up()
    requests = _requests(args)
    engine.protect(requests)
    clock = Clock(engine.pipeline.ensemble.turns())
    with mock.patch("fawkes_engine.pipeline.photos.optimise", clock.optimise):
        results = engine.protect(requests)
    inside = sum(sum(spent.values()) for spent in (clock.scoring, clock.forward, clock.back))
    steps = sum(clock.faces.values())
    print(f"{len(results)} photos, {steps} face-steps, {engine.fingerprint}\n")
    print(f"optimiser: {clock.optimising:.1f} s, of it inside the networks {inside / clock.optimising:.0%}\n")
    dtype = (
        torch.bfloat16 if is_faster(torch.device("cpu")) else torch.float32
    )  # what the optimiser computes in
    peak, bandwidth = _peak_flops(dtype), _bandwidth()
    precision = str(dtype).removeprefix("torch.")
    print(f"the machine: {precision} product {peak / 1e9:.0f} GFLOP/s, copy {bandwidth / 1e9:.1f} GB/s\n")
    head = [
        "network",
        "GFLOP per face and step",
        "MB per face and step",
        "FLOP per byte",
        "ms per face and step",
        "GFLOP/s",
        "its convolutions alone, GFLOP/s",
        "share",
        "the roofline's bound, ms",
    ]
    print(table(head, [_row(name, clock, peak, bandwidth) for name in clock.shapes]))


def _row(name: str, clock: Clock, peak: float, bandwidth: float) -> list[str]:
    """What one network does in passes with gradients; forward-only passes are not included."""
    faces, shapes = clock.faces[name], clock.shapes[name]
    flop = sum(2 * s.flop * n for s, n in shapes.items())
    traffic = sum(2 * s.bytes * n for s, n in shapes.items())
    alone = sum(s.seconds() * n for s, n in shapes.items())
    spent = clock.forward[name] + clock.back[name]
    bound = sum(2 * n * max(s.flop / peak, s.bytes / bandwidth) for s, n in shapes.items())
    return [
        name,
        f"{flop / faces / 1e9:.2f}",
        f"{traffic / faces / 1e6:.0f}",
        f"{flop / traffic:.0f}",
        f"{spent / faces * 1e3:.1f}",
        f"{flop / spent / 1e9:.0f}",
        f"{flop / alone / 1e9:.0f}",
        f"{alone / spent:.0%}",
        f"{bound / faces * 1e3:.1f}",
    ]


def _requests(args: argparse.Namespace) -> list[Request]:
    if args.data is None:
        out = io.BytesIO()
        Image.fromarray(astronaut()).save(out, "PNG")
        return [Request(out.getvalue(), "astronaut")]
    people = sorted(p for p in (args.data / "users").iterdir() if p.is_dir())[: args.photos]
    return [request(shuffled(photos_of(person), seed=0)[0]) for person in people]


def _fastest(run: Callable[[], object]) -> float:
    spent = []
    for _ in range(_REPEATS):
        begun = time.process_time()
        run()
        spent.append(time.process_time() - begun)
    return min(spent)


def _peak_flops(dtype: torch.dtype) -> float:
    side = 2048
    a, b = (torch.rand(side, side).to(dtype) for _ in range(2))
    return 2 * side**3 / _fastest(lambda: a @ b)


def _bandwidth() -> float:
    source = torch.rand(64 << 20)
    target = torch.empty_like(source)
    return 2 * source.nbytes / _fastest(lambda: target.copy_(source))


def _product(sizes: Sequence[int]) -> int:
    return int(torch.Size(sizes).numel())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder with users/; without it, scikit-image's astronaut")
    parser.add_argument("--photos", type=int, default=16, help="one of each user")
    return parser.parse_args()


if __name__ == "__main__":
    main()
