"""Does a tracker that learned people from cloaked photos still know them, and can the cloaks be seen?

    python -m tests.benchmarks.protection --data DIR/faces --tracker dlib --tracker onnx:FILE --out DIR
    python -m tests.benchmarks.protection --portraits DIR/portraits

--data has users/<person>/ (20 photos or more each) and others/<person>/. For every user, photos are drawn by
the seed: 10 are cloaked and published, 10 others stay clean. The tracker knows all users by their published
photos, together with 400 people whom the target pool was not built from, and is asked who is on the clean
photos. The control is the same with the 10 photos as they were. --portraits, with one folder of full-size
photos per person, is about what can be seen and what it costs.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np
import torch

from fawkes_engine.engine import Engine
from fawkes_engine.faces import FaceDetector
from fawkes_engine.types import EngineSettings

from . import trackers
from .common import MemoryTargets, photos_of, save, shuffled, table
from .published import Published, publish
from .trackers import Embedder, Labelled, Outcome, Rate, Sighting

CLOAKED, TESTED = 10, 10  # photos of each user
OTHER_PEOPLE = 400
# The target pool was built from [0::2] of the people left after these, who are in other test sets too
# (EXCLUDED in build_pool.py): [1::2] of the same list has nobody of the pool.
EXCLUDED = {"Angelina_Jolie", "Jennifer_Aniston", "Matt_Damon", "Leonardo_DiCaprio", "George_Clooney"}
RULES = {"nearest photo": trackers.by_nearest_photo, "nearest centroid": trackers.by_nearest_centroid}
LIKENESS_PERCENTILES = (1, 5, 50, 95, 99)


class Pile(Enum):
    """The photos a tracker gets, by what they are."""

    OTHERS = "other people"
    ORIGINALS = "users, as they were"
    PUBLISHED = "users, as published"
    TEST = "users, clean test photos"


Piles = Mapping[Pile, Sequence[Sighting]]


@dataclass(frozen=True, slots=True)
class Recognition:
    """How often one tracker named the users on their clean photos, and the counts behind it."""

    tracker: str
    rule: str
    control: Rate
    cloaked: Rate
    control_people: list[Outcome]
    cloaked_people: list[Outcome]


@dataclass(frozen=True, slots=True)
class Undetected:
    """Photos in which the tracker's detector found no face; they count in no rate."""

    pile: str
    undetected: int
    photos: int


@dataclass(frozen=True, slots=True)
class Likeness:
    """Cosines of clean photos of one person or of strangers, as one tracker embeds them: percentile -> cosine."""

    tracker: str
    pairs: str
    cosines: dict[int, float]


@dataclass(frozen=True, slots=True)
class OnUsers:
    """All that was measured on the users' photos."""

    published: Published
    undetected: list[Undetected]
    recognition: list[Recognition]
    likeness: list[Likeness]


@dataclass(frozen=True, slots=True)
class Result:
    """All that was measured, as saved; what was not asked for is None."""

    fingerprint: str
    users: OnUsers | None
    portraits: Published | None


def main() -> None:
    """Measure what was asked for, print it, and save it."""
    args = _arguments()
    engine = Engine(EngineSettings(), MemoryTargets())
    engine.warm_up()
    users = portraits = None
    if args.data:
        embedders = [trackers.embedder(t) for t in args.tracker or ["dlib"]]
        users = on_users(engine, embedders, args.data, people=args.people, seed=args.seed)
        print(_tables(users), flush=True)
    if args.portraits:
        folders = sorted(p for p in args.portraits.iterdir() if p.is_dir())
        portraits, _ = publish(engine, [photo for folder in folders for photo in photos_of(folder)])
        print(f"## Portraits\n\n{portraits.tables}")
    save(args.out, "protection", Result(engine.fingerprint, users, portraits))


def on_users(
    engine: Engine, embedders: Sequence[Embedder], data: Path, *, people: int | None, seed: int
) -> OnUsers:
    """Cloak users' photos, and ask every tracker who is on the clean ones."""
    users = sorted(p for p in (data / "users").iterdir() if p.is_dir())[:people]
    drawn = [shuffled(photos_of(user), seed)[: CLOAKED + TESTED] for user in users]
    originals = [photo for photos in drawn for photo in photos[:CLOAKED]]
    published, files = publish(engine, originals)
    print(f"## Users\n\n{published.tables}", flush=True)  # before the trackers take their time
    detector = FaceDetector(torch.device("cpu"))
    piles = {
        pile: trackers.look(photos, detector, embedders)
        for pile, photos in {
            Pile.OTHERS: _read(photo for person in other_people(data, seed) for photo in photos_of(person)),
            Pile.ORIGINALS: _read(originals),
            Pile.PUBLISHED: [(photo.parent.name, file) for photo, file in files.items()],
            Pile.TEST: _read(photo for photos in drawn for photo in photos[CLOAKED:]),
        }.items()
    }
    return OnUsers(
        published,
        [Undetected(p.value, sum(s.vectors is None for s in seen), len(seen)) for p, seen in piles.items()],
        [recognition(e.name, rule, piles, seed) for e in embedders for rule in RULES],
        [likeness for e in embedders for likeness in likenesses(e.name, piles)],
    )


def other_people(data: Path, seed: int) -> list[Path]:
    """Draw the tracker's other people: no user, and nobody the target pool was built from."""
    unused = [p for p in sorted((data / "others").iterdir()) if p.name not in EXCLUDED][1::2]
    users = {p.name for p in (data / "users").iterdir()}
    return shuffled([p for p in unused if p.name not in users], seed)[:OTHER_PEOPLE]


def recognition(tracker: str, rule: str, piles: Piles, seed: int) -> Recognition:
    """Name the test photos twice: by a gallery with the users' originals, and with what they published."""
    queries = trackers.labelled(piles[Pile.TEST], tracker)
    control, cloaked = (
        trackers.outcomes(queries, RULES[rule](_gallery(piles, pile, tracker), queries.vectors))
        for pile in (Pile.ORIGINALS, Pile.PUBLISHED)
    )
    return Recognition(
        tracker, rule, trackers.rate(control, seed), trackers.rate(cloaked, seed), control, cloaked
    )


def likenesses(tracker: str, piles: Piles) -> list[Likeness]:
    """Compare the users' clean photos with each other, and all clean photos of different people."""
    users = trackers.labelled([*piles[Pile.ORIGINALS], *piles[Pile.TEST]], tracker)
    others = trackers.labelled(piles[Pile.OTHERS], tracker)
    return [
        Likeness(tracker, "same person", _percentiles(trackers.cosines(users, same_person=True))),
        Likeness(tracker, "strangers", _percentiles(trackers.cosines(others, same_person=False))),
    ]


def _gallery(piles: Piles, users: Pile, tracker: str) -> Labelled:
    return trackers.labelled([*piles[Pile.OTHERS], *piles[users]], tracker)


def _read(photos: Iterable[Path]) -> list[tuple[str, bytes]]:
    return [(photo.parent.name, photo.read_bytes()) for photo in photos]


def _percentiles(values: trackers.Vectors) -> dict[int, float]:
    return {p: float(np.percentile(values, p)) for p in LIKENESS_PERCENTILES}


def _tables(users: OnUsers) -> str:
    recognised = [[r.tracker, r.rule, str(r.control), str(r.cloaked)] for r in users.recognition]
    undetected = [[u.pile, str(u.undetected), str(u.photos)] for u in users.undetected]
    likeness = [[x.tracker, x.pairs, *(f"{c:.3f}" for c in x.cosines.values())] for x in users.likeness]
    return "\n".join(
        [
            table(["tracker", "rule", "recognised, photos as they were", "recognised, cloaked"], recognised),
            table(["photos", "no face detected", "of"], undetected),
            table(["tracker", "cosine between", *(f"p{p}" for p in LIKENESS_PERCENTILES)], likeness),
        ]
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder with users/ and others/")
    parser.add_argument("--people", type=int, help="only the first so many users, in the order of names")
    parser.add_argument("--tracker", action="append", help="dlib (the default) or onnx:FILE; may be repeated")
    parser.add_argument("--seed", type=int, default=0, help="of every random choice")
    parser.add_argument("--portraits", type=Path, help="folder with one folder of photos per person")
    parser.add_argument("--out", type=Path, help="folder for protection.json")
    args = parser.parse_args()
    if not (args.data or args.portraits):
        parser.error("nothing to measure: give --data, --portraits or both")
    return args


if __name__ == "__main__":
    main()
