"""What the engines work on and how far they are: a note of the service, which holds while it runs.

It is written in place: who reads it just then finds nothing.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from daemon.state import notes

NAME = "in-work.json"  # below the state folder


@dataclass(frozen=True, slots=True)
class InWork:
    """The photos that one engine works on together.

    ids: of their rows in the ledger. doing: such as "cloaking". share: how much of that is done, 0 to 1; None where
    that cannot be told.
    """

    ids: tuple[int, ...]
    doing: str
    share: float | None


class InWorkFile:
    """Writes the file."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / NAME
        self._noted: Sequence[InWork] | None = None

    def note(self, works: Sequence[InWork]) -> None:
        """Record what the engines do now; on a disk that is full it is tried again at the next call."""
        if works == self._noted:
            return
        with contextlib.suppress(OSError):
            notes.write(self._path, works)
            self._noted = works


def read(state_dir: Path) -> list[InWork]:
    """What the engines of a running service do; nothing if it has not told yet."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        rows = json.loads((state_dir / NAME).read_text())
        return [InWork(tuple(row["ids"]), row["doing"], row["share"]) for row in rows]
    return []
