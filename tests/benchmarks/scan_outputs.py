"""The outcome for every photo of a folder, and a scan of the results: a table of format x outcome.

    python -m tests.benchmarks.scan_outputs --data DIR [DIR...] [--cloak] [--limit N]

Without --cloak each photo is read and written again as it is: formats and metadata are what is tested here, and
the cloak only adds time. Each result is scanned for second pictures and forbidden items; a reason is printed for
each photo that is refused. Ends with status 1 if a result has a fault.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from fawkes_engine import EngineSettings, Protected, Refusal, Request
from fawkes_engine.photo.decode import decode
from fawkes_engine.photo.encode import encode

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' own helpers

from engine_pictures import Shelf, opened
from scan import scan

Publish = Callable[[bytes], bytes]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders of photos")
    parser.add_argument("--cloak", action="store_true", help="with the whole engine, instead of re-encoding")
    parser.add_argument("--limit", type=int, help="photos per folder")
    arguments = parser.parse_args()
    publish = cloaking() if arguments.cloak else encoded_again
    table: Counter[tuple[str, str]] = Counter()
    faults = 0
    for folder in arguments.data:
        for path in list(files(folder))[: arguments.limit]:
            data = path.read_bytes()
            try:
                result = publish(data)
            except Refusal as refusal:
                outcome = type(refusal).__name__
                print(f"{path.name}: {outcome}: {refusal}")
            else:
                found = scan(result, lies=decode(data).lies)
                outcome = f"published as {opened(result).format}" if not found else "FAULTY"
                faults += bool(found)
                if found:
                    print(f"{path.name}: FAULTY: {'; '.join(found)}")
            table[kind(data), outcome] += 1
    for (source, outcome), count in sorted(table.items()):
        print(f"{source:12} {outcome:20} {count:4}")
    print(f"{sum(table.values())} files, {faults} with a fault")
    return 1 if faults else 0


def files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".csv")


def encoded_again(data: bytes) -> bytes:
    photo = decode(data)
    return encode(photo, photo.pixels, max(95, photo.jpeg_quality))


def cloaking() -> Publish:
    from fawkes_engine.engine import Engine

    engine = Engine(EngineSettings(), Shelf())

    def publish(data: bytes) -> bytes:
        (result,) = engine.protect([Request(data, "somebody")])
        if isinstance(result, Protected):
            return result.data
        raise result

    return publish


def kind(data: bytes) -> str:
    """The format of a source, by its first bytes."""
    signatures = {
        b"\xff\xd8": "JPEG", b"\x89PNG": "PNG", b"RIFF": "WebP", b"II": "TIFF", b"MM": "TIFF", b"GIF8": "GIF",
        b"8BPS": "Photoshop", b"P5": "PGM", b"\0\0\1\0": "icon",
    }  # fmt: skip
    if data[4:8] == b"ftyp":
        return "AVIF" if data[8:11] == b"avi" else "HEIC"
    if data[4:8] == b"jP  " or data.startswith(b"\xff\x4f"):
        return "JPEG 2000"
    return next((name for start, name in signatures.items() if data.startswith(start)), "no picture")


if __name__ == "__main__":
    raise SystemExit(main())
