"""Targets on disk: private, written once, never replaced."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import threading
from pathlib import Path

import pytest
from conftest import WITHIN_S
from engine_pictures import encoded, portrait

from daemon.errors import TargetError
from daemon.state.history import reading
from daemon.state.ledger import Ledger
from daemon.state.schema import LEDGER_NAME
from daemon.state.targets import FileTargetStore
from fawkes_engine import EngineSettings, MeanFace, Request, Target

TARGET = Target(
    identity="mix-17",
    pool="1",
    vectors={"dlib": (0.6, -0.8, 1e-17)},
    known_by={"dlib": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))},
    chosen_at="2026-01-02T03:04:05+00:00",
    chosen_from=("00ff",),
    mean_faces={"dlib": MeanFace((0.3, 0.2, 0.1), faces=2)},
)


def test_a_stored_target_comes_back_exactly_and_privately(tmp_path: Path) -> None:
    store = FileTargetStore(tmp_path / "targets")
    assert store.get("ada") is None

    assert store.add("ada", TARGET) == TARGET

    assert FileTargetStore(tmp_path / "targets").get("ada") == TARGET
    assert (tmp_path / "targets").stat().st_mode & 0o777 == 0o700
    assert [path.name for path in (tmp_path / "targets").iterdir()] == ["ada.json"]
    assert (tmp_path / "targets" / "ada.json").stat().st_mode & 0o777 == 0o600


def test_a_target_of_the_first_versions_has_no_mean_face_yet(tmp_path: Path) -> None:
    FileTargetStore(tmp_path).add("ada", TARGET)
    fields = json.loads((tmp_path / "ada.json").read_text())
    del fields["mean_faces"]
    (tmp_path / "ada.json").write_text(json.dumps(fields))

    assert FileTargetStore(tmp_path).get("ada") == dataclasses.replace(TARGET, mean_faces={})


def test_processes_are_alone_one_after_the_other(tmp_path: Path) -> None:
    stores = [FileTargetStore(tmp_path / "new") for _ in range(2)]
    inside: list[str] = []

    def second() -> None:
        with stores[1].alone():
            inside.append("second")

    thread = threading.Thread(target=second)
    with stores[0].alone():
        thread.start()
        thread.join(0.1)
        inside.append("first")
    thread.join(WITHIN_S)

    assert inside == ["first", "second"]
    assert stores[0].people() == []


def test_a_process_that_dies_is_alone_no_longer(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        with FileTargetStore(tmp_path).alone():
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)

    with FileTargetStore(tmp_path).alone():
        pass


def test_the_first_target_wins_and_is_given_to_all(tmp_path: Path) -> None:
    targets = [dataclasses.replace(TARGET, identity=f"mix-{number}") for number in range(8)]
    got: list[Target] = []
    threads = [
        threading.Thread(target=lambda t=t: got.append(FileTargetStore(tmp_path).add("ada", t)))
        for t in targets
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({target.identity for target in got}) == 1
    assert FileTargetStore(tmp_path).get("ada") == got[0]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"vectors": {}, "chosen_from": []}'])
def test_a_damaged_target_is_an_error_and_is_kept(tmp_path: Path, content: str) -> None:
    (tmp_path / "ada.json").write_text(content)

    with pytest.raises(TargetError, match="backup"):
        FileTargetStore(tmp_path).get("ada")
    with pytest.raises(TargetError):
        FileTargetStore(tmp_path).add("ada", TARGET)

    assert (tmp_path / "ada.json").read_text() == content


def test_nobody_is_told_to_delete_a_target_that_cannot_be_read_now(tmp_path: Path) -> None:
    (tmp_path / "ada.json").mkdir()  # as root, no mode would keep the test from reading a file

    with pytest.raises(TargetError, match=r"cannot be read .*Keep the file"):
        FileTargetStore(tmp_path).get("ada")


def test_more_may_be_learned_about_a_person_but_never_another_identity(tmp_path: Path) -> None:
    store = FileTargetStore(tmp_path)
    store.add("ada", TARGET)
    wiser = dataclasses.replace(TARGET, known_by={"dlib": ((0.0, 0.0, 1.0),)})

    store.learn("ada", wiser)

    assert store.get("ada") == wiser
    with pytest.raises(TargetError, match="would change"):
        store.learn("ada", dataclasses.replace(wiser, identity="mix-18"))
    assert store.get("ada") == wiser


def test_a_forgotten_person_leaves_nothing_behind(tmp_path: Path) -> None:
    store = FileTargetStore(tmp_path)
    store.add("ada", TARGET)
    store.add("~12ab", TARGET)
    assert store.people() == ["ada", "~12ab"]

    store.forget("~12ab")

    assert store.people() == ["ada"]
    assert [path.name for path in tmp_path.iterdir()] == ["ada.json"]


def fix(state_dir: Path, identity: str) -> None:
    """As when the first photo of ada was published."""
    with contextlib.closing(Ledger(state_dir / LEDGER_NAME)) as ledger:
        ledger.targets.fix("ada", identity)


def test_a_lost_target_of_published_photos_is_not_replaced(tmp_path: Path) -> None:
    fix(tmp_path, TARGET.identity)
    store = FileTargetStore(tmp_path / "targets")

    with pytest.raises(TargetError, match=r"ada.json is missing; restore that file from a backup"):
        store.add("ada", dataclasses.replace(TARGET, identity="mix-18"))

    assert store.people() == []
    assert store.add("~12ab", TARGET) == store.add("bob", TARGET) == TARGET
    (tmp_path / "targets" / "bob.json").rename(tmp_path / "targets" / "ada.json")
    assert store.add("ada", TARGET) == TARGET


@pytest.mark.parametrize(
    ("fixed", "kept", "words"),
    [
        (None, None, None),
        (None, "mix-17", None),
        ("mix-17", "mix-17", None),
        ("mix-17", None, "is missing"),
        ("mix-17", "mix-18", "names mix-18"),
    ],
)
def test_a_user_must_have_the_target_that_was_published(
    tmp_path: Path, fixed: str | None, kept: str | None, words: str | None
) -> None:
    store = FileTargetStore(tmp_path / "targets")
    if kept:
        store.add("ada", dataclasses.replace(TARGET, identity=kept))
    if fixed:
        fix(tmp_path, fixed)

    with reading(tmp_path) as history:
        objection = store.objection("ada", history.targets)

    assert (objection is None) == (words is None)
    assert words is None or words in str(objection)


def test_a_running_engine_gives_a_user_whose_target_is_lost_no_other_one(tmp_path: Path) -> None:
    """The file is removed after the service has looked for it, and the engine knows the user from before."""
    from fawkes_engine.engine import Engine

    engine = Engine(EngineSettings(steps=2), FileTargetStore(tmp_path / "targets"))
    photo = encoded(portrait(), "JPEG")
    engine.enroll("ada", [photo])
    chosen = FileTargetStore(tmp_path / "targets").get("ada")
    assert chosen is not None
    fix(tmp_path, chosen.identity)
    (tmp_path / "targets" / "ada.json").unlink()

    with pytest.raises(TargetError, match="the target of ada is lost"):
        engine.protect([Request(photo, "ada")])

    assert not (tmp_path / "targets" / "ada.json").exists()
