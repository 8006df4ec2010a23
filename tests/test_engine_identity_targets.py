"""The target pool, and the choice of a user's one target."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fawkes_engine import EngineError
from fawkes_engine.identity.targets import MATCHING_CANDIDATES, Looks, Pool, Vectors, choose


@pytest.fixture(scope="module")
def pool() -> Pool:
    return Pool.load()


def somebody(seed: int, photos: int = 3) -> Mapping[str, Vectors]:
    """Unit embeddings (photos, 128) of a made-up person."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=128) + 0.5 * rng.normal(size=(photos, 128))
    return {"dlib": (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)}


def test_the_pool_holds_distinct_identities_with_unit_vectors(pool: Pool) -> None:
    assert len(pool.identities) >= 50
    assert len(set(pool.identities)) == len(pool.identities) == len(pool.looks)
    for name, vectors in pool.vectors.items():
        assert vectors.shape == (len(pool.identities), len(pool.mean(name)))
        assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-5
        assert len(np.unique(vectors, axis=0)) == len(vectors)
    assert all(-1 <= looks.sex <= 1 and 0 < looks.age < 110 for looks in pool.looks)
    assert pool.version


def test_an_extractor_the_pool_does_not_know_is_not_centred(pool: Pool) -> None:
    assert not pool.mean("no-such-extractor").any()


def test_an_identity_is_found_again_by_its_name(pool: Pool) -> None:
    assert pool.mixture(pool.name((3,))) == (3,)
    assert pool.mixture(pool.name((5, 17))) == (5, 17)
    assert pool.mixture("nobody-of-another-pool") is None


@settings(max_examples=50)
@given(seed=st.integers(0, 10_000), photos=st.integers(1, 6))
def test_the_target_is_the_farthest_of_the_identities_that_look_alike(seed: int, photos: int) -> None:
    pool = Pool.load()
    own = somebody(seed, photos)
    target = choose(pool, own, [b"photo"], taken=())

    looks = pool.looks_of(own)
    distances = np.array([each.distance(looks) for each in pool.looks])
    alike = np.argsort(distances, kind="stable")[:MATCHING_CANDIDATES]
    farness = {
        pool.identities[i]: min(1 - float(e @ pool.vectors["dlib"][i]) for e in own["dlib"]) for i in alike
    }
    # of two that are equally far but for rounding, either may be chosen; a cosine is a sum of 128 products in float32
    assert farness[target.identity] >= max(farness.values()) - 128 * 2**-24


def test_the_target_says_where_it_comes_from(pool: Pool) -> None:
    target = choose(pool, somebody(1), [b"one", b"other"], taken=())
    index = pool.identities.index(target.identity)
    assert target.pool == pool.version
    assert target.chosen_from == tuple(hashlib.sha256(photo).hexdigest() for photo in (b"one", b"other"))
    assert datetime.fromisoformat(target.chosen_at).utcoffset() is not None
    assert np.allclose(target.known_by["dlib"], somebody(1)["dlib"])
    assert target.vectors.keys() == pool.vectors.keys()
    for name, vector in target.vectors.items():
        assert np.allclose(vector, pool.vectors[name][index])


def test_the_same_photos_choose_the_same_target(pool: Pool) -> None:
    one, other = (choose(pool, somebody(4), [b"photo"], taken=()) for _ in range(2))
    assert replace(one, chosen_at="") == replace(other, chosen_at="")


def test_different_people_get_different_targets(pool: Pool) -> None:
    assert len({choose(pool, somebody(seed), [b"photo"], taken=()).identity for seed in range(40)}) > 5


def test_no_two_people_share_an_identity_even_when_single_ones_run_out(pool: Pool) -> None:
    taken: list[str] = []
    for _ in range(len(pool.identities) + 20):
        target = choose(pool, somebody(1), [b"photo"], taken)
        assert target.identity not in taken
        assert np.linalg.norm(target.vectors["dlib"]) == pytest.approx(1, abs=1e-5)
        taken.append(target.identity)
    assert taken[-1].count("+") == 1


def test_a_used_up_pool_is_an_engine_error(pool: Pool) -> None:
    class Everything(set[str]):
        def __contains__(self, item: object) -> bool:
            return True

    with pytest.raises(EngineError, match="used up"):
        choose(pool, somebody(1), [b"photo"], Everything())


def test_a_person_like_an_identity_is_not_sent_to_it(pool: Pool) -> None:
    for index in range(0, len(pool.identities), 7):
        own = {"dlib": pool.vectors["dlib"][index : index + 1]}
        assert choose(pool, own, [b"photo"], taken=()).identity != pool.identities[index]


def test_looks_differ_by_one_for_a_step_one_can_see() -> None:
    looks = Looks(sex=0.0, age=30.0, skin=20.0)
    assert looks.distance(looks) == 0
    assert looks.distance(Looks(1.0, 30.0, 20.0)) == pytest.approx(1)
    assert looks.distance(Looks(0.0, 42.0, 20.0)) == pytest.approx(1)
    assert looks.distance(Looks(0.0, 30.0, 0.0)) == pytest.approx(1)
    assert looks.distance(Looks(1.0, 42.0, 0.0)) == pytest.approx(3**0.5)
