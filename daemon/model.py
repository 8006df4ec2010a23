"""The values that cross the modules of `daemon`, and the one table of a photo's states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol


class State(Enum):
    """Where a photo is in its life. It begins as READY: a path that never settles costs no row of the ledger."""

    READY = "ready"
    WORKING = "working"
    STAGED = "staged"
    PUBLISHING = "publishing"
    PUBLISHED = "published"
    HELD = "held"
    GONE = "gone"
    SUPERSEDED = "superseded"


TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.READY: frozenset({State.WORKING, State.HELD, State.GONE, State.SUPERSEDED}),
    State.WORKING: frozenset({State.STAGED, State.READY, State.HELD, State.GONE, State.SUPERSEDED}),
    State.STAGED: frozenset({State.PUBLISHING, State.READY, State.HELD, State.SUPERSEDED}),
    State.PUBLISHING: frozenset({State.PUBLISHED, State.READY, State.HELD, State.SUPERSEDED}),
    State.PUBLISHED: frozenset({State.SUPERSEDED}),
    State.HELD: frozenset({State.READY, State.GONE, State.SUPERSEDED}),
    State.GONE: frozenset({State.SUPERSEDED}),
    State.SUPERSEDED: frozenset(),
}

WAITING = (State.READY, State.WORKING, State.STAGED, State.PUBLISHING)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What identifies one content of a file without reading it. size: bytes. mtime_ns, ctime_ns: since 1970."""

    dev: int
    ino: int
    size: int
    mtime_ns: int
    ctime_ns: int

    def same_content(self, other: Snapshot) -> bool:
        """Whether a scan takes both for one content.

        A drive gets a new device number at each mount, and a change of rights alone changes ctime.
        """
        return (self.ino, self.size, self.mtime_ns) == (other.ino, other.size, other.mtime_ns)


@dataclass(frozen=True, slots=True)
class Outbox:
    """A watched folder. root: its real path (events never arrive for a root that is a symlink).

    ignore: patterns in the manner of .gitignore for what is none of ours below it.
    """

    user: str
    root: Path
    ignore: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Source:
    """One photo's place. relative: below the outbox; bytes that are no UTF-8 are surrogate escapes."""

    outbox: Outbox
    relative: Path

    @property
    def path(self) -> Path:
        """The absolute path."""
        return self.outbox.root / self.relative


@dataclass(frozen=True, slots=True)
class Settled:
    """A photo that has come to rest and may become a row of the ledger."""

    source: Source
    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class Output:
    """A published file, or one about to be. relative: below the sync folder. sha256: hex of its bytes."""

    relative: Path
    sha256: str


@dataclass(frozen=True, slots=True)
class EarlierOutput:
    """What an earlier run made of the same bytes. report: JSON."""

    output: Output
    report: str


@dataclass(frozen=True, slots=True)
class Photo:
    """One row of the ledger: one content (generation, counted from 1) of one source path.

    attempts: failures so far that may pass. alone: to be worked on in a batch of its own, since an engine
    died with it. engine_deaths: how often one died on it alone. input_sha256: hex, once its bytes were read.
    output: from PUBLISHING on.
    """

    id: int
    source: Source
    generation: int
    state: State
    snapshot: Snapshot
    attempts: int
    alone: bool
    engine_deaths: int
    input_sha256: str | None
    output: Output | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Change:
    """What a change of state writes besides the state; None leaves a column as it is, but clears the reason.

    not_before: seconds since 1970 before which the photo is not tried. report: JSON. Others as in `Photo`.
    """

    reason: str | None = None
    input_sha256: str | None = None
    output: Output | None = None
    attempts: int | None = None
    alone: bool | None = None
    engine_deaths: int | None = None
    not_before: float | None = None
    report: str | None = None


class PauseReason(Enum):
    """Why nothing of an outbox is worked on."""

    BY_HAND = "paused by hand"
    REMOVED = "no longer in the configuration"


class QueueOrder(Enum):
    """Which of the waiting photos goes first, by the time the file was last changed."""

    NEWEST = "newest"
    OLDEST = "oldest"


@dataclass(frozen=True, slots=True)
class HeldPhoto:
    """A photo that was not published and will not be by itself. reason: for its owner to read."""

    user: str
    path: Path
    reason: str


class Progress(Protocol):
    """Someone who watches `once` work."""

    def total(self, n: int) -> None:
        """So many photos will be handled."""

    def advance(self, n: int = 1) -> None:
        """So many more have come to their end: published, held, or gone."""
