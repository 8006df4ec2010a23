"""People's targets on disk: one JSON file per person, whose identity is written once and never replaced.

All that a user ever publishes must point at one identity, so a damaged file is an error for a person to
look at, never a reason to choose anew.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path

from daemon.errors import TargetError
from daemon.files import DIRECTORY, opened
from fawkes_engine import Target


class FileTargetStore:
    """Implements `fawkes_engine.TargetStore` in a directory of its own (0700; files 0600)."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def people(self) -> list[str]:
        """Everyone who has a target, in the order of names."""
        return sorted(path.stem for path in self._directory.glob("*.json") if not path.name.startswith("."))

    def get(self, person: str) -> Target | None:
        """The person's target, or None before the first photo. Raises TargetError for a damaged file."""
        path = self._path(person)
        try:
            return _parse(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as exc:
            raise TargetError(
                f"the target of {person} in {path} cannot be read ({exc}); put back a backup of it. Only if "
                "nothing was ever published for this person, delete it: a new target is then chosen"
            ) from exc

    def add(self, person: str, target: Target) -> Target:
        """Store a person's first target durably; return the one already there if another was first."""
        with self._written(target) as temporary, contextlib.suppress(FileExistsError):
            os.link(temporary, self._path(person))
        stored = self.get(person)
        assert stored is not None, "the file was just linked, or was there"
        return stored

    def learn(self, person: str, target: Target) -> None:
        """Replace durably what a person is known by. Raises TargetError if the identity would change."""
        stored = self.get(person)
        if stored is None or stored.identity != target.identity:
            raise TargetError(f"the target of {person} would change; it is kept as it is")
        with self._written(target) as temporary:
            temporary.replace(self._path(person))

    def forget(self, person: str) -> None:
        """Erase durably what is known of a person; the person is new when seen again."""
        self._path(person).unlink(missing_ok=True)
        self._sync_directory()

    def _path(self, person: str) -> Path:
        return self._directory / f"{person}.json"

    @contextlib.contextmanager
    def _written(self, target: Target) -> Iterator[Path]:
        """A complete temporary file with the target; the directory is synced when the block ends."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = self._directory / f".{secrets.token_hex(8)}"
        try:
            self._write(temporary, target)
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)
        self._sync_directory()

    def _write(self, path: Path, target: Target) -> None:
        fields = {field.name: getattr(target, field.name) for field in dataclasses.fields(target)}
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(fields, file)
            file.flush()
            os.fsync(file.fileno())

    def _sync_directory(self) -> None:
        with opened(self._directory, DIRECTORY) as fd:
            os.fsync(fd)


def _parse(text: str) -> Target:
    fields = json.loads(text)
    vectors = {name: _vector(vector) for name, vector in fields.pop("vectors").items()}
    known_by = {name: tuple(map(_vector, rows)) for name, rows in fields.pop("known_by").items()}
    chosen_from = tuple(str(digest) for digest in fields.pop("chosen_from"))
    if not vectors or not all(vectors.values()):
        raise ValueError("it has no vectors")
    return Target(vectors=vectors, known_by=known_by, chosen_from=chosen_from, **fields)


def _vector(numbers: Iterable[float]) -> tuple[float, ...]:
    return tuple(float(number) for number in numbers)
