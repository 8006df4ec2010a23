"""The commands by which a person decides about finished photos: approve, reject, recall, publish."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from daemon.config.settings import UserName
from daemon.control.fields import STRICT, Root
from daemon.errors import InputError
from daemon.model import Change, NoFacePolicy, Photo, Source, State
from daemon.state.ledger import Ledger
from daemon.text import printable

_PHOTOS_MAX = 1000

Ids = Annotated[
    tuple[Annotated[int, Field(strict=True, gt=0, lt=1 << 63)], ...], Field(max_length=_PHOTOS_MAX)
]
Originals = Annotated[tuple[Root, ...], Field(max_length=_PHOTOS_MAX)]


@dataclass(frozen=True, slots=True)
class OfPhotos:
    """A decision about photos, named one way or the other. ids: of rows of the ledger. photos: paths of originals."""

    __pydantic_config__ = STRICT
    ids: Ids = ()
    photos: Originals = ()


@dataclass(frozen=True, slots=True)
class Approve(OfPhotos):
    """Publish photos that wait for review or were rejected.

    result: SHA-256 (hex) of the result that was looked at, so that no other one is approved; None: whatever it is.
    """

    result: Annotated[str, Field(max_length=64)] | None = None
    order: Literal["approve"] = "approve"


@dataclass(frozen=True, slots=True)
class ApproveAll:
    """Publish every photo that waits for review. user: whose; None for everybody's.

    until: only what has waited since then, in seconds since 1970; None: whatever waits.
    """

    __pydantic_config__ = STRICT
    user: UserName | None = None
    until: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    order: Literal["approve-all"] = "approve-all"


@dataclass(frozen=True, slots=True)
class Reject(OfPhotos):
    """Keep photos away that wait for review."""

    order: Literal["reject"] = "reject"


@dataclass(frozen=True, slots=True)
class Recall(OfPhotos):
    """Remove published copies and keep their photos away."""

    order: Literal["recall"] = "recall"


@dataclass(frozen=True, slots=True)
class Publish(OfPhotos):
    """Publish photos that are held because no face was found in them."""

    order: Literal["publish"] = "publish"


Decision = Approve | ApproveAll | Reject | Recall | Publish


@dataclass(frozen=True, slots=True)
class Effects:
    """What commands do besides their changes of the ledger.

    look_again: with a photo to be read again. drop_result: of a photo, if one is kept. recall: removes the copy of a
    RECALLING photo and returns it as it is then; None where no service runs, which does it at its start.
    """

    look_again: Callable[[Source], None]
    drop_result: Callable[[Photo], None]
    recall: Callable[[Photo], Photo] | None


def decide(command: Decision, ledger: Ledger, effects: Effects) -> str:
    """Apply a decision to the ledger; return a line for each photo. Raises InputError with all of them if one fails."""
    if isinstance(command, ApproveAll):
        return f"{ledger.reviews.approve_all(command.user, command.until)} photo(s) will be published"
    if bool(command.ids) == bool(command.photos):
        raise InputError("name photos, either by their ids or by their paths")
    lines, has_failed = [], False
    for name, photo in _named(command, ledger):
        try:
            lines.append(f"{name}: {_decide(command, photo, ledger, effects)}")
        except InputError as exc:
            lines.append(f"{name} {exc}")
            has_failed = True
    if has_failed:
        raise InputError("\n".join(lines))
    return "\n".join(lines)


def _named(command: OfPhotos, ledger: Ledger) -> Iterator[tuple[str, Photo | None]]:
    for photo_id in command.ids:
        photo = ledger.reviews.find(photo_id)
        yield printable(photo.source.path) if photo else f"photo {photo_id}", photo
    for path in command.photos:
        yield printable(path), ledger.reviews.at(path)


def _decide(
    command: Approve | Reject | Recall | Publish, photo: Photo | None, ledger: Ledger, effects: Effects
) -> str:
    """Raises InputError, without the photo's name, if the command does not apply to it."""
    if photo is None:
        raise InputError("is not known")
    match command:
        case Approve():
            return _approve(photo, command.result, ledger)
        case Reject():
            return _reject(photo, ledger)
        case Recall():
            return _recall(photo, ledger, effects)
        case Publish():
            return _publish(photo, ledger)


def _approve(photo: Photo, result: str | None, ledger: Ledger) -> str:
    if photo.state is State.READY and photo.approved:
        return "is approved already, and will be published"
    if photo.state not in {State.REVIEW, State.REJECTED}:
        raise InputError(
            f"is {photo.state.value}; `approve` is for photos that wait for review or were rejected"
        )
    if photo.result_sha256 is None:
        raise InputError("was rejected before it was cloaked; `redo` cloaks it")
    if result not in {None, photo.result_sha256}:
        raise InputError("was made again meanwhile; look at it once more")
    ledger.move(photo, State.READY, Change(approved=True, not_before=0.0))
    return "will be published"


def _reject(photo: Photo, ledger: Ledger) -> str:
    if photo.state is not State.REVIEW and not (photo.state is State.READY and photo.approved):
        advice = "; `recall` takes its copy back" if photo.state is State.PUBLISHED else ""
        raise InputError(f"is {photo.state.value}; `reject` is for photos that wait for review{advice}")
    ledger.move(photo, State.REJECTED, Change(reason="rejected by hand", approved=False))
    return "stays away until `approve` or `redo`"


def _recall(photo: Photo, ledger: Ledger, effects: Effects) -> str:
    copy = ledger.reviews.copy_of(photo.source)
    if copy is None:
        raise InputError(f"is {photo.state.value}; `recall` is for published photos")
    latest = ledger.latest(photo.source)
    if latest is not None and latest.state is State.READY and latest.approved:  # it would come back
        ledger.move(latest, State.REJECTED, Change(reason="recalled by hand", approved=False))
    if copy.state is not State.RECALLING:
        copy = ledger.move(copy, State.RECALLING)
    if effects.recall is None:
        return "its copy will be removed at the next start, and stays away until `redo`"
    copy = effects.recall(copy)
    if copy.state is State.RECALLING:
        return "its copy will be removed as soon as the sync folder can be used, and stays away until `redo`"
    if copy.state is not State.RECALLED:
        raise InputError(
            "was not recalled: its copy was changed after it was published; remove that yourself"
        )
    return "its copy was removed, and stays away until `redo`"


def _publish(photo: Photo, ledger: Ledger) -> str:
    if photo.state is not State.HELD or photo.no_face is not NoFacePolicy.HOLD:
        held = " for another reason" if photo.state is State.HELD else ""
        raise InputError(
            f"is {photo.state.value}{held}; `publish` is for photos that are held because no face was found"
        )
    change = Change(no_face=NoFacePolicy.PUBLISH, attempts=0, engine_deaths=0, not_before=0.0)
    ledger.move(photo, State.READY, change)
    return f"will be published, although {photo.reason}"
