"""`fawkesd sybil`: turns photos of a consenting person into decoys that draw a tracker's guesses away from a user."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from daemon.batch.cloak import face_values
from daemon.batch.output_folder import NotWritten, Written, process
from daemon.batch.own_photos import photos_in, shared_by
from daemon.config.settings import Settings
from daemon.errors import InputError
from daemon.state.targets import FileTargetStore
from daemon.text import printable
from daemon.workers.environment import load_torch
from fawkes_engine import Decoy, EngineSettings, Refusal

if TYPE_CHECKING:
    from fawkes_engine.decoys import DecoyEngine, Likeness

LEARNED_FROM = 30  # the most of the user's own photos that are used; more would not move their mean
_BATCH_PHOTOS = 16

EXPLANATION = """\
A decoy is a photo of somebody else that face recognisers take for {user}. Posted under an account of its own, it can
draw a tracker that knows clean photos of {user} to that account's name instead.

Do not use photos of anybody who has not agreed to this: they will be posted, and to a recogniser that face will be
{user}'s. Do not use it to pass as somebody: the features must be your own. Post decoys neither under {user}'s name nor
under the real name of the person they show, which trackers would then give to photos of {user}. Nothing in the
files links the two accounts; where and when you post may.

It does not remove any photo. It works only against trackers that name a face by the photos nearest to it, and only
in part; not against one that learned {user} from another source, such as a passport. The README has the figures.
"""


class DecoyMaker(Protocol):
    """The engine interface that is used here."""

    def likeness(self, user: str, photos: Iterable[bytes]) -> Likeness:
        """Learn the user's clean face."""

    def decoys(self, photos: Sequence[bytes], like: Likeness) -> list[Decoy | Refusal]:
        """Make decoys; one result each, in order."""


@dataclass(frozen=True, slots=True)
class DecoyJob:
    """Which decoys to make.

    images: photos of consenting people. own: of the user. out: folder of the decoys. force: replace existing files.
    """

    user: str
    images: tuple[Path, ...]
    own: tuple[Path, ...]
    out: Path
    force: bool


def own_photos(settings: Settings | None, user: str, like: Path | None) -> tuple[Path, ...]:
    """Return photos of a user: those in a folder, or the originals of those published last.

    Raises InputError if there are none.
    """
    if like is not None:
        return tuple(photos_in(like)[:LEARNED_FROM])
    configured = settings.user(user) if settings else None
    known = shared_by(settings, configured, LEARNED_FROM) if settings and configured else []
    originals = tuple(photo.original for photo in known if photo.original)
    if not originals:
        raise InputError(
            f"no original of a published photo of {user} was found; name a folder of photos with --like"
        )
    return originals


def load_engine(settings: EngineSettings, targets_dir: Path) -> DecoyEngine:
    """Return the real engine; imports torch, so call this after the job has been checked."""
    load_torch()
    from fawkes_engine.decoys import DecoyEngine

    return DecoyEngine(settings, FileTargetStore(targets_dir))


def make(job: DecoyJob, engine: DecoyMaker, like: Likeness) -> Iterator[Written[Decoy] | NotWritten]:
    """Make the decoys; yield each outcome, in order, when its file is on disk. Raises as `process` does."""

    def decoys(photos: list[bytes]) -> Sequence[Decoy | Refusal]:
        return engine.decoys(photos, like)

    return process(job.images, decoys, job.out, force=job.force, batch_photos=_BATCH_PHOTOS)


def as_line(outcome: Written[Decoy] | NotWritten) -> str:
    """Return the outcome as one readable line; names are escaped."""
    if isinstance(outcome, NotWritten):
        return f"{printable(outcome.source)}: no decoy: {printable(outcome.reason)}"
    face = outcome.result.face
    likeness = ", ".join(
        f"{name} {outcome.result.cosine_before[name]:.2f} -> {after:.2f}"
        for name, after in face.cosine_target.items()
    )
    return (
        f"{printable(outcome.source)} -> {printable(outcome.output)}: DSSIM {face.dssim:.4f}, "
        f"likeness to {face.target} (1 is the same): {likeness}"
    )


def as_json(outcome: Written[Decoy] | NotWritten) -> str:
    """Return the outcome as one line of JSON."""
    values: Mapping[str, object] = {"input": str(outcome.source)}
    if isinstance(outcome, NotWritten):
        return json.dumps({**values, "refused": outcome.reason})
    decoy = outcome.result
    figures = {"face": face_values(decoy.face), "cosine_before": dict(decoy.cosine_before)}
    return json.dumps({**values, "output": str(outcome.output), **figures, "seconds": decoy.seconds})
