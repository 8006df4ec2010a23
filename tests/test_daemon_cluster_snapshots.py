"""Targets on several machines: whatever nodes propose, and in whatever order, one person has one target."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from batches import ENGINE_THREADS
from engine_pictures import encoded, portrait, somebody_else
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.cluster.snapshots import Proposals, Snapshot, SnapshotStore, commit, take
from daemon.errors import TargetError
from daemon.state.targets import FileTargetStore
from fawkes_engine import STRANGER, EngineSettings, MeanFace, Protected, Request
from fawkes_engine.identity.people import People
from fawkes_engine.identity.targets import Pool, Vectors

POOL = Pool.load()


def face(person: int, photo: int = 0) -> dict[str, Vectors]:
    """A unit embedding (128,) of a made-up person in a photo; people are nearly at right angles."""
    middle = np.random.default_rng(person).normal(size=128)
    vector = middle + 0.3 * np.random.default_rng((person, photo)).normal(size=128)
    return {"dlib": (vector / np.linalg.norm(vector)).astype(np.float32)}


class Node:
    """A node without an engine: its store, and the people that an engine would recognise by it."""

    def __init__(self, store: FileTargetStore) -> None:
        self._master = store
        self._store = SnapshotStore()
        self.people = People(self._store, POOL)
        self.load()

    def load(self) -> None:
        self.snapshot = Snapshot.from_bytes(take(self._master).to_bytes())
        self._store.load(self.snapshot)
        self.people.reload()

    def see(self, who: int, photo: int) -> str:
        """Identify a face as an engine does; returns the person."""
        shown = face(who, photo)
        person = self.people.know(shown) or self.people.meet_stranger(shown, b"photo")
        self.people.see(person, shown)
        return person

    def proposals(self) -> Proposals:
        return Proposals.from_bytes(self._store.proposals().to_bytes())

    def commit(self) -> frozenset[str]:
        return commit(self._master, self.snapshot, self.proposals())


@pytest.fixture
def store(tmp_path: Path) -> FileTargetStore:
    """With ada, whom the coordinator has met."""
    return store_in(tmp_path)


def store_in(folder: Path) -> FileTargetStore:
    store = FileTargetStore(folder / "targets")
    People(store, POOL).meet("ada", {"dlib": face(0)["dlib"][None]}, [b"photo"])
    return store


def test_a_snapshot_comes_back_exactly(store: FileTargetStore) -> None:
    snapshot = take(store)

    assert list(snapshot.people) == ["ada"]
    assert Snapshot.from_bytes(snapshot.to_bytes()) == snapshot


def test_what_a_node_adds_and_learns_reaches_the_store(store: FileTargetStore) -> None:
    node = Node(store)
    stranger = node.see(1, photo=0)
    assert node.see(0, photo=1) == "ada"

    assert node.commit() == frozenset()

    people = take(store).people
    assert people.keys() == {"ada", stranger}
    assert people["ada"].mean_faces["dlib"].faces == people[stranger].mean_faces["dlib"].faces == 1
    assert replace(people["ada"], mean_faces={}) == node.snapshot.people["ada"]


def test_a_node_that_saw_nobody_new_proposes_nothing(store: FileTargetStore) -> None:
    assert Node(store).proposals() == Proposals()


def test_proposals_that_arrive_twice_change_nothing_the_second_time(store: FileTargetStore) -> None:
    node = Node(store)
    node.see(0, photo=1)
    node.see(1, photo=0)
    node.commit()
    once = take(store)

    assert node.commit() == frozenset()
    assert take(store) == once


def test_two_nodes_that_meet_one_stranger_at_once_end_with_one_target(store: FileTargetStore) -> None:
    first, second = Node(store), Node(store)
    stranger, the_same = first.see(1, photo=0), second.see(1, photo=1)
    assert stranger != the_same

    assert first.commit() == frozenset()
    assert second.commit() == {the_same}

    second.load()
    assert second.see(1, photo=1) == stranger
    assert second.commit() == frozenset()
    assert take(store).people.keys() == {"ada", stranger}


def test_two_nodes_that_choose_one_identity_for_two_people_end_with_two(store: FileTargetStore) -> None:
    first, second = Node(store), Node(store)
    one, other = first.see(1, photo=0), second.see(2, photo=0)
    taken = first.proposals().added[one]
    same = {other: replace(second.proposals().added[other], identity=taken.identity, vectors=taken.vectors)}
    first.commit()

    assert commit(store, second.snapshot, Proposals(added=same)) == {other}

    second.load()
    second.see(2, photo=0)
    assert second.commit() == frozenset()
    assert len({target.identity for target in take(store).people.values()}) == 3


def test_of_what_was_learned_at_once_one_half_is_kept(store: FileTargetStore) -> None:
    first, second = Node(store), Node(store)
    first.see(0, photo=1)
    second.see(0, photo=2)

    assert first.commit() == second.commit() == frozenset()

    assert take(store).people["ada"].mean_faces == first.proposals().learned["ada"]


def test_photos_of_who_was_forgotten_or_given_another_target_are_computed_again(
    store: FileTargetStore,
) -> None:
    node = Node(store)
    node.see(0, photo=1)
    store.forget("ada")
    assert node.commit() == {"ada"}
    assert not take(store).people

    People(store, POOL).meet("ada", {"dlib": face(5)["dlib"][None]}, [b"photo"])
    other = take(store)
    assert other.people["ada"].identity != node.snapshot.people["ada"].identity
    assert node.commit() == {"ada"}
    assert take(store) == other


def test_who_a_user_is_no_node_decides(store: FileTargetStore) -> None:
    node = Node(store)
    node.people.meet("bob", {"dlib": face(1)["dlib"][None]}, [b"photo"])

    assert node.commit() == {"bob"}
    assert take(store).people.keys() == {"ada"}


def test_no_node_changes_whom_the_store_has(store: FileTargetStore) -> None:
    before = take(store)
    node = Node(store)
    stranger = node.see(1, photo=0)
    usurped = {"ada": node.proposals().added[stranger]}

    assert commit(store, node.snapshot, Proposals(added=usurped)) == {"ada"}
    assert commit(store, node.snapshot, Proposals(learned={stranger: {}})) == {stranger}
    assert take(store) == before


class Cluster:
    """Nodes that see people and propose, in any order, while the coordinator commits."""

    def __init__(self, folder: Path, nodes: int) -> None:
        self.store = store_in(folder)
        self.nodes = [Node(self.store) for _ in range(nodes)]
        self.seen: list[dict[int, str]] = [{} for _ in range(nodes)]  # by each node since its snapshot
        self.published: dict[int, set[str]] = {}  # person -> identities
        self.identities = {"ada": take(self.store).people["ada"].identity}

    def see(self, node: int, who: int, photo: int) -> None:
        self.seen[node][who] = self.nodes[node].see(who, photo)

    def deliver(self, node: int) -> None:
        """Commit, publish what does not contradict, and begin anew."""
        conflicts = self.nodes[node].commit()
        people = take(self.store).people
        for who, person in self.seen[node].items():
            if person not in conflicts:
                self.published.setdefault(who, set()).add(people[person].identity)
        self.nodes[node].load()
        self.seen[node].clear()

    def check(self) -> None:
        """One target a person, one person an identity, and no identity that ever changes."""
        now = {person: target.identity for person, target in take(self.store).people.items()}
        assert self.identities.items() <= now.items()
        self.identities = now
        assert len(set(now.values())) == len(now)
        assert all(len(identities) == 1 for identities in self.published.values())
        assert len(set().union(*self.published.values())) == len(self.published)


_SEE = st.tuples(st.just("see"), st.integers(0, 2), st.integers(0, 5), st.integers(0, 3))
_DELIVER = st.tuples(st.just("deliver"), st.integers(0, 2))


@settings(max_examples=60)
@given(steps=st.lists(st.one_of(_SEE, _DELIVER), max_size=25))
def test_in_any_order_one_person_has_one_target(steps: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(Path(folder), nodes=3)
        for step, *details in [*steps, *(("deliver", node) for node in range(3))]:
            getattr(cluster, step)(*details)
            cluster.check()


def added(change: Callable[[dict[str, Any]], object], name: str | None = None) -> bytes:
    """Proposals of one stranger, changed on their way."""
    node = SnapshotStore()
    person = People(node, POOL).meet_stranger(face(1), b"photo")
    fields = json.loads(node.proposals().to_bytes())
    target = fields["added"].pop(person)
    change(target)
    fields["added"][name or person] = target
    return json.dumps(fields).encode()


def test_proposals_that_nobody_touched_pass() -> None:
    assert Proposals.from_bytes(added(lambda _: None)).added


@pytest.mark.parametrize(
    "change",
    [
        lambda target: target.update(identity="nobody-96"),
        lambda target: target.update(identity="nobody-01"),
        lambda target: target.update(identity="+".join(["nobody-00"] * 3)),
        lambda target: target.update(pool="0"),
        lambda target: target["vectors"].pop("sface"),
        lambda target: target["vectors"].update(dlib=[0.0] * 128),
        lambda target: target["vectors"]["dlib"].append(0.0),
        lambda target: target["vectors"]["dlib"].__setitem__(0, float("nan")),
        lambda target: target["known_by"].update(dlib=[]),
        lambda target: target["known_by"].update(sface=[[1.0] + [0.0] * 127]),
        lambda target: target["known_by"]["dlib"].append([1.0]),
        lambda target: target["known_by"]["dlib"][0].__setitem__(0, 2.0),
        lambda target: target["known_by"].update(dlib=[[float("inf")] * 128]),
        lambda target: target["known_by"].update(dlib=[[1.0] + [0.0] * 127]),  # who has another name
        lambda target: target["known_by"].update(dlib=target["known_by"]["dlib"] * 17),
        lambda target: target.update(chosen_at="yesterday"),
        lambda target: target.update(chosen_from=["../ada.json"]),
        lambda target: target.update(mean_faces={"dlib": {"vector": [0.0] * 127, "faces": 1}}),
        lambda target: target.update(mean_faces={"dlib": {"vector": [1.0] * 128, "faces": 1}}),
        lambda target: target.update(mean_faces={"dlib": {"vector": [0.0] * 128, "faces": 17}}),
        lambda target: target.update(mean_faces={"dlib": {"vector": [0.0] * 128, "faces": True}}),
        lambda target: target.update(
            mean_faces={f"onnx:{n}": {"vector": [0.0], "faces": 1} for n in range(17)}
        ),
        lambda target: target.pop("identity"),
    ],
)
def test_what_no_engine_proposes_is_told(change: Callable[[dict[str, Any]], object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        Proposals.from_bytes(added(change))


@pytest.mark.parametrize(
    "name", ["", "../ada", "~../ada", "~12ab", "~0123456789AB", ".ada", "ada\n", "a" * 65]
)
def test_names_that_nobody_has_are_told(name: str) -> None:
    fields = json.loads(added(lambda _: None))
    (target,) = fields["added"].values()
    means = {"dlib": {"vector": [0.0] * 128, "faces": 1}}
    for wrong in ({"added": {name: target}, "learned": {}}, {"added": {}, "learned": {name: means}}):
        with pytest.raises(ValueError, match=r"."):
            Proposals.from_bytes(json.dumps(wrong).encode())


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"added": [], "people": []}', b"\x80\x04."])
def test_what_is_no_message_is_told(data: bytes) -> None:
    for kind in (Proposals, Snapshot):
        with pytest.raises(ValueError, match=r"."):
            kind.from_bytes(data)


def test_a_node_keeps_the_first_target_and_every_identity(store: FileTargetStore) -> None:
    node = SnapshotStore()
    node.load(take(store))
    ada = take(store).people["ada"]
    other = replace(ada, identity="nobody-95")

    assert node.add("ada", other) == ada
    with pytest.raises(TargetError, match="would change"):
        node.learn("ada", other)
    with pytest.raises(TargetError, match="would change"):
        node.learn("bob", ada)
    with node.alone():
        node.learn("ada", replace(ada, mean_faces={"dlib": MeanFace((0.5,) * 128, 1)}))

    assert node.people() == ["ada"]
    assert node.get("bob") is None
    assert node.proposals().learned["ada"]["dlib"].faces == 1


@pytest.mark.numeric
def test_the_real_engine_works_from_snapshots(tmp_path: Path) -> None:
    """Two nodes see the same stranger; the second computes its photo again, toward the first one's target."""
    from fawkes_engine.engine import Engine

    quick = EngineSettings(extractors=("dlib",), steps=12, device="cpu", threads=ENGINE_THREADS)
    master = FileTargetStore(tmp_path / "targets")
    Engine(quick, master).enroll("ada", [encoded(portrait(), "PNG")])
    nodes = [SnapshotStore() for _ in range(2)]
    engines = [Engine(quick, node) for node in nodes]
    photos = [encoded(somebody_else(), "JPEG", quality=quality) for quality in (95, 96)]

    def work(index: int) -> frozenset[str]:
        snapshot = take(master)
        nodes[index].load(snapshot)
        engines[index].pipeline.identifier.people.reload()
        (result,) = engines[index].protect([Request(photos[index], "ada")])
        assert isinstance(result, Protected), result
        targets[index] = result.report.faces[0].target
        return commit(master, snapshot, Proposals.from_bytes(nodes[index].proposals().to_bytes()))

    targets = ["", ""]
    assert work(0) == frozenset()
    nodes[1].load(Snapshot({"ada": take(master).people["ada"]}))  # as it was before
    engines[1].pipeline.identifier.people.reload()
    engines[1].protect([Request(photos[1], "ada")])
    (strange,) = nodes[1].proposals().added
    assert commit(master, take(master), nodes[1].proposals()) <= {strange}
    assert work(1) == frozenset()

    assert targets[0] == targets[1] != take(master).people["ada"].identity
    assert [person.startswith(STRANGER) for person in take(master).people] == [False, True]
