"""Value types shared by the modules of `daemon`, and the state machine of a photo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol

from fawkes_engine import FULL_STRENGTH, ModeName


class State(Enum):
    """The state of a photo. READY is the first: a path that never settles gets no row in the ledger."""

    READY = "ready"
    WORKING = "working"
    STAGED = "staged"
    PUBLISHING = "publishing"
    PUBLISHED = "published"
    HELD = "held"
    REVIEW = "review"
    REJECTED = "rejected"
    RECALLING = "recalling"
    RECALLED = "recalled"
    GONE = "gone"
    SUPERSEDED = "superseded"


TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.READY: frozenset({State.WORKING, State.HELD, State.REJECTED, State.GONE, State.SUPERSEDED}),
    State.WORKING: frozenset(
        {
            *(State.STAGED, State.READY, State.HELD, State.GONE, State.SUPERSEDED),
            *(State.REVIEW, State.REJECTED, State.RECALLED),
        }
    ),
    State.STAGED: frozenset({State.PUBLISHING, State.READY, State.HELD, State.SUPERSEDED}),
    State.PUBLISHING: frozenset({State.PUBLISHED, State.READY, State.HELD, State.SUPERSEDED}),
    State.PUBLISHED: frozenset({State.RECALLING, State.GONE, State.SUPERSEDED}),
    State.HELD: frozenset({State.READY, State.GONE, State.SUPERSEDED}),
    State.REVIEW: frozenset({State.READY, State.REJECTED, State.GONE, State.SUPERSEDED}),
    State.REJECTED: frozenset({State.READY, State.GONE, State.SUPERSEDED}),
    State.RECALLING: frozenset({State.RECALLED, State.PUBLISHED, State.SUPERSEDED}),
    State.RECALLED: frozenset({State.SUPERSEDED}),
    State.GONE: frozenset({State.SUPERSEDED}),
    State.SUPERSEDED: frozenset({State.RECALLING}),  # its copy is there until a newer one takes its place
}

WAITING = (State.READY, State.WORKING, State.STAGED, State.PUBLISHING)

WAS_PUBLISHED = "it was published; the original was written again"  # of a superseded row
WAS_REJECTED = "it was rejected; the original was written again"  # of a superseded row
WAS_RECALLED = "it was recalled; the original was written again"  # of a superseded row
STAYS_DELETED = "its published copy was deleted and stays deleted"  # of a published row
REDO_REASON = "to be made again by hand"  # of a superseded row: no earlier result takes the place of the work


class NoFacePolicy(Enum):
    """What happens to one photo in which no face is found."""

    HOLD = "hold"
    PUBLISH = "publish"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Identifies the content of a file without reading it. size: bytes. mtime_ns, ctime_ns: since 1970."""

    dev: int
    ino: int
    size: int
    mtime_ns: int
    ctime_ns: int

    def same_content(self, other: Snapshot) -> bool:
        """Whether a scan treats both as the same content.

        dev and ctime_ns are ignored: a drive gets a new device number at each mount, and chmod changes ctime.
        """
        return (self.ino, self.size, self.mtime_ns) == (other.ino, other.size, other.mtime_ns)


@dataclass(frozen=True, slots=True)
class Outbox:
    """A watched folder. root: its real path (events never arrive for a root that is a symlink).

    ignore: gitignore patterns of paths below root to ignore.
    """

    user: str
    root: Path
    ignore: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Source:
    """The path of a photo. relative: below the outbox; bytes that are not UTF-8 are surrogate escapes."""

    outbox: Outbox
    relative: Path

    @property
    def path(self) -> Path:
        """The absolute path."""
        return self.outbox.root / self.relative


@dataclass(frozen=True, slots=True)
class Settled:
    """A photo whose file has stopped changing; it may become a row of the ledger."""

    source: Source
    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class Output:
    """A published file, or one to be published. relative: below the sync folder. sha256: hex of its bytes."""

    relative: Path
    sha256: str


@dataclass(frozen=True, slots=True)
class EarlierOutput:
    """What was published for the same bytes before. source: what it was made from. report: JSON.

    may_be_outdated: another engine or other options made it, so that it tells only whether it was deleted.
    """

    source: Source
    output: Output
    report: str
    may_be_outdated: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """How a person wants one photo cloaked, whatever the configuration says; fields as in `fawkes_engine.Request`."""

    mode: ModeName
    strength: int = FULL_STRENGTH


@dataclass(frozen=True, slots=True)
class Photo:
    """One row of the ledger: one content (generation, counted from 1) of one source path.

    attempts: transient failures so far. alone: process it in a batch of its own, since an engine died with it.
    engine_deaths: how often one died on it alone. input_sha256: hex, once its bytes were read. output: from
    PUBLISHING on. options: what determines its result besides its bytes, its user and the engine, as JSON.
    result_sha256: hex, of the result that waits for review, or did. approved: that result may be published. no_face:
    what happens if no face is found, if not what the settings say; HOLD once it was held for that.
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
    options: str | None = None
    result_sha256: str | None = None
    approved: bool = False
    no_face: NoFacePolicy | None = None

    @property
    def has_new_copy(self) -> bool:
        """Whether it is published, and did not stay deleted."""
        return self.state is State.PUBLISHED and self.reason != STAYS_DELETED


@dataclass(frozen=True, slots=True)
class Change:
    """The columns that a state change writes besides the state; None keeps a column, but clears the reason.

    not_before: seconds since 1970 before which the photo is not retried. report: JSON. choice: for later rows of the
    photo. Others as in `Photo`.
    """

    reason: str | None = None
    input_sha256: str | None = None
    output: Output | None = None
    attempts: int | None = None
    alone: bool | None = None
    engine_deaths: int | None = None
    not_before: float | None = None
    report: str | None = None
    options: str | None = None
    choice: Choice | None = None
    result_sha256: str | None = None
    approved: bool | None = None
    no_face: NoFacePolicy | None = None


class Unfinished(Enum):
    """Why a file in an outbox is not taken yet."""

    CHANGING = "it is still changing"
    OPEN = "another program has it open for writing"
    CUT = "its end is missing"
    ZEROS = "it ends in zeros that may not be written yet"


class PauseReason(Enum):
    """Why the photos of an outbox are not processed."""

    BY_HAND = "paused by hand"
    REMOVED = "no longer in the configuration"


class QueueOrder(Enum):
    """Which waiting photo goes first, by modification time."""

    NEWEST = "newest"
    OLDEST = "oldest"


@dataclass(frozen=True, slots=True)
class HeldPhoto:
    """A photo that was not published and will not be without user action. reason: a message for users."""

    user: str
    path: Path
    reason: str


class Progress(Protocol):
    """Receives the progress of `once`."""

    def total(self, n: int) -> None:
        """Set the number of photos."""

    def advance(self, n: int = 1) -> None:
        """Count n more photos as done: published, held, or gone."""

    def doing(self, words: str) -> None:
        """Show what is being done."""
