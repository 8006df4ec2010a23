"""How much decoys help: recognition by number of leaked photos and of decoys, per tracker and head.

    python -m tests.benchmarks.sybil --data DIR/faces --people 5 --mode strong --published DIR/published/users \
        --decoys DIR --tracker dlib --tracker onnx:FILE

--published is the folder written by `fawkesd evaluate --keep` for the same people. Decoys are kept in --decoys, and
users who have some there are skipped: an interrupted run resumes.

The tracker learns each user from published photos, a share of them uncloaked, and decoys under another name
(Shan et al. 2020, section 7). It is asked who is on the user's other, clean photos.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from fawkes_engine import MODES, Decoy, EngineSettings, EvaluationError, evaluation
from fawkes_engine.decoys import DecoyEngine
from fawkes_engine.evaluation.data.publication import Publication, key
from fawkes_engine.evaluation.data.splits import Split, User, photos_of, unused_people
from fawkes_engine.evaluation.metrics.rates import Outcome, Rate, outcomes, rate
from fawkes_engine.evaluation.report.text import HEAD_TITLES, table
from fawkes_engine.evaluation.trackers.heads import HEADS, Labelled
from fawkes_engine.evaluation.trackers.sightings import Sighting, find_faces, read_photos
from fawkes_engine.evaluation.trackers.tracker import Tracker
from fawkes_engine.face.detect import FaceDetector
from fawkes_engine.face.mtcnn import MtcnnDetector

DRAWN = 26  # photos per user: 20 decoys are needed, and some photos are refused
LEAKS = (0.0, 0.2, 0.5)
DECOYS_PER_PHOTO = (0, 1, 2)
_ACCOUNT = "second account of "


def main() -> None:
    """Make the decoys that are missing, measure, and print a table per tracker."""
    args = _arguments()
    split = evaluation.draw(args.data, people=args.people, seed=0)
    decoys = _decoys(args, split)
    trackers = evaluation.load_trackers(args.tracker, torch.device("cpu"))
    publication = evaluation.load_publication(args.published)
    rows = study(
        publication, decoys, trackers, split, on_step=lambda doing: print(doing, file=sys.stderr, flush=True)
    )
    for tracker in trackers:
        print(f"\n{tracker.name}, recognised:\n")
        print(_table([row for row in rows if row.tracker == tracker.name]))


@dataclass(frozen=True, slots=True)
class SybilRow:
    """How often one tracker named the users on their clean photos.

    head: key of HEADS. leaked: share of the users' published photos that were not cloaked. decoys_per_photo: decoys
    under another name for each published photo.
    """

    tracker: str
    head: str
    leaked: float
    decoys_per_photo: int
    recognised: Rate
    people: list[Outcome]


def posing(data: Path, split: Split, photos: int) -> dict[str, list[Path]]:
    """Draw for each user this many photos of people whom neither the tracker nor the target pool knows.

    A person's photos stay together, and no photo is drawn twice.

    Raises:
        EvaluationError: there are too few.
    """
    waiting = [photo for person in unused_people(data, split.seed) for photo in photos_of(person)]
    needed = photos * len(split.users)
    if len(waiting) < needed:
        raise EvaluationError(
            f"{data / 'others'} has {len(waiting)} photos of people who are not used yet, and {needed} are needed "
            "for the decoys: ask for fewer --people"
        )
    return {user.name: waiting[i * photos : (i + 1) * photos] for i, user in enumerate(split.users)}


def make(engine: DecoyEngine, user: User, photos: Sequence[Path]) -> list[bytes]:
    """Move faces toward a user's, as the originals of the published photos show it; two decoys per published photo.

    photos: of other people, more than needed, since some are refused. May return fewer if they run out.
    """
    like = engine.likeness(user.name, [photo.read_bytes() for photo in user.cloaked])
    made: list[bytes] = []
    rest = [photo.read_bytes() for photo in photos]
    while rest and (missing := max(DECOYS_PER_PHOTO) * len(user.cloaked) - len(made)):
        batch, rest = rest[:missing], rest[missing:]
        made += [d.data for d in engine.decoys(batch, like) if isinstance(d, Decoy)]
    return made


def study(
    publication: Publication,
    decoys: Mapping[str, Sequence[bytes]],
    trackers: Sequence[Tracker],
    split: Split,
    *,
    on_step: Callable[[str], None] = lambda doing: None,
) -> list[SybilRow]:
    """Evaluate what was published of a split's photos, with and without decoys (user -> files).

    Of a user with n published photos the first share of LEAKS is leaked, and the first n and 2 n decoys are used, or
    fewer where there are not 2 n.

    Raises:
        EvaluationError: the publication is not of these photos, or a user has too few decoys.
    """
    publication = publication.of(split.cloaked)
    detector = MtcnnDetector(trackers[0].device)
    on_step("finding the faces")
    others = find_faces(read_photos(split.others), detector)
    asked = find_faces(read_photos(split.tested), detector)
    users = [_Seen.of(user, publication, decoys[user.name], detector) for user in split.users]
    rows = []
    for tracker in trackers:
        on_step(f"recognising: {tracker.name}")
        known, queries = tracker.describe(others), tracker.describe(asked)
        accounts = [tracker.describe([s for user in users for s in user.decoys(n)]) for n in range(2)]
        for leaked in LEAKS:
            published = tracker.describe([s for user in users for s in user.published(leaked)])
            for count in DECOYS_PER_PHOTO:
                gallery = Labelled.joined([known, published, *accounts[:count]])
                for head, named in HEADS.items():
                    people = outcomes(queries.names, named(gallery, queries.vectors))
                    rows.append(SybilRow(tracker.name, head, leaked, count, rate(people, split.seed), people))
    return rows


@dataclass(frozen=True, slots=True)
class _Seen:
    """A user's photos as a tracker finds them; cloaked has None for held photos."""

    clean: list[Sighting]
    cloaked: list[Sighting | None]
    account: list[Sighting]

    @classmethod
    def of(
        cls, user: User, publication: Publication, decoys: Sequence[bytes], detector: FaceDetector
    ) -> _Seen:
        if len(decoys) < len(user.cloaked):
            raise EvaluationError(
                f"{user.name} has {len(decoys)} decoys, and {len(user.cloaked)} are needed at least"
            )
        files = {one.photo: one.data for one in publication.published}
        return cls(
            clean=find_faces(read_photos(user.cloaked), detector),
            cloaked=[
                find_faces([(user.name, files[key(photo)])], detector)[0] if key(photo) in files else None
                for photo in user.cloaked
            ],
            account=find_faces([(_ACCOUNT + user.name, data) for data in decoys], detector),
        )

    def published(self, leaked: float) -> list[Sighting]:
        count = round(leaked * len(self.clean))
        return self.clean[:count] + [seen for seen in self.cloaked[count:] if seen]

    def decoys(self, part: int) -> list[Sighting]:
        """The part-th decoy of each photo."""
        return self.account[part * len(self.clean) : (part + 1) * len(self.clean)]


def _decoys(args: argparse.Namespace, split: evaluation.Split) -> dict[str, list[bytes]]:
    photos = posing(args.data, split, DRAWN)
    missing = [user for user in split.users if not (args.decoys / user.name).is_dir()]
    if missing:
        engine = DecoyEngine(EngineSettings.of_mode(args.mode), evaluation.MemoryTargets())
    for user in missing:
        made = make(engine, user, photos[user.name])
        folder = args.decoys / user.name
        folder.mkdir(parents=True)
        for number, data in enumerate(made):
            (folder / f"{number:02}.jpg").write_bytes(data)
    folders = {user.name: args.decoys / user.name for user in split.users}
    return {
        name: [file.read_bytes() for file in sorted(folder.iterdir())] for name, folder in folders.items()
    }


def _table(rows: list[SybilRow]) -> str:
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
