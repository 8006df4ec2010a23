"""Peak memory of the engine process on one large photo.

    python -m tests.benchmarks.memory --megapixels 24 --faces 5

The photo is a smooth texture with NASA's portrait of Eileen Collins pasted in; it is generated in this process and
cloaked in another one, whose peak memory is printed with its share of mapped library files.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from daemon.workers.environment import engine_environment, load_torch
from fawkes_engine import EngineSettings, Refusal, Request

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' own helpers

load_torch()  # first, as in an engine's process

from engine_pictures import Shelf, astronaut  # noqa: E402  PyTorch must not come before

_ASPECT = 1.5


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megapixels", type=float, default=24)
    parser.add_argument("--faces", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0)
    arguments = parser.parse_args()
    data = photo(arguments.megapixels, arguments.faces)
    with engine_environment(), multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.apply(cloak, (data, arguments.threads)))


def photo(megapixels: float, faces: int) -> bytes:
    width = round((megapixels * 1e6 * _ASPECT) ** 0.5)
    height = round(width / _ASPECT)
    noise = np.random.default_rng(0).integers(90, 130, (height // 16, width // 16, 3), dtype=np.uint8)
    picture = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
    side = min(height, width // faces)
    portrait = Image.fromarray(astronaut()).resize((side, side), Image.Resampling.LANCZOS)
    for i in range(faces):
        picture.paste(portrait, (i * width // faces, (height - side) // 2))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=92)
    return out.getvalue()


def cloak(data: bytes, threads: int) -> str:
    """Protect one photo and report the result and the memory it took. Runs in its own process."""
    from fawkes_engine.engine import Engine

    engine = Engine(EngineSettings(threads=threads), Shelf())
    engine.warm_up()
    idle_mib = memory_mib()["VmRSS"]
    started = time.perf_counter()
    (result,) = engine.protect([Request(data, "somebody")])
    seconds = time.perf_counter() - started
    outcome = f"held: {result}" if isinstance(result, Refusal) else f"{len(result.report.faces)} faces"
    after = memory_mib()
    return (
        f"{outcome}; {seconds:.0f} s; idle {idle_mib} MiB, peak {after['VmHWM']} MiB, "
        f"of it about {after['RssFile']} MiB mapped files"
    )


def memory_mib() -> dict[str, int]:
    lines = Path("/proc/self/status").read_text().splitlines()
    return {line.partition(":")[0]: int(line.split()[1]) >> 10 for line in lines if line.endswith(" kB")}


if __name__ == "__main__":
    main()
