"""People's targets on disk: one JSON file per person, whose identity is written once and never replaced.

All that a user ever publishes must point at one identity, so a file that is damaged, or lost after something was
published, is an error for the user to resolve, never a reason to choose a new identity.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path

from daemon.errors import OutputError, OutputExists, TargetError
from daemon.fs.files import explain
from daemon.fs.locks import DirectoryLock
from daemon.fs.private import make_private
from daemon.state.fixed_targets import FixedTargets
from daemon.state.history import reading
from fawkes_engine import STRANGER, MeanFace, Target


class FileTargetStore:
    """Implements `fawkes_engine.TargetStore` in the directory `targets` of the state folder, both 0700; files 0600."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def people(self) -> list[str]:
        """Everyone who has a target, sorted by name."""
        return sorted(path.stem for path in self._directory.glob("*.json") if not path.name.startswith("."))

    def get(self, person: str) -> Target | None:
        """The person's target, or None before the first photo. Raises TargetError for a damaged file."""
        path = self.path(person)
        try:
            return parse(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise TargetError(
                f"the target of {person} in {path} cannot be read ({explain(exc)}); `fawkesd doctor` says more. Keep "
                "the file: without it nothing more is published for this person"
            ) from exc
        except (ValueError, TypeError, KeyError, AttributeError) as exc:
            raise TargetError(
                f"the target of {person} in {path} cannot be read ({exc}); restore it from a backup. Delete it "
                "only if nothing was ever published for this person: a new target is then chosen"
            ) from exc

    def has(self, person: str, identity: str) -> bool:
        """Whether this is the person's target, and intact."""
        with contextlib.suppress(TargetError):
            target = self.get(person)
            return target is not None and target.identity == identity
        return False

    def objection(self, user: str, published: FixedTargets) -> str | None:
        """Why nothing may be cloaked for a user; None if it may, and then a user without a target gets one.

        published: the targets that published photos carry, of the ledger or its history.
        """
        fixed = published.of(user)
        try:
            found = self.get(user)
        except TargetError as exc:
            return str(exc)
        if fixed is None or (found is not None and found.identity == fixed):
            return None
        path = self.path(user)
        fault = f"{path} is missing" if found is None else f"{path} names {found.identity}"
        return (
            f"the target of {user} is lost: the published photos carry {fixed}, and {fault}; restore that file from "
            f"a backup, or choose a new target on purpose with `fawkesd resume {user} --new-target`"
        )

    def path(self, person: str) -> Path:
        """The file of a person's target, whether or not it exists."""
        return self._directory / f"{person}.json"

    def add(self, person: str, target: Target) -> Target:
        """Store a person's first target durably; return the one already there if another was first.

        Raises TargetError for a person whose published photos carry a target that is lost.
        """
        self._expect_none_published(person)
        with contextlib.suppress(OutputExists):
            self._write(person, target, replace=False)
        stored = self.get(person)
        assert stored is not None, "the file was just linked, or was there"
        return stored

    def learn(self, person: str, target: Target) -> None:
        """Durably replace the faces that a person is recognised by. Raises TargetError if the identity would change."""
        stored = self.get(person)
        if stored is None or stored.identity != target.identity:
            raise TargetError(f"the target of {person} would change; it is kept as it is")
        self._write(person, target, replace=True)

    def restore(self, person: str, target: Target) -> None:
        """Durably store a target that published photos may carry, from a backup. Raises OutputExists."""
        self._write(person, target, replace=False)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Context manager: lock out other processes, waiting for them; the lock of one that dies is released."""
        self._make_directory()
        lock = DirectoryLock(self._directory, patience_s=math.inf)
        try:
            yield
        finally:
            lock.release()

    def forget(self, person: str) -> None:
        """Durably erase everything about a person; the person is new when seen again."""
        from daemon.fs import atomic  # here and below, since `status` only reads, and is to start quickly

        atomic.remove(self.path(person))

    def _expect_none_published(self, person: str) -> None:
        """Ask the ledger beside the targets, since the file may have been lost at any moment before this one."""
        if person.startswith(STRANGER):
            return
        with reading(self._directory.parent) as history:
            objection = self.objection(person, history.targets)
        if objection is not None:
            raise TargetError(objection)

    def _make_directory(self) -> None:
        try:
            for folder in (self._directory.parent, self._directory):
                make_private(folder)
        except OSError as exc:
            raise OutputError(f"the folder {self._directory} cannot be created ({exc.strerror})") from exc

    def _write(self, person: str, target: Target, *, replace: bool) -> None:
        from daemon.fs import atomic

        fields = dataclasses.asdict(target)
        self._make_directory()
        atomic.write(self.path(person), json.dumps(fields).encode(), replace=replace, mode=0o600)


def parse(text: str) -> Target:
    """Read a target from its JSON. Raises ValueError, TypeError, KeyError or AttributeError if it is none."""
    fields = json.loads(text)
    vectors = {name: _vector(vector) for name, vector in fields.pop("vectors").items()}
    known_by = {name: tuple(map(_vector, rows)) for name, rows in fields.pop("known_by").items()}
    chosen_from = tuple(str(digest) for digest in fields.pop("chosen_from"))
    mean_faces = {
        name: MeanFace(_vector(mean["vector"]), int(mean["faces"]))
        for name, mean in fields.pop("mean_faces", {}).items()  # files of the first versions have none
    }
    if not vectors or not all(vectors.values()):
        raise ValueError("it has no vectors")
    return Target(
        vectors=vectors, known_by=known_by, chosen_from=chosen_from, mean_faces=mean_faces, **fields
    )


def _vector(numbers: Iterable[float]) -> tuple[float, ...]:
    return tuple(float(number) for number in numbers)
