"""The target pool, and the choice of a person's one fixed target.

The pool ships with the package (`data/pool.npz`, made by `tests/benchmarks/build_pool.py`, described in
`data/README.md`). Its identities are nobody: each is the average embedding of several people.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources

import numpy as np
import numpy.typing as npt

from fawkes_engine.errors import EngineError
from fawkes_engine.types import Target

Vectors = npt.NDArray[np.float32]
Mixture = tuple[int, ...]  # rows of the pool


@dataclass(frozen=True, slots=True)
class Looks:
    """A face's appearance, estimated from its embedding.

    sex: -1 female .. 1 male. age: years. skin: individual typology angle in degrees, 55 very light, -30 dark.
    """

    sex: float
    age: float
    skin: float

    def distance(self, other: Looks) -> float:
        """Return 0 for equal looks; 1 is a visible difference: half way to the other sex, 12 years, or 20 degrees."""
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

    def name(self, mixture: Mixture) -> str:
        """Return the id of an identity or a mixture of several."""
        return "+".join(self.identities[i] for i in mixture)

    def mixture(self, name: str) -> Mixture | None:
        """Return the rows an id stands for, or None if the pool does not know it."""
        parts = name.split("+")
        known = all(part in self.identities for part in parts)
        return tuple(self.identities.index(part) for part in parts) if known else None

    def vector(self, extractor: str, mixture: Mixture) -> Vectors:
        """Return the unit vector (D,) of an identity or a mixture of several."""
        mixed = self.vectors[extractor][list(mixture)].mean(axis=0)
        return np.asarray(mixed / np.linalg.norm(mixed), np.float32)

    def mean(self, extractor: str) -> Vectors:
        """Return the (D,) mean embedding for an extractor; zero, so no centring, if the pool has none."""
        return self.means.get(extractor, np.zeros(1, np.float32))

    def looks_of(self, own: Mapping[str, Vectors]) -> Looks:
        """Estimate the looks of one person from unit embeddings (n, D) per extractor."""
        extractor = next(name for name in self.probes if name in own)
        person = own[extractor].mean(axis=0)
        probe = self.probes[extractor]
        sex, age, skin = probe[:, :-1] @ (person / np.linalg.norm(person)) + probe[:, -1]
        return Looks(float(np.clip(sex, -1, 1)), float(age), float(skin))


MATCHING_CANDIDATES = 8  # a target is chosen among this many free identities that look most like the person
_MIXED_FROM = 16  # when single identities run out, pairs of this many look-alikes are mixed


def choose(pool: Pool, own: Mapping[str, Vectors], photos: Sequence[bytes], taken: Collection[str]) -> Target:
    """Choose a person's target among the free identities that look like the person (age, sex, skin tone).

    Of these it is the one farthest from the person: argmax over candidates of the minimum distance to any of the
    person's embeddings (Shan et al. 2020, section 5.1). An unmatched target paints beards and ageing into a face.

    own: extractor -> unit, centred embeddings (n, D) of the person's face. photos: the bytes they came from.
    taken: identities that other people have.

    Raises:
        EngineError: every identity and every pair of similar identities is taken.
    """
    looks = pool.looks_of(own)
    alike = sorted(range(len(pool.identities)), key=lambda i: pool.looks[i].distance(looks))
    mixtures: list[Mixture] = [(i,) for i in alike]
    mixtures += list(itertools.combinations(alike[:_MIXED_FROM], 2))
    free = [m for m in mixtures if pool.name(m) not in taken][:MATCHING_CANDIDATES]
    if not free:
        raise EngineError(
            "the target pool is used up; free the targets of strangers with: fawkesd forget --strangers"
        )
    # the smallest cosine is the largest distance
    chosen = min(free, key=lambda m: _nearest_cosine(pool, m, own))
    return Target(
        identity=pool.name(chosen),
        pool=pool.version,
        vectors={e: tuple(pool.vector(e, chosen).tolist()) for e in pool.vectors},
        known_by=known_by(own),
        chosen_at=datetime.now(UTC).isoformat(timespec="seconds"),
        chosen_from=tuple(hashlib.sha256(photo).hexdigest() for photo in photos),
    )


def known_by(own: Mapping[str, Vectors]) -> dict[str, tuple[tuple[float, ...], ...]]:
    """Return embeddings (n, D) per extractor in the form `Target` keeps them."""
    return {name: tuple(tuple(row.tolist()) for row in rows) for name, rows in own.items()}


def _nearest_cosine(pool: Pool, mixture: Mixture, own: Mapping[str, Vectors]) -> float:
    """Largest cosine between a candidate and the person's embeddings, averaged over the extractors."""
    return float(np.mean([(own[e] @ pool.vector(e, mixture)).max() for e in own if e in pool.vectors]))
