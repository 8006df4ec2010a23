"""What a cloak costs on the CPU once the engine is resident, also as a ratio independent of the machine's speed.

    export MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=4294967296 MALLOC_TOP_PAD_=67108864
    python -m tests.benchmarks.cost --data DIR/faces --out DIR

The first line is how the daemon starts its engine's process: without it glibc maps and unmaps every tensor.
A batch is 16 photos, each of a different user. After a warm-up batch, three batches run; then photos run one at a time.
The reference, run right after each call, is the bare network: exactly the forward and backward passes that the
optimiser made, in the same batches, and nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from fawkes_engine import extractors
from fawkes_engine.engine import Engine
from fawkes_engine.evaluation.data.publication import BATCH_PHOTOS, MemoryTargets, request
from fawkes_engine.evaluation.data.splits import photos_of, shuffled
from fawkes_engine.evaluation.report.text import table
from fawkes_engine.extractors import Extractor
from fawkes_engine.extractors.bfloat16 import in_bfloat16, is_faster
from fawkes_engine.identity.targets import Pool
from fawkes_engine.types import EngineSettings, Protected

BATCHES, SINGLES = 3, 5
EXTRACTOR = "dlib"


@dataclass(frozen=True, slots=True)
class Cost:
    """One call of the engine.

    asked, published: photos. reading_s: wall time until the first pass (decode, detect, embed, target).
    optimising_s: until the last pass. finishing_s: from there on (fit, encode, detect again, verify).
    face_steps: forward and backward passes of one face. reference_s: wall time of the bare network for them.
    """

    asked: int
    published: int
    reading_s: float
    optimising_s: float
    finishing_s: float
    face_steps: int
    reference_s: float

    @property
    def seconds(self) -> float:
        """Wall time of the call."""
        return self.reading_s + self.optimising_s + self.finishing_s


@dataclass(frozen=True, slots=True)
class Result:
    """The saved measurements. load: the machine's 1-minute load average before they began."""

    fingerprint: str
    threads: int
    load: float
    batches: list[Cost]
    singles: list[Cost]


def main() -> None:
    """Measure, print and save."""
    args = _arguments()
    load = os.getloadavg()[0]
    cpu = torch.device("cpu")
    extractor = extractors.load(EXTRACTOR, Pool.load().mean(EXTRACTOR), cpu)
    if is_faster(cpu):
        extractor = in_bfloat16(extractor)  # as the engine's optimiser does
    engine = Engine(EngineSettings(extractors=(EXTRACTOR,), device="cpu"), MemoryTargets())
    engine.warm_up()
    batches = _batches(args.data / "users", args.seed)
    measure(engine, extractor, batches[0])  # buffers and kernels are set up here
    result = Result(
        fingerprint=engine.fingerprint,
        threads=torch.get_num_threads(),
        load=load,
        batches=[measure(engine, extractor, batch) for batch in batches[1:]],
        singles=[measure(engine, extractor, [photo]) for photo in batches[0][:SINGLES]],
    )
    print(f"{result.threads} threads; load average before the run {result.load:.2f}\n")
    print(_table(result))
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "cost.json").write_text(json.dumps(asdict(result), indent=1) + "\n", encoding="utf-8")


def measure(engine: Engine, extractor: Extractor, photos: Sequence[Path]) -> Cost:
    """Protect photos in one call, then run the reference.

    The time is split at the optimiser's first and last pass; a photo that is tried twice blurs the split.
    """
    requests = [request(photo) for photo in photos]
    ticks: list[float] = []  # when each pass began
    passes: list[int] = []  # faces in each pass through the network that gradients went through

    def note_pass(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if type(module) is type(extractor.network) and inputs[0].requires_grad:
            ticks.append(time.perf_counter())
            passes.append(len(inputs[0]))

    hook = register_module_forward_pre_hook(note_pass)
    begun = time.perf_counter()
    results = engine.protect(requests)
    ended = time.perf_counter()
    hook.remove()
    return Cost(
        asked=len(photos),
        published=sum(isinstance(r, Protected) for r in results),
        reading_s=ticks[0] - begun,
        optimising_s=ticks[-1] - ticks[0],
        finishing_s=ended - ticks[-1],
        face_steps=sum(passes),
        reference_s=_reference_s(extractor, passes),
    )


def _reference_s(extractor: Extractor, passes: Sequence[int]) -> float:
    begun = time.perf_counter()
    for faces in passes:
        chips = torch.full((faces, 3, extractor.chip_px, extractor.chip_px), 0.5, requires_grad=True)
        torch.autograd.grad(extractor.embed(chips).sum(), chips)
    return time.perf_counter() - begun


def _batches(users: Path, seed: int) -> list[list[Path]]:
    """Draw the warm-up batch and the measured ones, each with one photo of each of the first users."""
    people = sorted(p for p in users.iterdir() if p.is_dir())[:BATCH_PHOTOS]
    drawn = [shuffled(photos_of(person), seed) for person in people]
    return [[photos[i] for photos in drawn] for i in range(1 + BATCHES)]


def _table(result: Result) -> str:
    rows = [
        _row(f"batch of {BATCH_PHOTOS}", result.batches),
        _row("one at a time", result.singles),
    ]
    head = [
        "photos",
        "published",
        "s per photo",
        "slowest call",
        "read, detect, embed",
        "optimise",
        "fit, encode, verify",
        "face-steps per photo",
        "times the bare network",
    ]
    return table(head, rows)


def _row(name: str, costs: Sequence[Cost]) -> list[str]:
    return [
        name,
        f"{sum(c.published for c in costs)} of {sum(c.asked for c in costs)}",
        f"{median(c.seconds / c.asked for c in costs):.2f}",
        f"{max(c.seconds / c.asked for c in costs):.2f}",
        f"{median(c.reading_s / c.seconds for c in costs):.0%}",
        f"{median(c.optimising_s / c.seconds for c in costs):.0%}",
        f"{median(c.finishing_s / c.seconds for c in costs):.0%}",
        f"{median(c.face_steps / c.asked for c in costs):.0f}",
        f"{median(c.seconds / c.reference_s for c in costs):.2f}",
    ]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with users/")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of photos")
    parser.add_argument("--out", type=Path, help="folder for cost.json")
    return parser.parse_args()


if __name__ == "__main__":
    main()
