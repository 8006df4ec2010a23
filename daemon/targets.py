"""Users' targets on disk: one JSON file per user, written once and never replaced.

All that a user ever publishes must point at one identity, so a damaged file is an error for a person to
look at, never a reason to choose anew.
"""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
from pathlib import Path

from daemon.errors import TargetError
from daemon.files import DIRECTORY, opened
from fawkes_engine import Target


class FileTargetStore:
    """Implements `fawkes_engine.TargetStore` in a directory of its own (0700; files 0600)."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def get(self, user: str) -> Target | None:
        """The user's target, or None before the first photo. Raises TargetError for a damaged file."""
        path = self._path(user)
        try:
            return _parse(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as exc:
            raise TargetError(
                f"the target of {user} in {path} cannot be read ({exc}); put back a backup of it. Only if "
                "nothing was ever published for this user, delete it: a new target is then chosen"
            ) from exc

    def add(self, user: str, target: Target) -> Target:
        """Store the user's first target durably; return the one already there if another was first."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = self._directory / f".{secrets.token_hex(8)}"
        try:
            self._write(temporary, target)
            os.link(temporary, self._path(user))
        except FileExistsError:
            pass
        finally:
            temporary.unlink(missing_ok=True)
        self._sync_directory()
        stored = self.get(user)
        assert stored is not None, "the file was just linked, or was there"
        return stored

    def _path(self, user: str) -> Path:
        return self._directory / f"{user}.json"

    def _write(self, path: Path, target: Target) -> None:
        fields = {
            **dataclasses.asdict(dataclasses.replace(target, vectors={})),
            "vectors": dict(target.vectors),
        }
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
    vectors = {name: tuple(float(x) for x in vector) for name, vector in fields.pop("vectors").items()}
    chosen_from = tuple(str(digest) for digest in fields.pop("chosen_from"))
    if not vectors or not all(vectors.values()):
        raise ValueError("it has no vectors")
    return Target(vectors=vectors, chosen_from=chosen_from, **fields)
