"""Whose face it is, and that everyone has one target of their own."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from engine_pictures import Shelf
from hypothesis import given, settings
from hypothesis import strategies as st

from fawkes_engine.identity.people import FACES_AVERAGED, SAME_PERSON_COSINE, People, most_frequent
from fawkes_engine.identity.targets import Pool, Vectors
from fawkes_engine.types import STRANGER


@pytest.fixture(scope="module")
def pool() -> Pool:
    return Pool.load()


def faces(person: int, photos: int, spread: float = 0.05) -> dict[str, Vectors]:
    """Unit embeddings (photos, 128) of a made-up person; two people are nearly at right angles."""
    middle = np.random.default_rng(person).normal(size=128)
    rows = middle / np.linalg.norm(middle) + spread * np.random.default_rng(person + 1).normal(
        size=(photos, 128)
    )
    return {"dlib": (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)}


def one(rows: dict[str, Vectors], index: int = 0) -> dict[str, Vectors]:
    return {name: embeddings[index] for name, embeddings in rows.items()}


def test_a_known_person_is_known_again_and_a_new_face_is_not(pool: Pool) -> None:
    people = People(Shelf(), pool)
    ada = faces(100, photos=4, spread=0.03)
    people.meet("ada", {"dlib": ada["dlib"][:2]}, [b"photo"])
    assert people.know(one(ada, 3)) == "ada"
    assert people.know(one(faces(200, photos=1))) is None


def test_people_are_known_again_by_the_next_engine(pool: Pool) -> None:
    shelf = Shelf()
    first = People(shelf, pool)
    first.meet("ada", faces(100, photos=1), [b"photo"])
    stranger = first.meet_stranger(one(faces(200, photos=1)), b"photo")
    later = People(shelf, pool)
    assert later.know(one(faces(100, photos=1))) == "ada"
    assert later.know(one(faces(200, photos=1))) == stranger
    assert stranger.startswith(STRANGER)
    assert later.target("ada") == shelf.get("ada")


def test_whom_another_engine_has_met_meanwhile_is_known_and_keeps_the_target(pool: Pool) -> None:
    shelf = Shelf()
    engines = [People(shelf, pool), People(shelf, pool)]
    face = one(faces(200, photos=1))
    with engines[0].up_to_date():
        stranger = engines[0].meet_stranger(face, b"photo")
    assert engines[1].know(face) is None

    with engines[1].up_to_date():
        assert engines[1].know(face) == stranger
        other = engines[1].meet_stranger(one(faces(300, photos=1)), b"photo")

    assert shelf.targets[other].identity != shelf.targets[stranger].identity


def test_the_nearest_of_the_known_people_is_meant(pool: Pool) -> None:
    people = People(Shelf(), pool)
    ada, bob = faces(100, photos=1)["dlib"], faces(200, photos=1)["dlib"]
    between = 0.8 * ada + 0.6 * bob
    people.meet("bob", {"dlib": bob}, [b"photo"])
    people.meet("ada", {"dlib": ada}, [b"photo"])
    assert people.know({"dlib": (between / np.linalg.norm(between))[0]}) == "ada"


@settings(max_examples=15)
@given(count=st.integers(2, 25), seed=st.integers(0, 1000))
def test_no_two_people_share_a_target(count: int, seed: int) -> None:
    shelf = Shelf()
    people = People(shelf, Pool.load())
    for i in range(count):
        rows = faces(1000 * seed + 10 * i, photos=1)
        if i % 2:
            people.meet(f"user-{i}", rows, [b"photo"])
        else:
            people.meet_stranger(one(rows), b"photo")
    assert len(shelf.targets) == count
    assert len({target.identity for target in shelf.targets.values()}) == count


def test_learning_a_face_keeps_the_identity_and_remembers_a_limited_number(pool: Pool) -> None:
    shelf = Shelf()
    people = People(shelf, pool)
    people.meet("ada", faces(100, photos=3), [b"photo"])
    before = shelf.targets["ada"]
    for seed in range(10):
        people.meet("ada", faces(seed, photos=5), [b"photo"])
    after = shelf.targets["ada"]
    assert replace(after, known_by=before.known_by) == before
    assert 5 < len(after.known_by["dlib"]) <= 32
    assert people.know(one(faces(9, photos=5), 4)) == "ada"


def test_a_person_looks_like_the_mean_of_the_first_faces_seen_to_every_extractor(pool: Pool) -> None:
    shelf = Shelf()
    people = People(shelf, pool)
    seen = faces(100, photos=FACES_AVERAGED + 3)["dlib"]
    people.meet("ada", {"dlib": seen[:1]}, [b"photo"])
    assert people.mean_face("ada", "dlib") is None
    for number, face in enumerate(seen):
        people.see("ada", {"dlib": face} if number < 5 else {"dlib": face, "later": -face})
    for known in (people, People(shelf, pool)):  # as kept in memory, and as stored
        mean, later = known.mean_face("ada", "dlib"), known.mean_face("ada", "later")
        assert mean == pytest.approx(seen[:FACES_AVERAGED].mean(axis=0), abs=1e-6)
        assert later == pytest.approx(-seen[5:].mean(axis=0), abs=1e-6)


def test_of_a_person_forgotten_meanwhile_nothing_is_kept_again(pool: Pool) -> None:
    shelf = Shelf()
    people = People(shelf, pool)
    stranger = people.meet_stranger(one(faces(200, photos=1)), b"photo")
    del shelf.targets[stranger]  # as `fawkesd forget` does beside a running service
    people.see(stranger, one(faces(200, photos=1)))
    assert not shelf.targets
    assert (
        people.know(one(faces(200, photos=1))) == stranger
    )  # with the same target, until the service reloads


def test_what_another_process_has_learned_meanwhile_stays(pool: Pool) -> None:
    shelf = Shelf()
    running = People(shelf, pool)
    running.meet("ada", faces(100, photos=1), [b"photo"])
    enrolling = People(shelf, pool)
    enrolling.meet("ada", faces(300, photos=2), [b"other photos"])
    enrolling.see("ada", one(faces(300, photos=1)))
    running.see("ada", one(faces(100, photos=1)))
    assert len(shelf.targets["ada"].known_by["dlib"]) == 3
    assert shelf.targets["ada"].mean_faces["dlib"].faces == 2


def test_a_user_is_whom_the_store_has_now(pool: Pool) -> None:
    shelf = Shelf()
    people = People(shelf, pool)
    people.meet("ada", faces(100, photos=1), [b"photo"])
    restored = replace(shelf.targets["ada"], identity="of a backup")
    del shelf.targets["ada"]
    assert people.reloaded("ada") is None
    assert people.know(one(faces(100, photos=1))) is None
    shelf.targets["ada"] = restored
    assert people.reloaded("ada") == restored
    assert people.identity("ada") == "of a backup"


def test_everyone_is_whom_the_store_has_after_a_reload(pool: Pool) -> None:
    shelf = Shelf()
    people = People(shelf, pool)
    gone = people.meet_stranger(one(faces(200, photos=1)), b"photo")
    people.meet("ada", faces(100, photos=1), [b"photo"])
    shelf.targets["ada"] = replace(shelf.targets["ada"], identity="of another machine")
    del shelf.targets[gone]
    people.reload()
    assert people.know(one(faces(200, photos=1))) is None
    assert people.identity("ada") == "of another machine"
    assert people.taken() == {"of another machine"}


def test_a_target_of_other_extractors_matches_nobody(pool: Pool) -> None:
    shelf = Shelf()
    People(shelf, pool).meet("ada", faces(100, photos=1), [b"photo"])
    shelf.targets["ada"] = replace(shelf.targets["ada"], known_by={"another": ((1.0, 0.0),)})
    assert People(shelf, pool).know(one(faces(100, photos=1))) is None


@settings(max_examples=40)
@given(mine=st.integers(2, 8), others=st.integers(0, 5), order=st.randoms(use_true_random=False))
def test_the_person_most_photos_show_is_the_user(mine: int, others: int, order: random.Random) -> None:
    ada = faces(100, photos=mine, spread=0.03)["dlib"]
    rest = [faces(500 + 10 * i, photos=1)["dlib"] for i in range(others)]
    places = list(range(mine + others))
    order.shuffle(places)
    rows = np.concatenate([ada, *rest])[places]
    shows = most_frequent({"dlib": rows})
    assert shows.tolist() == [place < mine for place in places]


def test_the_limit_between_two_people_is_where_the_documentation_puts_it(pool: Pool) -> None:
    people = People(Shelf(), pool)
    known = np.zeros((1, 128), np.float32)
    known[0, 0] = 1
    people.meet("ada", {"dlib": known}, [b"photo"])
    for cosine, expected in ((SAME_PERSON_COSINE + 0.01, "ada"), (SAME_PERSON_COSINE - 0.01, None)):
        face = np.zeros(128, np.float32)
        face[:2] = cosine, (1 - cosine**2) ** 0.5
        assert people.know({"dlib": face}) == expected
