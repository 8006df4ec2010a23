"""The input of all studies: the photos of a split, their published versions, and each tracker's embeddings of them.

A photo is identified by its original's "person/name", whatever was done to it, so cloaked photos and originals pair.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fawkes_engine.errors import EvaluationError
from fawkes_engine.evaluation.data.publication import Publication, key
from fawkes_engine.evaluation.data.splits import OTHER_PEOPLE, Split
from fawkes_engine.evaluation.metrics.rates import Rate, outcomes, rate
from fawkes_engine.evaluation.studies.cache import Cache
from fawkes_engine.evaluation.studies.result import Study, Table
from fawkes_engine.evaluation.trackers.heads import HEADS, Labelled, Vectors
from fawkes_engine.evaluation.trackers.sightings import Detector, Sighting, find_faces
from fawkes_engine.evaluation.trackers.tracker import Tracker
from fawkes_engine.face.mtcnn import MtcnnDetector
from fawkes_engine.modes import MODES

ORIGINALS = "as they were"


@dataclass(frozen=True, slots=True)
class StudyPhoto:
    """One version of a photo. name: "person/name" of its original."""

    name: str
    data: bytes

    @property
    def person(self) -> str:
        """Whose photo it is."""
        return self.name.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Faces:
    """One tracker's embeddings of photos. photos: names of the K that show a face. vectors: (K, D), unit length."""

    photos: tuple[str, ...]
    vectors: Vectors

    @property
    def people(self) -> tuple[str, ...]:
        """The person of each."""
        return tuple(photo.partition("/")[0] for photo in self.photos)

    @property
    def labelled(self) -> Labelled:
        """The same as input for heads."""
        return Labelled(self.people, self.vectors)

    def of(self, photos: Collection[str]) -> Faces:
        """Return those of the named photos."""
        chosen = [i for i, photo in enumerate(self.photos) if photo in photos]
        return Faces(tuple(self.photos[i] for i in chosen), self.vectors[chosen])


@dataclass(frozen=True, slots=True)
class Material:
    """Photos, trackers, and the cache of what was computed.

    cloaked: mode -> photos published in it. originals, tested: of the users. others: of the OTHER_PEOPLE people a
    tracker knows besides; more_others: of all others. on_step: called with the name of each step as it begins.
    """

    seed: int
    cloaked: Mapping[str, Sequence[StudyPhoto]]
    originals: Sequence[StudyPhoto]
    tested: Sequence[StudyPhoto]
    others: Sequence[StudyPhoto]
    more_others: Sequence[StudyPhoto]
    trackers: Sequence[Tracker]
    detector: Detector
    cache: Cache
    on_step: Callable[[str], None]

    @property
    def users(self) -> list[str]:
        """The people to protect, in the order of their names."""
        return people_of(self.tested)

    @property
    def learned(self) -> dict[str, Sequence[StudyPhoto]]:
        """What a tracker may learn the users from: their photos as they were, or as published in each mode."""
        return {ORIGINALS: self.originals, **self.cloaked}

    def study(self, title: str, method: str, tables: tuple[Table, ...]) -> Study:
        """Return the results of a study of these users."""
        return Study(title, method, self.seed, tuple(self.users), tables)

    def sightings(self, photos: Sequence[StudyPhoto], detector: Detector | None = None) -> list[Sighting]:
        """Find the face of each photo. Raises EvaluationError: a photo cannot be read."""
        finder = detector or self.detector

        def landmarks() -> Vectors:
            self.on_step(f"finding {len(photos)} faces by {finder.name}")
            seen = find_faces([(photo.person, photo.data) for photo in photos], finder)
            missing = np.full((5, 2), np.nan)
            return np.array([missing if s.landmarks is None else s.landmarks for s in seen])

        found = self.cache.array(["landmarks", finder.name, *_digests(photos)], landmarks)
        return [
            Sighting(photo.person, photo.data, None if np.isnan(points).any() else points)
            for photo, points in zip(photos, found, strict=True)
        ]

    def faces(
        self, tracker: Tracker, photos: Sequence[StudyPhoto], detector: Detector | None = None
    ) -> Faces:
        """Embed the faces of photos, cached. Raises EvaluationError."""
        seen = self.sightings(photos, detector)

        def vectors() -> Vectors:
            self.on_step(f"describing {len(photos)} faces by {tracker.name}")
            return tracker.describe(seen).vectors

        model = (tracker.name, tracker.input, tracker.sha256 or "", (detector or self.detector).name)
        described = self.cache.array(["vectors", *model, *_digests(photos)], vectors)
        shown = (p.name for p, s in zip(photos, seen, strict=True) if s.landmarks is not None)
        return Faces(tuple(shown), described)


def gather(
    publications: Sequence[Publication],
    split: Split,
    trackers: Sequence[Tracker],
    *,
    cache: Path,
    on_step: Callable[[str], None] = lambda doing: None,
) -> Material:
    """Collect the input of studies; split: drawn with all other people there are.

    Raises:
        EvaluationError: no tracker or publication, two of one mode, or one that is not of this split's photos.
        OSError: the folder of the cache cannot be made.
    """
    if not trackers or not publications:
        raise EvaluationError("a study needs at least one tracker and one publication")
    cloaked: dict[str, Sequence[StudyPhoto]] = {}
    for publication in publications:
        mode = mode_of(publication)
        if mode in cloaked:
            raise EvaluationError(f"two publications have mode {mode}; name only one per mode")
        part = publication.of(split.cloaked)
        cloaked[mode] = [StudyPhoto(one.photo, one.data) for one in part.published]
    others = _read(split.others)
    known = set(people_of(others)[:OTHER_PEOPLE])
    return Material(
        seed=split.seed,
        cloaked=cloaked,
        originals=_read(split.cloaked),
        tested=_read(split.tested),
        others=[photo for photo in others if photo.person in known],
        more_others=[photo for photo in others if photo.person not in known],
        trackers=trackers,
        detector=MtcnnDetector(trackers[0].device),
        cache=Cache(cache),
        on_step=on_step,
    )


def mode_of(publication: Publication) -> str:
    """Return the name of the mode whose budget and steps the engine had, or its DSSIM if there is none."""
    budget, steps = publication.settings.get("budget"), publication.settings.get("steps")
    for name, mode in MODES.items():
        limits = {field: getattr(mode.budget, field) for field in mode.budget.__slots__}
        if (budget, steps) == (limits, mode.steps):
            return name
    return f"DSSIM {budget['dssim']}" if isinstance(budget, dict) else publication.fingerprint


def recognised(gallery: Iterable[Labelled], asked: Labelled, *, head: str = "nearest", seed: int) -> Rate:
    """Return how often a tracker that learned a gallery names the users correctly."""
    named = HEADS[head](Labelled.joined(gallery), asked.vectors)
    return rate(outcomes(asked.names, named), seed)


def folds(people: Sequence[str], count: int) -> list[list[str]]:
    """Split people into folds of about equal size; each is held out once while the others are for training.

    Raises:
        EvaluationError: fewer people than folds.
    """
    if len(people) < count:
        raise EvaluationError(f"at least {count} people are needed to hold some of them out; add users")
    return [list(people[i::count]) for i in range(count)]


def people_of(photos: Iterable[StudyPhoto]) -> list[str]:
    """Return the people of photos, each once, in order of appearance."""
    return list(dict.fromkeys(photo.person for photo in photos))


def _read(paths: Iterable[Path]) -> list[StudyPhoto]:
    return [StudyPhoto(key(path), path.read_bytes()) for path in paths]


def _digests(photos: Sequence[StudyPhoto]) -> list[str]:
    return [hashlib.sha256(photo.data).hexdigest() for photo in photos]
