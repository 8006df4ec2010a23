"""What protection costs: recognition against DSSIM, steps, the surrogates, and the number of known clean faces.

    python -m tests.benchmarks.curve --data DIR/faces --tracker dlib --tracker onnx:FILE --dssim 0.003 0.007 0.015
    python -m tests.benchmarks.curve --data DIR/faces --tracker dlib --tracker onnx:FILE --warp 0 0.01 0.02 0.03
    python -m tests.benchmarks.curve --data DIR/faces --tracker dlib --tracker onnx:FILE --steps 12 60
    python -m tests.benchmarks.curve --data DIR/faces --tracker dlib --tracker onnx:FILE --extractors dlib dlib,sface
    python -m tests.benchmarks.curve --data DIR/faces --tracker dlib --tracker onnx:FILE --known 0 1 3 16

Each point cloaks the same photos of a few people; the colour limits are those of the mode `strong`, so that DSSIM is
the binding limit. Everything else is as in `fawkesd evaluate`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from fawkes_engine import MODES, Budget, EngineSettings, evaluation
from fawkes_engine.engine import Engine
from fawkes_engine.evaluation.protection import CLOAKED
from fawkes_engine.identity import people

HEADS = ("nearest", "centroid")
COLOURS = MODES["strong"].budget


def main() -> None:
    """Measure every point, and print a line of a Markdown table for each."""
    args = _arguments()
    split = evaluation.draw(args.data, people=args.people, cloaked=args.photos, tested=10, seed=0)
    trackers = evaluation.load_trackers(args.tracker, torch.device("cpu"))
    names = [f"{tracker.name}, {head}" for tracker in trackers for head in HEADS]
    print(f"| point | DSSIM | s per photo | {' | '.join(names)} |\n|{'---|' * (len(names) + 3)}", flush=True)
    for point, settings, known in _points(args):
        people.FACES_AVERAGED = known
        publication = evaluation.publish(Engine(settings, evaluation.MemoryTargets()), split.cloaked)
        result = evaluation.evaluate(publication, trackers, split, heads=HEADS)
        shares = [f"{r.recognised.share:.0%}" for r in result.recognition if r.gallery == CLOAKED]
        cost = result.costs
        print(
            f"| {point} | {cost.visibility['dssim'].mean:.4f} | {cost.seconds_per_photo:.1f} | {' | '.join(shares)} |",
            flush=True,
        )


def _points(args: argparse.Namespace) -> Iterator[tuple[str, EngineSettings, int]]:
    """A point's name, the engine's settings, and how many clean faces are in a person's mean face."""
    base, usual = EngineSettings(), people.FACES_AVERAGED
    for limit in args.dssim:
        budget = Budget(limit, COLOURS.colour_mean, COLOURS.colour_p99)
        yield f"DSSIM at most {limit}", replace(base, budget=budget), usual
    for warp in args.warp:
        yield f"moved by at most {warp:.1%}", replace(base, budget=replace(base.budget, warp=warp)), usual
    for steps in args.steps:
        yield f"{steps} steps", replace(base, steps=steps), usual
    for names in args.extractors:
        yield names, replace(base, extractors=tuple(names.split(","))), usual
    for known in args.known:
        yield f"{known} clean faces known", base, known


def parser(told: str | None) -> argparse.ArgumentParser:
    """Return the options of a benchmark that cloaks some photos of a few people. told: its description."""
    options = argparse.ArgumentParser(description=told, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, required=True, help="folder with users/ and others/")
    options.add_argument(
        "--tracker", action="append", required=True, help="as of fawkesd evaluate; repeatable"
    )
    options.add_argument("--people", type=int, default=5)
    options.add_argument("--photos", type=int, default=6, help="cloaked photos of each")
    return options


def _arguments() -> argparse.Namespace:
    options = parser(__doc__)
    options.add_argument("--dssim", type=float, nargs="*", default=[])
    options.add_argument("--warp", type=float, nargs="*", default=[], help="shares of the face's height")
    options.add_argument("--steps", type=int, nargs="*", default=[])
    options.add_argument("--extractors", nargs="*", default=[], help="names with commas between them")
    options.add_argument("--known", type=int, nargs="*", default=[], help="clean faces of each person")
    return options.parse_args()


if __name__ == "__main__":
    main()
