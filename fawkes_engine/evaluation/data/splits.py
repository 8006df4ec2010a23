"""The split: which photos are cloaked, which are for testing, and whom else the tracker knows; set by the seed alone.

A data folder has users/<person>/ with the people to protect, and others/<person>/ with everybody else.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fawkes_engine.errors import EvaluationError

OTHER_PEOPLE = 400  # people a tracker knows besides the users
# These are in other test sets too, so neither the target pool nor a tracker's other people may include them.
IN_OTHER_SETS = {"Angelina_Jolie", "Jennifer_Aniston", "Matt_Damon", "Leonardo_DiCaprio", "George_Clooney"}
_SUFFIXES = {".jpg", ".jpeg", ".png"}


@dataclass(frozen=True, slots=True)
class User:
    """A person to protect. cloaked: originals of the photos that are published. tested: others, which stay clean."""

    name: str
    cloaked: tuple[Path, ...]
    tested: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Split:
    """The people in each role. others: photos of people who are not users; a photo's folder is its person."""

    seed: int
    users: tuple[User, ...]
    others: tuple[Path, ...]

    @property
    def cloaked(self) -> list[Path]:
        """The originals of all photos to be cloaked, user by user."""
        return [photo for user in self.users for photo in user.cloaked]

    @property
    def tested(self) -> list[Path]:
        """All clean photos that the tracker is queried with."""
        return [photo for user in self.users for photo in user.tested]


def draw(
    data: Path,
    *,
    people: int | None = None,
    cloaked: int = 10,
    tested: int = 10,
    seed: int = 0,
    other_people: int | None = OTHER_PEOPLE,
) -> Split:
    """Draw a split; people: use only this many users, the first by name.

    other_people: maximum, None for all there are; a smaller number takes the first of a larger one's.

    Raises:
        EvaluationError: a folder is missing or empty, or a user has too few photos.
    """
    folders = _people(data / "users")[:people]
    users = []
    for folder in folders:
        photos = shuffled(photos_of(folder), seed)
        if len(photos) < cloaked + tested:
            raise EvaluationError(
                f"{folder} has {len(photos)} different photos and {cloaked + tested} are needed: "
                "add some, take the person out, or ask for fewer (--cloaked, --tested)"
            )
        users.append(User(folder.name, tuple(photos[:cloaked]), tuple(photos[cloaked : cloaked + tested])))
    others = tuple(photo for person in _no_users(data, seed)[:other_people] for photo in photos_of(person))
    if not others:
        raise EvaluationError(f"{data / 'others'} has nobody left for a tracker to know besides the users")
    return Split(seed, tuple(users), others)


def pool_people(others: Path) -> list[Path]:
    """Return the people that the target pool is built from: every second one."""
    return _without_other_sets(others)[::2]


def photos_of(person: Path) -> list[Path]:
    """Return a person's photos by name; of identical files, only the first."""
    by_digest: dict[str, Path] = {}
    for photo in sorted(p for p in person.iterdir() if p.suffix.lower() in _SUFFIXES):
        by_digest.setdefault(hashlib.sha256(photo.read_bytes()).hexdigest(), photo)
    return list(by_digest.values())


def photos_below(folder: Path) -> list[Path]:
    """Return the photos of all people of a folder. Raises EvaluationError if it has nobody."""
    return [photo for person in _people(folder) for photo in photos_of(person)]


def shuffled(photos: Iterable[Path], seed: int) -> list[Path]:
    """Return photos or folders in an order that depends on their names and the seed alone."""
    ordered = sorted(photos)
    if ordered:
        random.Random(f"{seed} {ordered[0].parent.name}").shuffle(ordered)
    return ordered


def unused_people(data: Path, seed: int) -> list[Path]:
    """Return people, in random order, who are not users, known to no tracker and not in the target pool."""
    return _no_users(data, seed)[OTHER_PEOPLE:]


def _no_users(data: Path, seed: int) -> list[Path]:
    """Shuffle the people who are not users and from whom the target pool was not built."""
    users = {person.name for person in _people(data / "users")}
    unused = _without_other_sets(data / "others")[1::2]
    return shuffled([p for p in unused if p.name not in users], seed)


def _without_other_sets(others: Path) -> list[Path]:
    return [person for person in _people(others) if person.name not in IN_OTHER_SETS]


def _people(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise EvaluationError(f"{folder} is not a folder; it must have one folder of photos per person")
    people = sorted(p for p in folder.iterdir() if p.is_dir())
    if not people:
        raise EvaluationError(f"{folder} is empty; it must have one folder of photos per person")
    return people
