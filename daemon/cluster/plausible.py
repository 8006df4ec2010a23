"""What an engine could have said of people: checks of targets that come from other machines."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from fawkes_engine import STRANGER, MeanFace, Target
from fawkes_engine.identity.people import FACES_AVERAGED, REMEMBERED_FACES, stranger_named
from fawkes_engine.identity.targets import Pool
from fawkes_engine.weights.catalog import ALWAYS_THERE as KNOWN_BY

_DIGEST = re.compile("[0-9a-f]{64}")
_MOST_MIXED = 2  # identities of the pool in one target
_MOST_EXTRACTORS, _LONGEST_EXTRACTOR, _MOST_DIMENSIONS = 16, 4096, 4096
_ROUNDED = 1e-3  # of a unit vector's length; nodes round as their processors do
_POOL_ROUNDED = 1e-5


@lru_cache(maxsize=1)
def the_pool() -> Pool:
    """Return the pool of identities, loaded once."""
    return Pool.load()


def check_numbers(target: Target) -> None:
    """Raise ValueError unless a target's vectors are of numbers, whichever pool and recognisers they come from."""
    for vector in target.vectors.values():
        _finite(vector)
    for rows in target.known_by.values():
        if rows:
            _finite(*rows)
    check_means(target.mean_faces)


def check_new(person: str, target: Target) -> None:
    """Raise ValueError unless an engine could have chosen this target, for somebody whom it met."""
    pool = the_pool()
    mixture = pool.mixture(target.identity)
    if mixture is None or not len(set(mixture)) == len(mixture) <= _MOST_MIXED or target.pool != pool.version:
        raise ValueError(f"{target.identity!r} is no identity of this pool")
    if target.vectors.keys() != pool.vectors.keys():
        raise ValueError("a target of other recognisers")
    for name, vector in target.vectors.items():
        own = pool.vector(name, mixture)
        if len(vector) != len(own) or not np.allclose(own, vector, rtol=0, atol=_POOL_ROUNDED):
            raise ValueError(f"not the vector of {target.identity}")
    _check_known_faces(person, target)
    if not all(map(_DIGEST.fullmatch, target.chosen_from)):
        raise ValueError("chosen from what is no photo")
    datetime.fromisoformat(target.chosen_at)
    check_means(target.mean_faces)


def _check_known_faces(person: str, target: Target) -> None:
    if target.known_by.keys() != {KNOWN_BY}:
        raise ValueError("somebody known by another recogniser")
    rows = target.known_by[KNOWN_BY]
    size = the_pool().vectors[KNOWN_BY].shape[1]
    if not 0 < len(rows) <= REMEMBERED_FACES or not all(len(row) == size for row in rows):
        raise ValueError("known faces of another number or length")
    faces = _finite(*rows)
    if not np.allclose(np.linalg.norm(faces, axis=1), 1, rtol=0, atol=_ROUNDED):
        raise ValueError("known faces that are no unit vectors")
    if person.startswith(STRANGER) and person != stranger_named({KNOWN_BY: faces[0].astype(np.float32)}):
        raise ValueError(f"{person} is not how a stranger with this face is named")


def check_means(means: Mapping[str, MeanFace]) -> None:
    """Raise ValueError unless these can be mean faces: extractor -> mean of unit vectors."""
    if len(means) > _MOST_EXTRACTORS or any(len(name) > _LONGEST_EXTRACTOR for name in means):
        raise ValueError("mean faces of too many recognisers")
    for name, mean in means.items():
        known = the_pool().vectors.get(name)
        size = len(mean.vector) if known is None else known.shape[1]
        if len(mean.vector) != size or not 0 < size <= _MOST_DIMENSIONS:
            raise ValueError(f"a mean face of another length than those of {name}")
        if not 1 <= mean.faces <= FACES_AVERAGED or np.linalg.norm(_finite(mean.vector)) > 1 + _ROUNDED:
            raise ValueError("a mean face that is no mean of unit vectors")


def _finite(*rows: tuple[float, ...]) -> npt.NDArray[np.float64]:
    """Return vectors of one length as an array. Raises ValueError for other lengths, and for what is no number."""
    array = np.array(rows, np.float64)
    if not np.isfinite(array).all():
        raise ValueError("a vector of numbers that are none")
    return array
