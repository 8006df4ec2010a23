"""Fuzzes every decoder and container reader: damaged files in, nothing but answers and typed refusals out.

    python -m tests.benchmarks.fuzz --minutes 60 --seed 1 --data DIR...

DIR holds photos, in subfolders too; small files of every format are made besides. Each case is one of them, damaged
(`mutations.py`). A child process asks the daemon whether it is complete and the engine for its pixels and metadata, and
writes it anew. A fault is what the child answers with anything but a Refusal, what takes more memory than a
picture of its size, or more time, and what ends the child. Files that are faults lie in --keep until they are understood.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import io
import multiprocessing
import random
import re
import resource
import signal
import struct
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from PIL import Image

from daemon.watch.completeness import missing_of
from fawkes_engine import HeicAs, MetadataPolicy, Refusal
from fawkes_engine.photo import boxes, exif, png_colours
from fawkes_engine.photo.decode import Photo, decode, decode_pixels, pixel_count
from fawkes_engine.photo.encode import encode

from .mutations import mutated

LIMIT_BYTES = 2 << 30  # of a child
# What a picture may take: so much, and so much for each of its pixels (Pillow's four bytes, three turned, copies)
ALLOWED_BYTES, ALLOWED_BYTES_PER_PIXEL = 192 << 20, 24
HANG_S, SLOW_CPU_S = 120.0, 20.0
LARGEST_WRITTEN_PIXELS = 1_000_000  # larger pictures are read, and not written anew
LARGEST_FILE = 4 << 20
EVERYTHING = MetadataPolicy(all=True, camera=True, gps=True)
Look = Callable[[bytes], str]


@dataclass(frozen=True)
class Answer:
    """What became of one file. verdict: a kind of refusal, or how it was read. fault: what is wrong, or nothing."""

    verdict: str
    fault: str = ""
    cpu_s: float = 0.0
    peak_bytes: int = 0


@dataclass
class Tally:
    """Counts of a run. faults: each with the first case that showed it."""

    verdicts: Counter[str] = field(default_factory=Counter)
    mutations: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    slowest: tuple[float, str] = (0.0, "")
    largest: tuple[int, str] = (0, "")


def look(data: bytes) -> str:
    """Ask every reader of ours about a file. Returns how it was read; raises a Refusal, or shows a fault."""
    for was_written in (True, False):
        missing_of(io.BytesIO(data), len(data), lambda _position, known=was_written: known)
    _read_metadata(data)
    photo = decode(data, EVERYTHING, HeicAs.JPEG)
    height, width = photo.pixels.shape[:2]
    if photo.colour is not None:
        photo.colour.from_srgb(photo.colour.to_srgb(photo.pixels[:64, :64]))
    if height * width > LARGEST_WRITTEN_PIXELS:
        return f"read as {photo.format}"
    _write(photo)
    if photo.format == "JPEG" and data[4:8] == b"ftyp":
        _write(decode(data, EVERYTHING, HeicAs.HEIC))
    return f"written as {photo.format}"


def _read_metadata(data: bytes) -> None:
    """Call the readers that `decode` calls, for what they say they raise: it forgives them everything."""
    header = re.search(rb"II[*+]\0|MM\0[*+]", data)
    block = data[header.start() :] if header else b""
    with contextlib.suppress(ValueError):
        exif.read(block, EVERYTHING)
    with contextlib.suppress(ValueError):
        exif.orientation(block)
    with contextlib.suppress(struct.error):
        boxes.exif(data)
    with contextlib.suppress(struct.error):
        boxes.is_cropped(data)
    for grey in (True, False):
        png_colours.profile(png_colours.read(data), grey=grey)


def _write(photo: Photo) -> None:
    copy = encode(photo, photo.pixels, quality=80)
    if missing_of(io.BytesIO(copy), len(copy), lambda _: True) is not None:
        raise AssertionError("a copy of ours is unfinished")
    if decode_pixels(copy).shape != photo.pixels.shape:
        raise AssertionError("a copy of ours has another size")


def serve(connection: Connection, look_at: Look, limit_bytes: int) -> None:
    """Body of the child: a file in, an Answer out."""
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))
    while True:
        try:
            data = connection.recv_bytes()
        except EOFError:
            return
        connection.send(_answer(data, look_at))


def _answer(data: bytes, look_at: Look) -> Answer:
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before, begun = _peak_bytes(), time.process_time()
    fault = ""
    try:
        verdict = look_at(data)
    except Refusal as refusal:
        verdict = f"refused: {type(refusal).__name__}"
    except MemoryError:
        verdict = "refused: out of memory"  # as the engine's process answers it
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a fault
        verdict = "fault"
        last = traceback.extract_tb(error.__traceback__)[-1]
        fault = f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno}, {last.name})"
    cpu_s, peak = time.process_time() - begun, _peak_bytes() - before
    allowed = ALLOWED_BYTES + ALLOWED_BYTES_PER_PIXEL * pixel_count(data)
    if not fault and peak > allowed:
        fault = "more memory than a picture of its size"
    if not fault and cpu_s > SLOW_CPU_S:
        fault = "slow"
    return Answer(verdict, fault, cpu_s, peak)


def _peak_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmHWM")))


class Child:
    """A process that looks at files; a new one takes its place when it ends."""

    def __init__(
        self, look_at: Look = look, limit_bytes: int = LIMIT_BYTES, hang_s: float = HANG_S
    ) -> None:
        self._arguments = (look_at, limit_bytes)
        self._hang_s = hang_s
        self._start()

    def ask(self, data: bytes) -> Answer:
        """Have a file looked at."""
        try:
            self._connection.send_bytes(data)
            if self._connection.poll(self._hang_s):
                answer: Answer = self._connection.recv()
                return answer
            ended = "hang"
        except (EOFError, OSError):
            self._process.join()
            code = self._process.exitcode or 0
            ended = f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        self.close()
        self._start()
        return Answer("fault", ended)

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.kill()
        self._process.join()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, *self._arguments), daemon=True)
        self._process.start()
        theirs.close()


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
            print(f"{answer.fault}: {case}, {answer.cpu_s:.1f} CPU s, {answer.peak_bytes >> 20} MiB", flush=True)
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
    parser.add_argument("--keep", type=Path, default=Path("/tmp/fawkesd-fuzz"), help="where faults are kept")  # noqa: S108
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # Pillow's, where the blocks of damaged files are read to be damaged further
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
