"""The target pool, and the choice of a user's one fixed target.

The pool ships with the package (`data/pool.npz`, made by `tests/benchmarks/build_pool.py`, described in
`data/README.md`). Its identities are nobody: each is the average embedding of several people.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources

import numpy as np
import numpy.typing as npt

from fawkes_engine.types import EngineError, Target

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Looks:
    """How a face appears, estimated from its embedding.

    sex: -1 female .. 1 male. age: years. skin: individual typology angle in degrees, 55 very light, -30 dark.
    """

    sex: float
    age: float
    skin: float

    def distance(self, other: Looks) -> float:
        """Return 0 for equal looks; 1 is a step one can see: the other sex half way, 12 years, 20 degrees."""
        parts = (self.sex - other.sex, (self.age - other.age) / 12, (self.skin - other.skin) / 20)
        return float(np.hypot.reduce(parts))


@dataclass(frozen=True, slots=True)
class Pool:
    """The identities a target is chosen from.

    version: changes whenever an identity does. identities: their ids. looks: how each appears.
    means: extractor -> (D,) raw embedding of the average stranger. vectors: extractor -> (K, D) unit, centred.
    probes: extractor -> (3, D + 1), linear estimate of sex, age and skin from a unit, centred embedding.
    """

    version: str
    identities: tuple[str, ...]
    looks: tuple[Looks, ...]
    means: Mapping[str, Vectors]
    vectors: Mapping[str, Vectors]
    probes: Mapping[str, Vectors]

    @classmethod
    def load(cls) -> Pool:
        """Read the pool inside the package."""
        with resources.files("fawkes_engine").joinpath("data/pool.npz").open("rb") as file:
            arrays = dict(np.load(file, allow_pickle=False))
        described = json.loads(str(arrays.pop("description")))
        by_kind: dict[str, dict[str, Vectors]] = {"mean": {}, "vectors": {}, "probe": {}}
        for key, array in arrays.items():
            kind, extractor = key.split("/")
            by_kind[kind][extractor] = array
        return cls(
            version=described["version"],
            identities=tuple(identity["id"] for identity in described["identities"]),
            looks=tuple(Looks(i["sex"], i["age"], i["skin"]) for i in described["identities"]),
            means=by_kind["mean"],
            vectors=by_kind["vectors"],
            probes=by_kind["probe"],
        )

    def mean(self, extractor: str) -> Vectors:
        """Return the (D,) mean embedding for an extractor.

        Raises:
            EngineError: the pool knows no such extractor.
        """
        if extractor not in self.means:
            raise EngineError(f"unknown extractor {extractor!r}; known: {', '.join(sorted(self.means))}")
        return self.means[extractor]

    def looks_of(self, own: Mapping[str, Vectors]) -> Looks:
        """Estimate the looks of one person from unit embeddings (n, D) per extractor."""
        extractor = next(name for name in self.probes if name in own)
        person = own[extractor].mean(axis=0)
        probe = self.probes[extractor]
        sex, age, skin = probe[:, :-1] @ (person / np.linalg.norm(person)) + probe[:, -1]
        return Looks(float(np.clip(sex, -1, 1)), float(age), float(skin))


MATCHING_CANDIDATES = 8  # a target is chosen among this many identities that look most like the user


def choose(pool: Pool, own: Mapping[str, Vectors], photos: Sequence[bytes]) -> Target:
    """Choose a user's target among the identities that look like the user (age, sex, skin tone).

    Of these it is the one farthest from the user: argmax over candidates of the minimum distance to any of the
    user's embeddings (Shan et al. 2020, section 5.1). An unmatched target paints beards and ageing into a face.

    own: extractor -> unit, centred embeddings (n, D) of the user's face. photos: the bytes they came from.
    """
    looks = pool.looks_of(own)
    alike = sorted(range(len(pool.identities)), key=lambda i: pool.looks[i].distance(looks))[
        :MATCHING_CANDIDATES
    ]
    nearest_cosine = {
        i: float(np.mean([(own[e] @ pool.vectors[e][i]).max() for e in own if e in pool.vectors]))
        for i in alike
    }
    chosen = min(alike, key=lambda i: nearest_cosine[i])  # the smallest cosine is the largest distance
    return Target(
        identity=pool.identities[chosen],
        pool=pool.version,
        vectors={e: tuple(float(v) for v in pool.vectors[e][chosen]) for e in pool.vectors},
        chosen_at=datetime.now(UTC).isoformat(timespec="seconds"),
        chosen_from=tuple(hashlib.sha256(photo).hexdigest() for photo in photos),
    )
