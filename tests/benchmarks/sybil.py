"""What decoys are worth: recognition by how many photos leaked and how many decoys there are, per tracker and head.

    python -m tests.benchmarks.sybil --data DIR/faces --people 5 --mode strong --published DIR/published/users \
        --decoys DIR --tracker dlib --tracker onnx:FILE

--published is what `fawkesd evaluate --keep` kept of the same people. Decoys are kept in --decoys, and those of a user
who has some there are not made again: a run that was cut off goes on.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from fawkes_engine import MODES, EngineSettings, evaluation
from fawkes_engine.decoys import DecoyEngine
from fawkes_engine.evaluation import sybil
from fawkes_engine.evaluation.report.text import HEAD_TITLES, table

DRAWN = 26  # photos per user: 20 decoys are needed, and some photos are refused


def main() -> None:
    """Make the decoys that are missing, measure, and print a table per tracker."""
    args = _arguments()
    split = evaluation.draw(args.data, people=args.people, seed=0)
    decoys = _decoys(args, split)
    trackers = evaluation.load_trackers(args.tracker, torch.device("cpu"))
    publication = evaluation.load_publication(args.published)
    rows = sybil.study(
        publication, decoys, trackers, split, on_step=lambda doing: print(doing, file=sys.stderr, flush=True)
    )
    for tracker in trackers:
        print(f"\n{tracker.name}, recognised:\n")
        print(_table([row for row in rows if row.tracker == tracker.name]))


def _decoys(args: argparse.Namespace, split: evaluation.Split) -> dict[str, list[bytes]]:
    photos = sybil.posing(args.data, split, DRAWN)
    missing = [user for user in split.users if not (args.decoys / user.name).is_dir()]
    if missing:
        engine = DecoyEngine(EngineSettings.of_mode(args.mode), evaluation.MemoryTargets())
    for user in missing:
        made = sybil.make(engine, user, photos[user.name])
        folder = args.decoys / user.name
        folder.mkdir(parents=True)
        for number, data in enumerate(made):
            (folder / f"{number:02}.jpg").write_bytes(data)
    folders = {user.name: args.decoys / user.name for user in split.users}
    return {
        name: [file.read_bytes() for file in sorted(folder.iterdir())] for name, folder in folders.items()
    }


def _table(rows: list[sybil.SybilRow]) -> str:
    cells = {(row.head, row.leaked, row.decoys_per_photo): f"{row.recognised}" for row in rows}
    heads = list(dict.fromkeys(row.head for row in rows))
    places = list(dict.fromkeys((row.leaked, row.decoys_per_photo) for row in rows))
    return table(
        ["leaked", "decoys per photo", *(HEAD_TITLES[head] for head in heads)],
        [
            [f"{leaked:.0%}", str(count), *(cells[head, leaked, count] for head in heads)]
            for leaked, count in places
        ],
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with users/ and others/")
    parser.add_argument("--published", type=Path, required=True, help="kept by `fawkesd evaluate --keep`")
    parser.add_argument("--decoys", type=Path, required=True, help="folder for the decoys")
    parser.add_argument("--people", type=int, default=5)
    parser.add_argument("--mode", choices=MODES, default="strong", help="of the decoys")
    parser.add_argument(
        "--tracker", action="append", required=True, help="as of fawkesd evaluate; repeatable"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
