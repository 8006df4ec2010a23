"""How many nodes one core of a coordinator can feed: what it takes to inspect a photo, beside what its cloak takes.

    python -m tests.benchmarks.inspection --data DIR/faces/users [--photos 8] [--mode standard]

First small photos of four people, together as a node gets them, then one of 24 megapixels with one face, and one with
five, which are made as for `memory`. Engine and inspection take one thread each; CPU seconds and bytes are per photo.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' own helpers

from engine_pictures import Shelf

from benchmarks.cluster import photos_of_a_family
from benchmarks.memory import photo
from daemon.cluster.inspection import Inspector
from fawkes_engine import EngineSettings, ModeName, Protected, Request
from fawkes_engine.engine import Engine

MEGAPIXELS = 24


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--photos", type=int, default=8)
    parser.add_argument("--mode", default="standard")
    given = parser.parse_args()
    told("small photos", photos_of_a_family(given.data)[: given.photos], given.mode)
    for faces in (1, 5):
        large = Request(photo(MEGAPIXELS, faces), "ada")
        told(f"{MEGAPIXELS} MP, {faces} face(s)", [large], given.mode)


def told(name: str, requests: Sequence[Request], mode: ModeName) -> None:
    """Cloak photos whose people are known, inspect what came out, and print what each took."""
    settings = replace(EngineSettings.of_mode(mode), device="cpu", threads=1)
    shelf = Shelf()
    engine, inspector = Engine(settings, shelf), Inspector(settings, shelf)
    warm = engine.protect(requests[:1])
    assert isinstance(warm[0], Protected), warm[0]
    inspector.objection(requests[0], warm[0])
    started = time.process_time()
    results = engine.protect(requests)
    cloaked = time.process_time()
    made = [(r, result) for r, result in zip(requests, results, strict=True) if isinstance(result, Protected)]
    objections = [inspector.objection(request, result) for request, result in made]
    inspected = time.process_time()
    engine_s, inspection_s = (cloaked - started) / len(requests), (inspected - cloaked) / len(made)
    there = sum(len(request.data) for request in requests) / len(requests)
    back = sum(len(result.data) for _, result in made) / len(made)
    print(
        f"{name}: engine {engine_s:.2f} CPU s a photo, inspection {inspection_s:.2f}: "
        f"one core inspects for {engine_s / inspection_s:.1f} one-thread nodes; {there / 1e3:.0f} kB there, "
        f"{back / 1e3:.0f} kB back; {len(made)} of {len(requests)} protected, "
        f"{sum(map(bool, objections))} objections",
        flush=True,
    )


if __name__ == "__main__":
    main()
