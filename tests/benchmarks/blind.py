"""Whether people see that a photo was cloaked: sets of faces for viewers who know nothing, and their answers counted.

    python -m tests.benchmarks.blind make --data PORTRAITS --out DIR
    python -m tests.benchmarks.blind count --out DIR

PORTRAITS holds photos, in subfolders too; of each, the largest face and what is around it is cut out and shown at
100 %. There are as many viewers as variants (the photo as it was, as JPEG of quality 75, and in each mode), and each
sees every photo once, in another variant than the others do. A viewer gets a folder DIR/viewer-N, looks at its pictures
and writes `answers.csv` beside them, a line each: the picture's name, "yes" or "no" (was this face altered?), and
where. `DIR/key.json` tells what was shown, and is not for viewers.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from PIL import Image

from fawkes_engine import MODES, EngineSettings, Protected, Request
from fawkes_engine.engine import Engine
from fawkes_engine.evaluation import MemoryTargets
from fawkes_engine.face.canvas import region_of
from fawkes_engine.face.detect import Pixels
from fawkes_engine.face.search import FaceSearch
from fawkes_engine.photo.decode import decode

_KEY = "key.json"
_AROUND = 0.35  # of the face's region, on each side

Variant = Callable[[bytes], Pixels]


def main() -> None:
    """Make the sets, or count the answers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("make", "count"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--photos", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.what == "make":
        every = sorted(path for path in args.data.rglob("*") if path.is_file())
        photos = random.Random(args.seed).sample(every, min(args.photos, len(every)))
        make(photos, args.out, args.seed)
    else:
        count(args.out)


def make(photos: Sequence[Path], out: Path, seed: int) -> None:
    """Write a folder for each viewer, and the key."""
    variants, search = _variants(), FaceSearch(torch.device("cpu"))
    names = list(variants)
    shuffled = random.Random(seed)
    key: dict[str, dict[str, str]] = {f"viewer-{viewer}": {} for viewer in range(len(names))}
    numbers = {viewer: shuffled.sample(range(100, 1000), len(photos)) for viewer in key}
    for i, photo in enumerate(photos):
        data = photo.read_bytes()
        shown = {name: variant(data) for name, variant in variants.items()}
        box = _around_largest_face(shown[names[0]], search)
        for number, viewer in enumerate(key):
            name = names[(i + number) % len(names)]
            file = out / viewer / f"{numbers[viewer][i]}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(shown[name]).crop(box).save(file)
            key[viewer][file.name] = name
    (out / _KEY).write_text(json.dumps(key, indent=1))


def count(out: Path) -> None:
    """Print how many of the pictures of each variant were called altered."""
    key = json.loads((out / _KEY).read_text())
    shown: Counter[str] = Counter()
    altered: Counter[str] = Counter()
    for viewer, pictures in key.items():
        with (out / viewer / "answers.csv").open(newline="") as file:
            answers = {row[0].strip(): row[1].strip().lower() for row in csv.reader(file) if len(row) > 1}
        for picture, variant in pictures.items():
            shown[variant] += 1
            altered[variant] += answers[picture] == "yes"
    for variant, pictures_shown in shown.items():
        share = altered[variant] / pictures_shown
        print(f"{variant}: {altered[variant]} of {pictures_shown} called altered ({share:.0%})")


def _variants() -> dict[str, Variant]:
    engines = {name: Engine(EngineSettings.of_mode(name), MemoryTargets()) for name in MODES}

    def cloaked(data: bytes, engine: Engine) -> Pixels:
        (result,) = engine.protect([Request(data, "somebody")])
        if not isinstance(result, Protected):
            raise TypeError(f"a photo was held ({result}); take it out of the folder")
        return decode(result.data).pixels

    modes: dict[str, Variant] = {
        name: lambda data, engine=engine: cloaked(data, engine)  # type: ignore[misc]
        for name, engine in engines.items()
    }
    return {"as it was": lambda data: decode(data).pixels, "JPEG 75": _compressed, **modes}


def _compressed(data: bytes) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(decode(data).pixels).save(file, "JPEG", quality=75)
    return decode(file.getvalue()).pixels


def _around_largest_face(pixels: Pixels, search: FaceSearch) -> tuple[int, int, int, int]:
    """Return the box to cut out of a photo: x0, y0, x1, y1."""
    x0, y0, x1, y1 = region_of(search.every(pixels)[0].box, pixels)
    right, down = round(_AROUND * (x1 - x0)), round(_AROUND * (y1 - y0))
    height, width = pixels.shape[:2]
    return max(0, x0 - right), max(0, y0 - down), min(width, x1 + right), min(height, y1 + down)


if __name__ == "__main__":
    main()
