"""Fuzzes every decoder and container reader: damaged files in, nothing but answers and typed refusals out.

    python -m tests.benchmarks.fuzz --minutes 60 --seed 1 --data DIR...

DIR holds photos, in subfolders too; small files of every format are made besides. Each case is one of them, damaged
(`mutations.py`). A child process asks the daemon whether it is complete and the engine for its pixels and metadata, and
writes it anew (`fuzz_child.py`). A fault is what it answers with anything but a Refusal, what takes more memory than a
picture of its size, or more time, and what ends the child. Such files lie in --keep until they are understood.
"""

from __future__ import annotations

import argparse
import io
import random
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from .fuzz_child import Answer, Child
from .mutations import mutated

LARGEST_FILE = 4 << 20
KEEP = Path(tempfile.gettempdir(), "fawkesd-fuzz")


@dataclass
class Tally:
    """Counts of a run. faults: each with the first case that showed it."""

    verdicts: Counter[str] = field(default_factory=Counter)
    mutations: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    slowest: tuple[float, str] = (0.0, "")
    largest: tuple[int, str] = (0, "")


def corpus(folders: Sequence[Path]) -> dict[str, bytes]:
    """The files to damage: those of the folders, up to 4 MiB each, and small ones of every format."""
    files = (path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file())
    found = {str(path): path.read_bytes() for path in files if 0 < path.stat().st_size <= LARGEST_FILE}
    return found | {f"made.{name}": data for name, data in _made()}


def _made() -> Iterator[tuple[str, bytes]]:
    rng = random.Random(0)
    picture = Image.frombytes("RGB", (24, 18), rng.randbytes(24 * 18 * 3)).resize((240, 180))
    exif = picture.getexif()
    exif.update({0x010E: "a caption", 0x0112: 6, 0x8298: "somebody"})
    exif.get_ifd(0x8769)[0x9003] = "2026:11:29 12:00:00"
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0)})
    variants: dict[str, list[dict[str, object]]] = {
        "JPEG": [{}, {"progressive": True}, {"subsampling": 0}],
        "PNG": [{}],
        "WEBP": [{}, {"lossless": True}],
        "TIFF": [{}, {"compression": "tiff_lzw"}, {"compression": "jpeg"}, {"big_tiff": True}],
        "AVIF": [{}],
        "HEIF": [{}],
        "MPO": [{"save_all": True, "append_images": [picture.rotate(90)]}],
    }
    for kind, several in variants.items():
        for number, options in enumerate(several):
            for mode in ("RGB", "L"):
                out = io.BytesIO()
                picture.convert(mode).save(out, kind, exif=exif, **options)
                yield f"{number}.{mode}.{kind.lower()}", out.getvalue()


def fuzz(files: dict[str, bytes], seed: int, minutes: float, keep: Path) -> Tally:
    """Damage files and have them looked at for so long."""
    names, contents, tally, child = list(files), list(files.values()), Tally(), Child()
    end_s = told_s = time.monotonic()
    end_s += 60 * minutes
    number = 0
    while time.monotonic() < end_s:
        rng = random.Random(f"{seed}-{number}")
        name = rng.choice(names)
        what, data = mutated(files[name], contents, rng)
        case = f"case {number}: {Path(name).name}, {what}, {len(data)} bytes"
        answer = child.ask(data)
        _note(tally, case, what, answer)
        if answer.fault:
            keep.mkdir(parents=True, exist_ok=True, mode=0o700)
            (keep / f"{seed}-{number}").write_bytes(data)
            print(
                f"{answer.fault}: {case}, {answer.cpu_s:.1f} CPU s, {answer.peak_bytes >> 20} MiB", flush=True
            )
        if time.monotonic() > told_s + 60:
            told_s = time.monotonic()
            print(f"{number + 1} files, {tally.faults.total()} faults", flush=True)
        number += 1
    child.close()
    return tally


def _note(tally: Tally, case: str, what: str, answer: Answer) -> None:
    tally.verdicts[answer.verdict] += 1
    tally.mutations.update(what.split(" + "))
    if answer.fault:
        tally.faults[answer.fault] += 1
    tally.slowest = max(tally.slowest, (answer.cpu_s, case))
    tally.largest = max(tally.largest, (answer.peak_bytes, case))


def main() -> None:
    """Read the command line; exits with 1 if there was a fault."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", type=Path, nargs="*", default=[], help="folders of photos to damage")
    parser.add_argument("--keep", type=Path, default=KEEP, help="where faults are kept")
    arguments = parser.parse_args()
    warnings.simplefilter(
        "ignore"
    )  # Pillow's, where the blocks of damaged files are read to be damaged further
    files = corpus(arguments.data)
    print(f"{len(files)} files to damage", flush=True)
    tally = fuzz(files, arguments.seed, arguments.minutes, arguments.keep)
    print(f"{tally.verdicts.total()} damaged files; mutations: {_listed(tally.mutations)}")
    print(f"answers: {_listed(tally.verdicts)}")
    print(f"most CPU: {tally.slowest[0]:.1f} s, {tally.slowest[1]}")
    print(f"most memory: {tally.largest[0] >> 20} MiB, {tally.largest[1]}")
    print(f"faults: {tally.faults.total()}")
    for fault, count in tally.faults.most_common():
        print(f"  {count}: {fault}")
    sys.exit(min(1, tally.faults.total()))


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{what} {count}" for what, count in counts.most_common())


if __name__ == "__main__":
    main()
