"""The service at full load for hours: memory, descriptors and ledger over time, as a table and a plot.

    python -m tests.benchmarks.full_load --data DIR --minutes 120 --out OUT

The real daemon with the real engine. The photos below DIR, each saved again at a quality of its own so that none was
seen before, arrive whenever fewer than two batches wait. Each minute is a line of OUT/full_load.csv; the plot is
OUT/full_load.svg. At the end it prints what each quarter of the time took at most: what grows without end shows there.
The ledger keeps rows of all photos, so it grows with their number.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image, ImageOps

from daemon.config.settings import Settings
from daemon.model import State
from daemon.state.history import reading
from daemon.state.schema import LEDGER_NAME

from .residency import configured, processes, service

_ENDINGS = {".jpg", ".jpeg", ".png", ".heic", ".webp"}
_QUALITIES = range(85, 96)
_PANEL = (720, 120)  # px
_MARGIN = 60


@dataclass(frozen=True, slots=True)
class Sample:
    """The service at one moment. Memory in MiB, resident; descriptors: open files; ledger in KiB, with its journal."""

    minutes: float
    done: int
    waiting: int
    supervisor_mib: float
    engine_mib: float
    supervisor_descriptors: int
    engine_descriptors: int
    ledger_kib: float


def main() -> None:
    """Run, and print the table of quarters."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of photos; subfolders too")
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--every", type=float, default=60, help="seconds between two lines")
    parser.add_argument("--out", type=Path, default=Path("bench-out"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        settings = configured(Path(folder), unload_s=604800)
        arriving = fresh_photos(arguments.data, Path(folder) / "outbox")
        samples = []
        with service(Path(folder)) as supervisor, (arguments.out / "full_load.csv").open("w") as file:
            table = csv.DictWriter(file, Sample.__dataclass_fields__)
            table.writeheader()
            for sample in watched(settings, supervisor, arriving, arguments.minutes, arguments.every):
                table.writerow(asdict(sample))
                file.flush()
                samples.append(sample)
    (arguments.out / "full_load.svg").write_text(plot(samples))
    print_quarters(samples)


def watched(
    settings: Settings, supervisor: int, arriving: Iterator[None], minutes: float, every_s: float
) -> Iterator[Sample]:
    """Keep photos arriving; yields a sample now and then."""
    started_s = sampled_s = time.monotonic()
    while (now_s := time.monotonic()) - started_s < 60 * minutes:
        while waiting(settings) < 2 * settings.engine.batch_photos:
            next(arriving)
        if now_s - sampled_s >= every_s and "engine" in processes(supervisor):
            sampled_s = now_s
            yield sample(settings, supervisor, (now_s - started_s) / 60)
        time.sleep(0.5)


def fresh_photos(data: Path, outbox: Path) -> Iterator[None]:
    """Put photos that were never seen before into an outbox, one each time it is asked."""
    paths = sorted(path for path in data.rglob("*") if path.suffix.lower() in _ENDINGS)
    for number, path in enumerate(itertools.cycle(paths)):
        round_ = number // len(paths)
        with Image.open(path) as image:
            whole = ImageOps.exif_transpose(image).convert("RGB")
        side = max(whole.size) - round_ // len(_QUALITIES)
        whole.thumbnail((side, side))
        part = outbox.parent / "part.jpg"
        whole.save(part, quality=_QUALITIES[round_ % len(_QUALITIES)])
        part.rename(outbox / f"{number:06d}.jpg")
        yield


def waiting(settings: Settings) -> int:
    """How many photos of the outbox are not done."""
    (user,) = settings.users
    return sum(1 for _ in os.scandir(user.outboxes[0])) - done(settings)


def done(settings: Settings) -> int:
    """How many photos are published or held."""
    (user,) = settings.users
    with reading(settings.state_dir) as history:
        return history.count(user.name, [State.PUBLISHED, State.HELD])


def sample(settings: Settings, supervisor: int, minutes: float) -> Sample:
    """Measure now."""
    pids = processes(supervisor)
    ledger = sum(path.stat().st_size for path in settings.state_dir.glob(f"{LEDGER_NAME}*"))
    return Sample(
        minutes=round(minutes, 1),
        done=done(settings),
        waiting=waiting(settings),
        supervisor_mib=resident_mib(supervisor),
        engine_mib=resident_mib(pids["engine"]),
        supervisor_descriptors=descriptors(supervisor),
        engine_descriptors=descriptors(pids["engine"]),
        ledger_kib=round(ledger / 1024),
    )


def resident_mib(pid: int) -> float:
    """Resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20), 1)


def descriptors(pid: int) -> int:
    """Open descriptors of a process."""
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - entries vanish while they are looked at


def print_quarters(samples: Sequence[Sample]) -> None:
    """Print what each quarter of the time took at most."""
    names = [name for name in Sample.__dataclass_fields__ if name != "minutes"]
    print("| minutes | " + " | ".join(name.replace("_", " ") for name in names) + " |")
    print("|---" * (len(names) + 1) + "|")
    for quarter in range(4):
        part = samples[quarter * len(samples) // 4 : (quarter + 1) * len(samples) // 4]
        if part:
            most = [max(getattr(one, name) for one in part) for name in names]
            print(f"| {part[0].minutes} to {part[-1].minutes} | " + " | ".join(map(str, most)) + " |")


def plot(samples: Sequence[Sample]) -> str:
    """Draw one panel per column over the minutes, each from 0 to its largest value, as SVG."""
    names = [name for name in Sample.__dataclass_fields__ if name != "minutes"]
    width, height = _PANEL[0] + 2 * _MARGIN, (_PANEL[1] + _MARGIN) * len(names) + _MARGIN
    longest = max((one.minutes for one in samples), default=1.0)
    parts = []
    for row, name in enumerate(names):
        values = [getattr(one, name) for one in samples]
        top, most = _MARGIN + row * (_PANEL[1] + _MARGIN), max([1, *values])
        points = " ".join(
            f"{_MARGIN + one.minutes / longest * _PANEL[0]:.1f},{top + _PANEL[1] * (1 - value / most):.1f}"
            for one, value in zip(samples, values, strict=True)
        )
        title = f"{name.replace('_', ' ')}: 0 to {most}, over {longest:.0f} minutes"
        parts.append(
            f'<text x="{_MARGIN}" y="{top - 8}">{title}</text>'
            f'<rect x="{_MARGIN}" y="{top}" width="{_PANEL[0]}" height="{_PANEL[1]}" fill="none" stroke="#bbbbbb"/>'
            f'<polyline points="{points}" fill="none" stroke="#1f6feb" stroke-width="1.5"/>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
        f'font-size="13"><rect width="{width}" height="{height}" fill="white"/>{"".join(parts)}</svg>\n'
    )


if __name__ == "__main__":
    main()
