"""How often trackers that learned a user's published photos would name the user on clean ones.

The gallery has the published photos under the user's name, and other people. The queries are clean photos of the user,
cross-validated in FOLDS folds: the published copy of a query is left out of the gallery. The control's gallery has the
clean photos of the other folds instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fawkes_engine.errors import EvaluationError
from fawkes_engine.evaluation.data.splits import photos_below
from fawkes_engine.evaluation.metrics.rates import Rate, rate_of_one
from fawkes_engine.evaluation.trackers.heads import HEADS, Labelled
from fawkes_engine.evaluation.trackers.sightings import Sighting, detected, find_faces, read_photos
from fawkes_engine.evaluation.trackers.tracker import Tracker
from fawkes_engine.extractors import KNOWN_BY
from fawkes_engine.face.detect import FaceDetector
from fawkes_engine.face.mtcnn import MtcnnDetector
from fawkes_engine.identity.people import SAME_PERSON_COSINE
from fawkes_engine.identity.targets import Pool

FOLDS = 5
PUBLISHED, CLEAN, WITHOUT_LEAKS = (
    "what was published",
    "the clean photos",
    "what was published, less the leaks",
)
_USER = "~the user"  # no name of a person in a gallery


@dataclass(frozen=True, slots=True)
class OwnPhoto:
    """A photo of the user; the face nearest the middle is taken for the user's.

    name: for reports. of: name of the clean photo it was made from, if known.
    """

    name: str
    data: bytes
    of: str | None = None


@dataclass(frozen=True, slots=True)
class AuditRow:
    """How often one tracker named the user. head: key of HEADS. learned: PUBLISHED, CLEAN or WITHOUT_LEAKS."""

    tracker: str
    head: str
    learned: str
    recognised: Rate


@dataclass(frozen=True, slots=True)
class Audit:
    """The results of an audit.

    published, clean: names of the photos in which a face was found. faceless: of those in which none was.
    leaked: published photos that look like the user to KNOWN_BY. named: clean photo -> number of trackers that name
    the user on it by the nearest published photo. other_people: tracker -> number of other people it knew.
    """

    published: list[str]
    clean: list[str]
    faceless: list[str]
    leaked: list[str]
    named: dict[str, int]
    other_people: dict[str, int]
    rows: list[AuditRow]


def audit(
    published: Sequence[OwnPhoto],
    clean: Sequence[OwnPhoto],
    trackers: Sequence[Tracker],
    *,
    gallery: Path | None = None,
    on_step: Callable[[str], None] = lambda doing: None,
) -> Audit:
    """Audit what one user published.

    trackers: KNOWN_BY among them, loaded with the pool. gallery: folder of other people, <person>/<photos>; without it
    trackers know the identities of the pool, and trackers without embeddings in the pool cannot be used.

    Raises:
        EvaluationError: no face in what was published, or in fewer than two clean photos; a tracker without gallery.
    """
    assert KNOWN_BY in {tracker.name for tracker in trackers}
    pool = None if gallery else Pool.load()
    if pool:
        _check_bundled(trackers, pool)
    detector = MtcnnDetector(trackers[0].device)
    on_step("finding the faces")
    seen = {name: _seen(photos, detector) for name, photos in (("published", published), ("clean", clean))}
    shown, asked = (detected(found) for found in seen.values())
    if not shown or len(asked) < 2:
        raise EvaluationError(
            f"a face was found in {len(shown)} published and {len(asked)} clean photos; at least 1 and 2 are needed"
        )
    others = find_faces(read_photos(photos_below(gallery)), detector) if gallery else []
    made_of = {photo.name: photo.of for photo in published}
    described = {}
    for tracker in trackers:
        on_step(f"recognising: {tracker.name}")
        known = Labelled(pool.identities, pool.vectors[tracker.name]) if pool else tracker.describe(others)
        described[tracker.name] = _Described(known, tracker.describe(shown), tracker.describe(asked), made_of)
    leaked = described[KNOWN_BY].leaked()
    rows, named = _judged(described, leaked)
    return Audit(
        published=[s.person for s in shown],
        clean=[s.person for s in asked],
        faceless=[s.person for found in seen.values() for s in found if s.landmarks is None],
        leaked=leaked,
        named=named,
        other_people={name: len(set(one.others.names)) for name, one in described.items()},
        rows=rows,
    )


def _check_bundled(trackers: Sequence[Tracker], pool: Pool) -> None:
    for tracker in trackers:
        if tracker.name not in pool.vectors:
            raise EvaluationError(
                f"{tracker.name} needs other people to choose from, and none are bundled for it: give photos "
                "of others, one folder per person, with --gallery"
            )


@dataclass(frozen=True, slots=True)
class _Described:
    """One tracker's embeddings, of other people and of the user's photos; the latter labelled by photo name."""

    others: Labelled
    published: Labelled
    clean: Labelled
    made_of: Mapping[str, str | None]

    def leaked(self) -> list[str]:
        """Published photos in which this tracker sees the same person as in a clean one."""
        likeness = (self.published.vectors @ self.clean.vectors.T).max(axis=1)
        return [
            name
            for name, cosine in zip(self.published.names, likeness, strict=True)
            if cosine >= SAME_PERSON_COSINE
        ]

    def hits(self, head: str, learned: str, leaked: Sequence[str]) -> dict[str, bool]:
        """Whether the user is named on each clean photo."""
        names = self.clean.names
        hits: dict[str, bool] = {}
        for part in range(min(FOLDS, len(names))):
            asked = names[part::FOLDS]
            if learned == CLEAN:
                own = _without(self.clean, asked)
            else:
                made = [name for name in self.published.names if self.made_of[name] in asked]
                own = _without(self.published, [*made, *(leaked if learned == WITHOUT_LEAKS else ())])
            gallery = Labelled.joined([self.others, replace(own, names=(_USER,) * len(own.names))])
            named = HEADS[head](gallery, self.clean.vectors[part::FOLDS])
            hits |= {photo: name == _USER for photo, name in zip(asked, named, strict=True)}
        return hits


def _judged(described: Mapping[str, _Described], leaked: list[str]) -> tuple[list[AuditRow], dict[str, int]]:
    rows = []
    named = dict.fromkeys(described[KNOWN_BY].clean.names, 0)
    for tracker, one in described.items():
        for learned in (CLEAN, PUBLISHED, *([WITHOUT_LEAKS] if leaked else ())):
            for head in HEADS:
                hits = one.hits(head, learned, leaked)
                rows.append(AuditRow(tracker, head, learned, rate_of_one(sum(hits.values()), len(hits))))
                if (head, learned) == ("nearest", PUBLISHED):
                    named = {photo: count + hits[photo] for photo, count in named.items()}
    return rows, named


def _seen(photos: Sequence[OwnPhoto], detector: FaceDetector) -> list[Sighting]:
    """Find the faces; a sighting's person is the photo's name."""
    return find_faces([(photo.name, photo.data) for photo in photos], detector)


def _without(faces: Labelled, names: Sequence[str]) -> Labelled:
    kept = np.array([name not in names for name in faces.names], bool)
    return Labelled(tuple(np.array(faces.names)[kept].tolist()), faces.vectors[kept])
