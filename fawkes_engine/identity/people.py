"""Person identification: everyone ever cloaked here, recognised by embeddings, each with one target.

A user becomes known from the first photos in the outbox (as the face that most of them show) or by enrolment.
Everyone else gets a target too, so that two people never share one and one person never has two, whoever exports
the photo.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from fawkes_engine.identity.targets import Pool, Vectors, choose, known_by
from fawkes_engine.types import STRANGER, MeanFace, Target, TargetStore

# Minimum cosine at which two faces count as the same person: on LFW two photos of one person are above it in 95 % of
# pairs, two of strangers in less than 1 % (measured by tests/benchmarks/likeness.py).
SAME_PERSON_COSINE = 0.5
REMEMBERED_FACES = 16  # per person: more would add nothing
FACES_AVERAGED = 16  # per person and extractor; after that the mean stays fixed, and cloaks with it


class People:
    """Matches faces to people and gives newcomers a target; caches the store in memory."""

    def __init__(self, store: TargetStore, pool: Pool) -> None:
        self._store = store
        self._pool = pool
        self._targets: dict[str, Target] = {}
        self._load()

    @contextlib.contextmanager
    def up_to_date(self) -> Iterator[None]:
        """Reload the store, and for a with block be the only process that registers people."""
        with self._store.alone():
            self._load()
            yield

    def reload(self) -> None:
        """Take everyone as the store has them now: somebody else has replaced people in it."""
        self._targets.clear()
        self._load()

    def target(self, person: str) -> Target | None:
        """The person's target, or None if the person is new."""
        if person not in self._targets:
            stored = self._store.get(person)
            if stored is not None:
                self._targets[person] = stored
        return self._targets.get(person)

    def reloaded(self, person: str) -> Target | None:
        """The person's target as it is stored now: it may be gone, or another process may have replaced it."""
        self._targets.pop(person, None)
        return self.target(person)

    def vector(self, person: str, extractor: str) -> Vectors | None:
        """Return a known person's target (D,) for an extractor, or None if the pool has none for it.

        An extractor added after the target was chosen gets the same identity's vector from the pool.
        """
        target = self._targets[person]
        if extractor in target.vectors:
            return np.array(target.vectors[extractor], np.float32)
        mixture = self._pool.mixture(target.identity)
        if mixture is None or extractor not in self._pool.vectors:
            return None
        return self._pool.vector(extractor, mixture)

    def identity(self, person: str) -> str:
        """The id of a known person's target."""
        return self._targets[person].identity

    def know(self, face: Mapping[str, Vectors]) -> str | None:
        """Return the person whose known faces are nearest to a face (extractor -> (D,)), if near enough."""
        likeness = {person: _likeness(target, face) for person, target in self._targets.items()}
        nearest = max(likeness, key=lambda person: likeness[person], default=None)
        return nearest if nearest is not None and likeness[nearest] >= SAME_PERSON_COSINE else None

    def meet(self, user: str, faces: Mapping[str, Vectors], photos: Sequence[bytes]) -> None:
        """Give a user a target from the user's faces (extractor -> (n, D)); for a known user, only add the faces."""
        known = self.target(user)
        if known is None:
            target = choose(self._pool, faces, photos, self.taken())
            self._targets[user] = self._store.add(user, target)
            return
        added = {
            name: (*known.known_by.get(name, ()), *rows)[-REMEMBERED_FACES:]
            for name, rows in known_by(faces).items()
        }
        self._targets[user] = replace(known, known_by=added)
        self._store.learn(user, self._targets[user])

    def see(self, person: str, face: Mapping[str, Vectors]) -> None:
        """Add a clean face (extractor -> (D,), unit) to a known person's mean face, up to FACES_AVERAGED.

        Does not re-create a person another process has deleted; keeps what another process has learned.
        """
        target = self._targets[person]
        if all(n in target.mean_faces and target.mean_faces[n].faces >= FACES_AVERAGED for n in face):
            return
        stored = self._store.get(person)
        if stored is None:
            return
        means = dict(stored.mean_faces)
        for name, embedding in face.items():
            mean = means.get(name, MeanFace((0.0,) * len(embedding), 0))
            if mean.faces < FACES_AVERAGED:
                added = (np.array(mean.vector) * mean.faces + embedding) / (mean.faces + 1)
                means[name] = MeanFace(tuple(added.tolist()), mean.faces + 1)
        self._targets[person] = replace(stored, mean_faces=means)
        if means != stored.mean_faces:
            self._store.learn(person, self._targets[person])

    def mean_face(self, person: str, extractor: str) -> Vectors | None:
        """Return the mean (D,) of a person's clean embeddings, shorter the more they differ; None if none was seen."""
        target = self._targets.get(person)
        mean = target.mean_faces.get(extractor) if target else None
        return np.array(mean.vector, np.float32) if mean else None

    def meet_stranger(self, face: Mapping[str, Vectors], photo: bytes) -> str:
        """Register a stranger with a new target; face: extractor -> (D,). Returns the new person."""
        rows = {name: embedding[None] for name, embedding in face.items()}
        person = stranger_named(face)
        target = choose(self._pool, rows, [photo], self.taken())
        self._targets[person] = self._store.add(person, target)
        return person

    def _load(self) -> None:
        for person in self._store.people():
            self.target(person)

    def taken(self) -> set[str]:
        """The identities that people have."""
        return {target.identity for target in self._targets.values()}


def stranger_named(face: Mapping[str, Vectors]) -> str:
    """Return the name of a stranger who is met with this face (extractor -> (D,))."""
    return STRANGER + hashlib.sha256(next(iter(face.values())).tobytes()).hexdigest()[:12]


def most_frequent(faces: Mapping[str, Vectors]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Mask (n,) of the faces (extractor -> (n, D)) that show the most frequent person: those similar to the medoid."""
    likeness = np.mean([rows @ rows.T for rows in faces.values()], axis=0)
    same: np.ndarray[tuple[int], np.dtype[np.bool_]] = (
        likeness[likeness.sum(axis=1).argmax()] >= SAME_PERSON_COSINE
    )
    return same


def _likeness(target: Target, face: Mapping[str, Vectors]) -> float:
    """Largest cosine between a face and the faces a target is known by, averaged over the extractors."""
    shared = [name for name in face if target.known_by.get(name)]
    if not shared:
        return -1.0
    return float(np.mean([(np.array(target.known_by[name]) @ face[name]).max() for name in shared]))
