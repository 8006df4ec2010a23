"""The nodes of a cluster as the engine process saw them last: a small file that it writes about once a second.

It is no part of the ledger, where each note would be a transaction.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

NAME = "nodes.json"  # below the state folder
_PRIVATE = partial(os.open, mode=0o600)


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
            with open(part, "w", opener=_PRIVATE) as file:
                file.write(json.dumps([asdict(one) for one in nodes]))
            part.replace(self._path)


def read(state_dir: Path) -> list[SeenNode]:
    """The nodes that were seen last; none if there is no cluster."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        return [SeenNode(**row) for row in json.loads((state_dir / NAME).read_text())]
    return []
