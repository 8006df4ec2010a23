"""Adaptive trackers: trained to see through cloaks on pairs of other people's cloaked and clean photos.

As in FaceCure (Radiya-Dixit et al., ICLR 2022): anyone who has the tool can make such pairs. Here there are few, the
users' published photos and their originals; a real adversary makes thousands.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fawkes_engine.evaluation.metrics.rates import Outcome, outcomes, rate
from fawkes_engine.evaluation.studies.material import Faces, Material, StudyPhoto, folds, people_of
from fawkes_engine.evaluation.studies.result import Row, Study, Table
from fawkes_engine.evaluation.trackers.heads import Labelled, Vectors, nearest_photo, unit
from fawkes_engine.evaluation.trackers.sightings import batches
from fawkes_engine.evaluation.trackers.tracker import Tracker
from fawkes_engine.evaluation.trackers.training import as_bytes, train

FOLDS = 4
_SHRINKAGE = 0.1  # of the scatter matrix toward a multiple of the identity: fewer samples than dimensions
_EPOCHS, _RATE = 8, 3e-2

Describe = Callable[[Sequence[StudyPhoto], Collection[str]], Faces]  # photos, and of which people
Adapt = Callable[[Material, Tracker, Collection[str]], Describe]


def adaptive(material: Material) -> Study:
    """Measure recognition of held-out people by trackers adapted to the other people's cloaks, in all modes."""
    rows = []
    for tracker in material.trackers:
        ways: dict[str, Adapt] = {"as it is": unchanged, "projection": projected}
        if tracker.network:
            ways["network trained"] = trained
        for way, adapt in ways.items():
            material.on_step(f"adapting {tracker.name}: {way}")
            people = _held_out_outcomes(material, tracker, adapt)
            rates = tuple(rate(people[learned], material.seed) for learned in material.learned)
            rows.append(Row((tracker.name, way), rates))
    return material.study(
        title="Adaptive trackers",
        method=f"The tracker adapted on {FOLDS - 1} of {FOLDS} folds of the people, cloaked and clean, and knows the "
        f"people of the other fold and {len(people_of(material.others))} others. Projection: within-class covariance "
        "normalisation of its embeddings. Network trained: all layers, so that cloaked photos get the embeddings of "
        f"their originals, {_EPOCHS} epochs; PyTorch trackers only.",
        tables=(
            Table("Recognised", ("tracker (nearest photo)", "adapted"), tuple(material.learned), tuple(rows)),
        ),
    )


def unchanged(material: Material, tracker: Tracker, teachers: Collection[str]) -> Describe:
    """The tracker without adaptation."""
    return lambda photos, people: material.faces(tracker, photos).of(_names(photos, people))


def projected(material: Material, tracker: Tracker, teachers: Collection[str]) -> Describe:
    """Scale down the directions in which photos of one training person differ, cloaked or not."""
    as_it_is = unchanged(material, tracker, teachers)
    shown = [as_it_is(photos, teachers) for photos in material.learned.values()]
    mean = material.faces(tracker, material.others).vectors.mean(axis=0)
    taught = Labelled.joined([faces.labelled for faces in shown])
    matrix = within_class_whitening(Labelled(taught.names, unit(taught.vectors - mean)))

    def describe(photos: Sequence[StudyPhoto], people: Collection[str]) -> Faces:
        faces = as_it_is(photos, people)
        return Faces(faces.photos, unit(unit(faces.vectors - mean) @ matrix))

    return describe


def trained(material: Material, tracker: Tracker, teachers: Collection[str]) -> Describe:
    """Train a copy of the network to embed each training person's photo, cloaked or not, as its original was."""
    originals = material.faces(tracker, material.originals)
    wanted = dict(zip(originals.photos, originals.vectors, strict=True))
    pairs = [
        (sighting, wanted[photo.name])
        for photos in material.learned.values()
        for photo, sighting in zip(photos, material.sightings(photos), strict=True)
        if photo.person in teachers and photo.name in wanted and sighting.landmarks is not None
    ]
    chips = as_bytes(batches([sighting for sighting, _ in pairs], tracker.crop))
    model = copy.deepcopy(tracker.network)
    assert model is not None
    model.requires_grad_()
    train(
        model,
        chips,
        torch.from_numpy(np.stack([target for _, target in pairs])),
        epochs=_EPOCHS,
        rate=_RATE,
        seed=material.seed,
        loss=_angle,
    )
    adapted = replace(tracker, embed=lambda chips: model(chips).cpu().numpy(), network=model)

    def describe(photos: Sequence[StudyPhoto], people: Collection[str]) -> Faces:
        shown = [
            (photo.name, sighting)
            for photo, sighting in zip(photos, material.sightings(photos), strict=True)
            if photo.person in people and sighting.landmarks is not None
        ]
        return Faces(tuple(name for name, _ in shown), adapted.describe([s for _, s in shown]).vectors)

    return describe


def within_class_whitening(faces: Labelled) -> Vectors:
    """Return W (D, D), symmetric: the shrunken within-person covariance of vectors @ W is the identity.

    Within-class covariance normalisation (Hatch et al. 2006).
    """
    names = np.array(faces.names)
    means = {person: faces.vectors[names == person].mean(axis=0) for person in set(faces.names)}
    inside = faces.vectors - np.stack([means[name] for name in faces.names])
    scatter = inside.T @ inside / len(inside)
    size = len(scatter)
    shrunken = (1 - _SHRINKAGE) * scatter + _SHRINKAGE * np.trace(scatter) / size * np.eye(size)
    values, axes = np.linalg.eigh(shrunken)
    return np.asarray((axes / np.sqrt(values)) @ axes.T, np.float32)


def _held_out_outcomes(material: Material, tracker: Tracker, adapt: Adapt) -> dict[str, list[Outcome]]:
    found: dict[str, list[Outcome]] = {learned: [] for learned in material.learned}
    for held_out in folds(material.users, FOLDS):
        describe = adapt(material, tracker, set(material.users) - set(held_out))
        others = describe(material.others, people_of(material.others)).labelled
        asked = describe(material.tested, held_out).labelled
        for learned, photos in material.learned.items():
            gallery = Labelled.joined([others, describe(photos, held_out).labelled])
            found[learned] += outcomes(asked.names, nearest_photo(gallery, asked.vectors))
    return found


def _names(photos: Sequence[StudyPhoto], people: Collection[str]) -> set[str]:
    return {photo.name for photo in photos if photo.person in people}


def _angle(described: Tensor, wanted: Tensor) -> Tensor:
    """Return the mean of 1 - cosine."""
    return (1 - F.cosine_similarity(described, wanted)).mean()
