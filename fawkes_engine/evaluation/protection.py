"""How often trackers that learned people from published photos recognise them on clean ones.

Protection is 1 - recognition: the share of a user's clean, unseen photos that a tracker attributes to somebody else,
after it learned the user from published photos (Shan et al. 2020, section 5). There are two controls: a tracker that
learned the originals, and one that learned them warped at random as far as the cloaks do, with noise of the same DSSIM.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fawkes_engine.errors import EvaluationError
from fawkes_engine.evaluation.data.costs import Costs, costs
from fawkes_engine.evaluation.data.disturb import DISTURBANCES
from fawkes_engine.evaluation.data.noise import noisy
from fawkes_engine.evaluation.data.publication import Publication, key
from fawkes_engine.evaluation.data.splits import Split
from fawkes_engine.evaluation.metrics.rates import Outcome, Rate, outcomes, rate
from fawkes_engine.evaluation.trackers import finetune
from fawkes_engine.evaluation.trackers.heads import HEADS, Labelled, check_heads
from fawkes_engine.evaluation.trackers.sightings import Sighting, detected, find_faces, read_photos
from fawkes_engine.evaluation.trackers.tracker import Tracker
from fawkes_engine.face.detect import FaceDetector
from fawkes_engine.face.mtcnn import MtcnnDetector

CONTROL, NOISE, CLOAKED = "as they were", "random warp and noise, as strong", "cloaked"
OTHERS, TESTED = "other people", "clean test photos"

Files = Sequence[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Recognition:
    """How often one tracker named the users on their clean photos.

    head: key of HEADS, or "fine-tuned". gallery: the version of the users' photos that it learned.
    """

    tracker: str
    head: str
    gallery: str
    recognised: Rate
    people: list[Outcome]


@dataclass(frozen=True, slots=True)
class Pile:
    """Photos of one kind. undetected: those in which the tracker's detector found no face; they count in no rate."""

    name: str
    photos: int
    undetected: int


@dataclass(frozen=True, slots=True)
class TrackerInfo:
    """The tracker that was used; fields as in `Tracker`."""

    name: str
    input: str
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The results, and what is needed to reproduce them.

    fingerprint, settings: of the engine. cloaked, tested: photos per user. fine_tune_epochs: 0 if it was not done.
    portraits: None if none were given.
    """

    fingerprint: str
    settings: dict[str, object]
    seed: int
    users: list[str]
    other_people: int
    cloaked: int
    tested: int
    fine_tune_epochs: int
    trackers: list[TrackerInfo]
    recognition: list[Recognition]
    piles: list[Pile]
    costs: Costs
    portraits: Costs | None


def evaluate(
    publication: Publication,
    trackers: Sequence[Tracker],
    split: Split,
    *,
    heads: Sequence[str] = tuple(HEADS),
    disturb: bool = False,
    fine_tune_epochs: int = 0,
    portraits: Publication | None = None,
    on_step: Callable[[str], None] = lambda doing: None,
) -> Evaluation:
    """Evaluate what was published of a split's photos.

    heads: keys of HEADS. disturb: also after each of DISTURBANCES. fine_tune_epochs: also by trackers that train their
    network, which only PyTorch trackers can; this is slow. portraits: for the costs only. on_step: called with the name
    of each step as it begins.

    Raises:
        EvaluationError: no tracker, or an unknown head; the publication is not of these photos; no face to test on.
    """
    check_heads(heads)
    _check_trackers(trackers, fine_tune=fine_tune_epochs > 0)
    publication = publication.of(split.cloaked)
    galleries = _galleries(publication, split, disturb=disturb)
    piles = galleries | {OTHERS: read_photos(split.others), TESTED: read_photos(split.tested)}
    seen = _seen(piles, MtcnnDetector(trackers[0].device), on_step)
    recognition = []
    for tracker in trackers:
        on_step(f"recognising: {tracker.name}")
        recognition += _by_heads(tracker, seen, list(galleries), heads, split.seed)
        if fine_tune_epochs and tracker.network:
            on_step(f"fine-tuning: {tracker.name}")
            recognition += _by_fine_tuning(tracker, seen, list(galleries), fine_tune_epochs, split.seed)
    return Evaluation(
        fingerprint=publication.fingerprint,
        settings=publication.settings,
        seed=split.seed,
        users=[user.name for user in split.users],
        other_people=len({photo.parent.name for photo in split.others}),
        cloaked=len(split.users[0].cloaked),
        tested=len(split.users[0].tested),
        fine_tune_epochs=fine_tune_epochs,
        trackers=[TrackerInfo(t.name, t.input, t.sha256) for t in trackers],
        recognition=recognition,
        piles=[Pile(n, len(s), sum(one.landmarks is None for one in s)) for n, s in seen.items()],
        costs=costs(publication),
        portraits=costs(portraits) if portraits else None,
    )


def _check_trackers(trackers: Sequence[Tracker], *, fine_tune: bool) -> None:
    if not trackers:
        raise EvaluationError("no tracker to evaluate with: name at least one")
    if fine_tune and not any(tracker.network for tracker in trackers):
        raise EvaluationError("only PyTorch trackers can be fine-tuned: add one, such as dlib")


def _seen(
    piles: Mapping[str, Files], detector: FaceDetector, on_step: Callable[[str], None]
) -> dict[str, list[Sighting]]:
    """Find the faces of every pile. Raises EvaluationError if the test photos have none."""
    seen = {}
    for name, files in piles.items():
        on_step(f"finding the faces: {name}")
        seen[name] = find_faces(files, detector)
    if not any(sighting.landmarks is not None for sighting in seen[TESTED]):
        raise EvaluationError("no face is found in any of the test photos; check --data")
    return seen


def _galleries(publication: Publication, split: Split, *, disturb: bool) -> dict[str, Files]:
    """Return the galleries of the users' photos that trackers learn; held photos are in the first one only."""
    originals = {key(photo): photo.read_bytes() for photo in split.cloaked}
    cloaked = [(_person(one.photo), one.data) for one in publication.published]
    galleries: dict[str, Files] = {
        CONTROL: [(_person(photo), data) for photo, data in originals.items()],
        NOISE: [
            (_person(one.photo), noisy(originals[one.photo], one, split.seed))
            for one in publication.published
        ],
        CLOAKED: cloaked,
    }
    for name, disturbed in DISTURBANCES.items() if disturb else ():
        galleries[f"{CLOAKED}, then {name}"] = [(person, disturbed(data)) for person, data in cloaked]
    return galleries


def _by_heads(
    tracker: Tracker,
    seen: Mapping[str, Sequence[Sighting]],
    galleries: Sequence[str],
    heads: Sequence[str],
    seed: int,
) -> list[Recognition]:
    others, asked = tracker.describe(seen[OTHERS]), tracker.describe(seen[TESTED])
    found = []
    for name in galleries:
        gallery = Labelled.joined([others, tracker.describe(seen[name])])
        for head in heads:
            people = outcomes(asked.names, HEADS[head](gallery, asked.vectors))
            found.append(Recognition(tracker.name, head, name, rate(people, seed), people))
    return found


def _by_fine_tuning(
    tracker: Tracker,
    seen: Mapping[str, Sequence[Sighting]],
    galleries: Sequence[str],
    epochs: int,
    seed: int,
) -> list[Recognition]:
    others, asked = detected(seen[OTHERS]), detected(seen[TESTED])
    found = []
    for name in galleries:
        gallery = [*others, *detected(seen[name])]
        named = finetune.fine_tuned(tracker, gallery, asked, epochs=epochs, seed=seed)
        people = outcomes([sighting.person for sighting in asked], named)
        found.append(Recognition(tracker.name, finetune.NAME, name, rate(people, seed), people))
    return found


def _person(photo: str) -> str:
    return photo.partition("/")[0]
