"""What the daemon costs on top of the engine when photos wait.

    export OMP_NUM_THREADS=1 MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=4294967296 MALLOC_TOP_PAD_=67108864
    python -m tests.benchmarks.overhead --data DIR/faces/users/SOMEBODY
    python -m tests.benchmarks.overhead                  # on pieces of scikit-image's astronaut

The same photos go through `fawkesd cloak`, which is the engine alone, and through `fawkesd once`: outbox, ledger, an
engine process, publishing. CPU seconds of the commands and all their processes, including model loading, which
both do once; wall seconds for information only, as other programs disturb them.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from fawkes_engine.evaluation.report.text import table

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' own helpers

from engine_pictures import portrait

FAWKESD = (sys.executable, "-m", "daemon")


def main() -> None:
    """Run both and print a table."""
    args = _arguments()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        os.environ["XDG_STATE_HOME"] = str(here / "state")
        outbox, sync, out = here / "outbox", here / "sync", here / "out"
        config = here / "fawkesd.yaml"
        _run("init", "--user", "me", "--outbox", outbox, "--sync", sync, "--create", "--config", config)
        photos = _fill(outbox, args.data, args.photos)
        _run("cloak", *photos, "--user", "me", "--out", out / "first")  # or the first would know nobody
        for round_ in range(args.rounds):
            direct = _run("cloak", *photos, "--user", "me", "--out", out / str(round_))
            for photo in photos:  # new bytes are a new photo
                with photo.open("ab") as file:
                    file.write(b"\0")
                os.utime(photo, (0, 0))
            whole = _run("once", "--config", config)
            rows.append([direct, whole])
        made = sum(path.is_file() for path in sync.rglob("*.*"))
    print(f"{len(photos)} photos, {made} files in the sync folder, {args.rounds} rounds\n")
    cells = [
        [name, *(f"{sum(row[i][j] for row in rows) / len(rows):.1f}" for j in (0, 1))]
        for i, name in enumerate(("`fawkesd cloak`", "`fawkesd once`"))
    ]
    print(table(["command", "CPU seconds", "wall seconds"], cells))
    direct_s, whole_s = (sum(row[i][0] for row in rows) for i in (0, 1))
    print(f"on top of the engine: {whole_s / direct_s - 1:+.1%} CPU")


def _fill(outbox: Path, data: Path | None, count: int) -> list[Path]:
    """Put photos into the outbox, with old timestamps."""
    photos = []
    originals = sorted(data.glob("*.jpg"))[:count] if data else [None] * count
    for i, original in enumerate(originals):
        photo = outbox / f"{i}.jpg"
        if original:
            photo.write_bytes(original.read_bytes())
        else:
            Image.fromarray(portrait()[i:]).save(photo, quality=95)
        os.utime(photo, (0, 0))
        photos.append(photo)
    return photos


def _run(*command: str | Path) -> tuple[float, float]:
    """Run a command of fawkesd; return its CPU and wall seconds. A held photo is no failure."""
    begun, before = time.perf_counter(), _children_s()
    done = subprocess.run([*FAWKESD, *map(str, command)], capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        sys.exit(f"{command[0]} failed: {done.stderr}")
    return _children_s() - before, time.perf_counter() - begun


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder with JPEG files of one person")
    parser.add_argument("--photos", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
