"""The files that wait for their writers to finish them, as the service tells `status` and `why` in one of its facts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from daemon.model import Snapshot


@dataclass(frozen=True, slots=True)
class UnfinishedFile:
    """A file in an outbox that is not taken yet.

    unchanged_since, taken_at: seconds since 1970, the latter when it is taken as it is; None while it changes.
    """

    user: str
    path: Path
    snapshot: Snapshot
    reason: str
    unchanged_since: float | None
    taken_at: float | None


def to_text(files: Iterable[UnfinishedFile]) -> str:
    """The files as the value of a fact; in ASCII, since sqlite refuses names that are not UTF-8."""
    return json.dumps([asdict(file) | {"path": str(file.path)} for file in files])


def from_text(text: str) -> list[UnfinishedFile]:
    """The files of a fact's value."""
    return [
        UnfinishedFile(**{**row, "path": Path(row["path"]), "snapshot": Snapshot(**row["snapshot"])})
        for row in json.loads(text)
    ]
