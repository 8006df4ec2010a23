"""A cloak's strength in words."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fawkes_engine import unseen

COSINES = st.floats(-1, 1)
LEVELS = ["strong", "good", "fair", "weak"]


def level(**cosines: float) -> str:
    return unseen.in_words(cosines).partition(":")[0]


@given(COSINES, COSINES, COSINES)
def test_a_face_nearer_to_its_owner_is_never_called_better_protected(a: float, b: float, c: float) -> None:
    near, far = max(a, b), min(a, b)

    assert LEVELS.index(level(sface=near, lightcnn=c)) >= LEVELS.index(level(sface=far, lightcnn=c))


def test_every_level_is_reached() -> None:
    assert {level(sface=cosine / 100) for cosine in range(-100, 101)} == set(LEVELS)


@given(COSINES, COSINES)
def test_what_verifies_does_not_tell(cosine: float, verifier: float) -> None:
    assert level(sface=cosine, dlib=verifier) == level(sface=cosine)


def test_one_recogniser_alone_tells_nothing_of_others() -> None:
    assert level(dlib=-0.5) == "unknown"


@given(st.lists(COSINES, min_size=1))
def test_a_photo_is_as_well_protected_as_its_weakest_face(cosines: list[float]) -> None:
    words = unseen.weakest({"sface": cosine} for cosine in cosines)

    assert words == unseen.in_words({"sface": max(cosines)})


def test_a_photo_without_a_face_has_no_cloak() -> None:
    assert unseen.weakest([]) == unseen.NO_FACE
