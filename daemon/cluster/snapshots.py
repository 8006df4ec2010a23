"""One target per person on all machines: nodes work from a snapshot and propose, the coordinator alone writes.

A snapshot of everyone's targets goes out with the work. What an engine adds or learns on a node comes back as
proposals, and is committed to the real store only where it does not contradict what that holds by then. Photos that
show somebody of whom it does are computed again from a new snapshot.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated

import numpy as np
from pydantic import Field, TypeAdapter

from daemon.cluster.plausible import check_means, check_new, check_numbers, the_pool
from daemon.config.settings import UserName
from daemon.errors import TargetError
from daemon.state.targets import FileTargetStore
from fawkes_engine import STRANGER, MeanFace, Target
from fawkes_engine.identity.people import People

Person = UserName | Annotated[str, Field(pattern=f"^{STRANGER}[0-9a-f]{{12}}$")]
Means = Mapping[str, MeanFace]  # extractor -> mean clean face


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everyone's targets at one moment. people: person -> target."""

    people: Mapping[Person, Target]

    def to_bytes(self) -> bytes:
        """Return it as JSON."""
        return _SNAPSHOT.dump_json(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> Snapshot:
        """Read what `to_bytes` wrote. Raises ValueError if it is none."""
        snapshot = _SNAPSHOT.validate_json(data, strict=True)
        for target in snapshot.people.values():
            check_numbers(target)
        return snapshot


@dataclass(frozen=True, slots=True)
class Proposals:
    """What an engine on a node wants the store to hold.

    added: people who were new to it, in the order in which it met them. learned: people of the snapshot -> those of
    their mean faces that have changed.
    """

    added: Mapping[Person, Target] = field(default_factory=dict)
    learned: Mapping[Person, Means] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Return them as JSON."""
        return _PROPOSALS.dump_json(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> Proposals:
        """Read what `to_bytes` wrote on a node, which is not believed.

        Raises:
            ValueError: they are none that an engine could make: a name that nobody has, an identity that the pool does
                not have, vectors of other lengths, or numbers that are none.
        """
        proposals = _PROPOSALS.validate_json(data, strict=True)
        for person, target in proposals.added.items():
            check_new(person, target)
        for means in proposals.learned.values():
            check_means(means)
        return proposals


class SnapshotStore:
    """Implements `fawkes_engine.TargetStore` in the memory of a node: a snapshot, and what was added to it since."""

    def __init__(self) -> None:
        self._given: Mapping[str, Target] = {}
        self._targets: dict[str, Target] = {}

    def load(self, snapshot: Snapshot) -> None:
        """Hold a snapshot, and nothing of what was held before.

        An engine that has worked with this store must be told: `engine.pipeline.identifier.people.reload()`.
        """
        self._given = snapshot.people
        self._targets = dict(snapshot.people)

    def proposals(self) -> Proposals:
        """Return what was added or learned since `load`."""
        added = {person: target for person, target in self._targets.items() if person not in self._given}
        learned = {
            person: changed
            for person, target in self._given.items()
            if (changed := _changed(target.mean_faces, self._targets[person].mean_faces))
        }
        return Proposals(added, learned)

    def people(self) -> list[str]:
        """Everyone who has a target."""
        return list(self._targets)

    def get(self, person: str) -> Target | None:
        """The person's target, or None."""
        return self._targets.get(person)

    def add(self, person: str, target: Target) -> Target:
        """Keep a person's first target; return the one already there."""
        return self._targets.setdefault(person, target)

    def learn(self, person: str, target: Target) -> None:
        """Keep what was learned of a person. Raises TargetError if the identity would change."""
        stored = self._targets.get(person)
        if stored is None or stored.identity != target.identity:
            raise TargetError(f"the target of {person} would change; it is kept as it is")
        self._targets[person] = target

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Context manager without effect: nobody else has this store."""
        yield


def take(store: FileTargetStore) -> Snapshot:
    """Return everyone's targets as they are now. Raises TargetError for a damaged one."""
    found = {person: store.get(person) for person in store.people()}
    return Snapshot({person: target for person, target in found.items() if target is not None})


def commit(store: FileTargetStore, snapshot: Snapshot, proposals: Proposals) -> frozenset[str]:
    """Write what may be written of proposals that were made from a snapshot.

    Of people in the snapshot only mean faces are taken; of these, none that the store has outrun. Nobody's identity
    and nobody's known faces ever change. Users are met by the coordinator (`Inspector.meet`), before a snapshot is
    taken: a node that says who a user is could make it leave the user's own face as it is.

    Returns the people with whom the proposals contradict the store, and whose photos must be computed again from a new
    snapshot: users whom the store does not know; who has another target now; whose proposed identity is somebody
    else's; and strangers whom the store knows under another name. Raises:
        TargetError: for a damaged target.
    """
    if not proposals.added and not proposals.learned:
        return frozenset()
    with store.alone():
        conflicts = _added(store, proposals.added) if proposals.added else set()
        for person, means in proposals.learned.items():
            if not _learned(store, person, snapshot.people.get(person), means):
                conflicts.add(person)
        return frozenset(conflicts)


def _added(store: FileTargetStore, added: Mapping[str, Target]) -> set[str]:
    """Add people one after the other, as one engine would have met them; return those who contradict the store."""
    people = People(store, the_pool())
    conflicts: set[str] = set()
    for person, target in added.items():
        stored = people.target(person)
        if stored is None and person.startswith(STRANGER) and _is_new(people, target):
            store.add(person, target)
            people.target(person)  # known from here on
        elif stored is None or stored.identity != target.identity:
            conflicts.add(person)
    return conflicts


def _is_new(people: People, target: Target) -> bool:
    faces = {name: np.array(rows[0], np.float32) for name, rows in target.known_by.items()}
    return target.identity not in people.taken() and people.know(faces) is None


def _learned(store: FileTargetStore, person: str, base: Target | None, means: Means) -> bool:
    """Take a person's new mean faces, unless others were learned meanwhile; return whether the target is the same."""
    stored = store.get(person)
    if base is None or stored is None or stored.identity != base.identity:
        return False
    if stored.mean_faces == base.mean_faces:
        store.learn(person, replace(stored, mean_faces={**stored.mean_faces, **means}))
    return True


def _changed(before: Means, after: Means) -> dict[str, MeanFace]:
    return {name: mean for name, mean in after.items() if mean != before.get(name)}


_SNAPSHOT, _PROPOSALS = TypeAdapter(Snapshot), TypeAdapter(Proposals)
