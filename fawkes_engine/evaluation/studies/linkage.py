"""Whether a user's cloaked photos can be linked to one another, even if the person stays unknown.

Protego (CVPR 2026) calls it retrieval among protected photos: a target common to all photos of a user draws them
together. Embeddings are centred by the mean of other people's, as in the heads.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fawkes_engine.evaluation.metrics.rates import Outcome, Rate, bootstrap, rate
from fawkes_engine.evaluation.studies.material import Faces, Material
from fawkes_engine.evaluation.studies.result import Row, Study, Table
from fawkes_engine.evaluation.trackers.heads import unit
from fawkes_engine.evaluation.trackers.tracker import Tracker


def linkage(material: Material) -> Study:
    """Measure how often a photo's nearest neighbour is of the same user, and the ROC over pairs of photos."""
    rows = [
        Row((tracker.name, learned), _linked(material, tracker, learned))
        for tracker in material.trackers
        for learned in material.learned
    ]
    return material.study(
        title="Linking a user's cloaked photos to each other",
        method="Among the users' published photos: how often the nearest neighbour is of the same user, and the area "
        "under the ROC of separating pairs of one user from pairs of two by their cosine (mean over users).",
        tables=(
            Table(
                "Linked",
                ("tracker", "photos"),
                ("nearest photo is the user's", "area under the ROC"),
                tuple(rows),
            ),
        ),
    )


def area_under_roc(positives: npt.ArrayLike, negatives: npt.ArrayLike) -> float:
    """Return how often a positive scores higher than a negative, ties half (Mann-Whitney's U over all pairs)."""
    high, low = np.asarray(positives), np.sort(np.asarray(negatives))
    below, to_there = (np.searchsorted(low, high, side) for side in ("left", "right"))
    return float((below + to_there).mean() / 2 / len(low))


def nearest_is_own(faces: Faces) -> list[Outcome]:
    """Count each person's photos whose nearest neighbour is of the same person."""
    cosines = faces.vectors @ faces.vectors.T
    np.fill_diagonal(cosines, -np.inf)
    people = np.array(faces.people)
    hits = people[cosines.argmax(axis=1)] == people
    return [
        Outcome(person, int(hits[people == person].sum()), int((people == person).sum()))
        for person in sorted(set(faces.people))
    ]


def areas(faces: Faces) -> list[float]:
    """Return, per person with two or more photos, the area under the ROC of own pairs against pairs with others."""
    cosines = faces.vectors @ faces.vectors.T
    people = np.array(faces.people)
    found = []
    for person in sorted(set(faces.people)):
        mine = people == person
        own = cosines[np.ix_(mine, mine)][np.triu_indices(int(mine.sum()), k=1)]
        if len(own):
            found.append(area_under_roc(own, cosines[np.ix_(mine, ~mine)].ravel()))
    return found


def _linked(material: Material, tracker: Tracker, learned: str) -> tuple[Rate, Rate]:
    mean = material.faces(tracker, material.others).vectors.mean(axis=0)
    faces = material.faces(tracker, material.learned[learned])
    centred = Faces(faces.photos, unit(faces.vectors - mean))
    by_person = np.array(areas(centred))
    area = bootstrap(len(by_person), lambda drawn: float(by_person[drawn].mean()), material.seed)
    return rate(nearest_is_own(centred), material.seed), area
