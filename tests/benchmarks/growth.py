"""How the cost of a cloak scales: with faces per photo, the photo's size, the backlog and the number of surrogates.

    export OMP_NUM_THREADS=1 MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=4294967296 MALLOC_TOP_PAD_=67108864
    python -m tests.benchmarks.growth

Every photo is a smooth texture with NASA's portrait of Eileen Collins pasted in at one size, so that one thing changes
at a time. CPU seconds of whole calls of a resident engine, decoding to verification, on one thread.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from fawkes_engine import EngineSettings, Protected, Request
from fawkes_engine.engine import Engine
from fawkes_engine.evaluation import MemoryTargets
from fawkes_engine.evaluation.report.text import table
from fawkes_engine.weights import catalog

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' own helpers

from engine_pictures import portrait

_FACE_PX = 116  # high, in the portrait
_PORTRAIT_PX = 288


def main() -> None:
    """Measure and print a table for each variable."""
    names = catalog.best_on_disk(catalog.default_folder())
    engine = resident(names)
    print(f"{engine.fingerprint}; faces {_FACE_PX} px high\n")
    print(_rows("faces in a photo of 6 MP", engine, [(f"{n}", [photo(6, n)]) for n in (1, 4, 8)]))
    print(_rows("megapixels, one face", engine, [(f"{m}", [photo(m, 1)]) for m in (0.25, 6, 24)]))
    backlogs = [(f"{n}", [photo(0.25, 1, seed=i) for i in range(n)]) for n in (1, 4, 16)]
    print(_rows("photos of 0.25 MP that wait", engine, backlogs))
    print(_head("surrogates"), end="")
    for count in range(1, len(names) + 1):
        chosen = names[:count]
        print(_row("+".join(chosen), resident(chosen), [photo(0.25, 1, seed=i) for i in range(4)]), end="")


def resident(names: Sequence[str]) -> Engine:
    """Return an engine that is warmed up."""
    engine = Engine(EngineSettings(extractors=tuple(names), device="cpu", threads=1), MemoryTargets())
    engine.warm_up()
    engine.protect([Request(photo(0.25, 1), "ada")])
    return engine


def photo(megapixels: float, faces: int, *, seed: int = 0) -> bytes:
    """A JPEG of this many megapixels with this many portraits on it."""
    side = max(round((megapixels * 1e6) ** 0.5), _PORTRAIT_PX)
    noise = np.random.default_rng(seed).integers(90, 130, (side // 16, side // 16, 3), dtype=np.uint8)
    picture = Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC)
    per_row = side // _PORTRAIT_PX
    for i in range(faces):
        picture.paste(Image.fromarray(portrait()), (i % per_row * _PORTRAIT_PX, i // per_row * _PORTRAIT_PX))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=92)
    return out.getvalue()


def _rows(what: str, engine: Engine, cases: Sequence[tuple[str, Sequence[bytes]]]) -> str:
    return _head(what) + "".join(_row(name, engine, photos) for name, photos in cases)


def _head(what: str) -> str:
    return table([what, "published", "faces", "s per photo", "s per face"], [])


def _row(name: str, engine: Engine, photos: Sequence[bytes]) -> str:
    begun = time.process_time()
    results = engine.protect([Request(data, "ada") for data in photos])
    spent = time.process_time() - begun
    faces = sum(len(r.report.faces) for r in results if isinstance(r, Protected))
    published = sum(isinstance(r, Protected) for r in results)
    cells = [name, f"{published} of {len(photos)}", str(faces)]
    cells += [f"{spent / len(photos):.2f}", f"{spent / max(1, faces):.2f}"]
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    main()
