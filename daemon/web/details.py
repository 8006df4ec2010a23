"""What the page says of one photo: its faces in figures, and what can be done with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from daemon.model import STAYS_DELETED, NoFacePolicy, Photo, State
from daemon.state.history import Record
from fawkes_engine import FULL_STRENGTH, MODES, STRANGER, STRONGEST_MODE, unseen

_CHOICES = {
    State.READY: frozenset({"retry"}),
    State.PUBLISHED: frozenset({"redo", "recall"}),
    State.REVIEW: frozenset({"approve", "reject", "redo"}),
    State.REJECTED: frozenset({"approve", "redo"}),
    State.RECALLED: frozenset({"redo"}),
    State.HELD: frozenset({"retry", "publish", "redo"}),  # redo: in another mode only
}


@dataclass(frozen=True, slots=True)
class Face:
    """One face in a report. number: from 0. recognisers: name -> cosine to the person, and to the target.

    words: how strong its cloak is.
    """

    number: int
    name: str
    figures: Mapping[str, Any]
    recognisers: Mapping[str, tuple[float, float]]
    words: str


@dataclass(frozen=True, slots=True)
class Redoing:
    """What the form for cloaking a photo again begins with.

    as_before: whether that is offered, too. mode: "" for as before. strength: in percent of the mode that is chosen.
    """

    as_before: bool
    modes: Sequence[str]
    mode: str
    strength: int


def faces_of(record: Record) -> list[Face]:
    """The faces of a photo; none before the engine has seen it."""
    faces = record.report["faces"] if record.report else []
    return [
        Face(
            number,
            "somebody else" if face["person"].startswith(STRANGER) else face["person"],
            face,
            {
                name: (own, face["cosine_target"].get(name, 0.0))
                for name, own in sorted(face["cosine_own"].items())
            },
            unseen.in_words(face["cosine_own"]),
        )
        for number, face in enumerate(faces)
    ]


def redoing(record: Record) -> Redoing:
    """The form for a photo."""
    is_held = record.photo.state is State.HELD  # as before, it would be held again
    strength = record.report.get("strength", FULL_STRENGTH) if record.report else FULL_STRENGTH
    return Redoing(not is_held, tuple(MODES), STRONGEST_MODE if is_held else "", strength)


def has_cloaked(photo: Photo) -> bool:
    """Whether there is a cloaked picture of it: published, or kept for review."""
    is_kept = photo.state in {State.REVIEW, State.REJECTED} and photo.result_sha256 is not None
    return photo.has_new_copy or is_kept


def choices(record: Record) -> frozenset[str]:
    """The actions that fit the state of a photo; the service decides whether one is still possible."""
    photo = record.photo
    found = _CHOICES.get(photo.state, frozenset())
    if photo.state is State.HELD and photo.no_face is not NoFacePolicy.HOLD:
        return found - {"publish"}
    if photo.state is State.REJECTED and photo.result_sha256 is None:
        return found - {"approve"}
    if photo.reason == STAYS_DELETED:
        return found - {"recall"}
    if photo.state is State.READY and not photo.attempts:
        return found - {"retry"}
    return found
