"""The nodes of a cluster as the engine process saw them last: a note that it writes, and replaces whole."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from daemon.state import notes

NAME = "nodes.json"  # below the state folder


@dataclass(frozen=True, slots=True)
class SeenNode:
    """One engine of a cluster.

    in_work: photos that it works on. photos_per_minute: of its last tasks, 0 before the first. seen_at: seconds since
    1970. refused: why it gets no work; None if it gets some.
    """

    name: str
    device: str
    in_work: int
    photos_per_minute: float
    seen_at: float
    refused: str | None = None


class NodesFile:
    """Writes the file."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / NAME

    def note(self, nodes: Sequence[SeenNode]) -> None:
        """Record the nodes; on a disk that is full it is tried again at the next call."""
        part = self._path.with_suffix(".part")
        with contextlib.suppress(OSError):
            notes.write(part, nodes)
            part.replace(self._path)


def read(state_dir: Path) -> list[SeenNode]:
    """The nodes that were seen last; none if there is no cluster."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        return [SeenNode(**row) for row in json.loads((state_dir / NAME).read_text())]
    return []
