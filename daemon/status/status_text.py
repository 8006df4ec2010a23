"""Formats the output of `fawkesd status` and `fawkesd once` as text or JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from daemon.text import duration, moment, printable

if TYPE_CHECKING:
    from daemon.model import HeldPhoto
    from daemon.state.history import PausedFolder
    from daemon.state.nodes import SeenNode
    from daemon.state.unfinished import UnfinishedFile
    from daemon.status.status import Batch, Status, Unpublished, UserStatus

_PLACES = 3


def status_lines(status: Status) -> Iterator[str]:
    """Yield a summary line, then one line per user, pause, unfinished file and held photo; names are escaped."""
    users = status.users
    today = sum(user.published_today for user in users)
    held = sum(len(user.held) for user in users)
    eta_s = sum(user.eta_s or 0.0 for user in users)  # users share the engines: their waiting times add up
    waiting = _waiting(sum(user.waiting for user in users), eta_s)
    review = sum(user.review for user in users)
    if review:
        waiting += f", {review} in review"
    is_usual = not status.running or status.watching == "natively"
    watching = "" if is_usual else f", watching: {printable(status.watching)}"
    quiet = f", {quiet_words(status.quiet_until)}" if status.quiet_until else ""
    unfinished = sum(len(user.unfinished) for user in users)
    if unfinished:
        waiting += f", {unfinished} not finished by {'its writer' if unfinished == 1 else 'their writers'}"
    away = ", ".join(printable(folder.path) for folder in status.waits_for)
    waits = f", waits for {away}" if away else ""
    yield (
        f"{today} published today, {waiting}, {held} held{watching}, engine: {printable(status.engine)}{quiet}{waits}"
    )
    yield from map(_batch_line, status.in_work)
    yield from map(_node_line, status.nodes)
    paused = {str(folder.path) for user in users for folder in user.paused}
    for folder in status.waits_for:
        if folder.path not in paused:  # else a line below says why
            yield f"  waits for {printable(folder.path)}: {printable(folder.reason)}"
    for user in users:
        yield _user_line(user)
        yield from map(paused_line, user.paused)
        yield from map(_unfinished_line, user.unfinished)
        yield from map(held_line, user.held)
        if user.review:
            yield f"  {review_words(user.review)}"
        if user.rejected:
            yield f"  {user.rejected} rejected: `fawkesd held` lists them"
        if user.recalling:
            yield f"  {user.recalling} copies still to be removed, as soon as the sync folder can be used"
        for ignored in user.ignored:
            yield f"  in {printable(ignored.outbox)}, {printable(ignored_words(ignored))}"


def status_json(status: Status) -> str:
    """Return the whole status as JSON."""
    return json.dumps(asdict(status), default=str, indent=2)


def quiet_words(until: str) -> str:
    """Return a note that no photo is started now. until: a local time of day."""
    return f"quiet hours until {until}"


def review_words(photos: int) -> str:
    """Return how many photos wait for review, and what to do about it."""
    return f"{photos} in review: `fawkesd held` lists them, `fawkesd approve` publishes them"


def share_words(doing: str, share: float | None) -> str:
    """Return how far a batch is. doing, share: as of `state.in_work.InWork`."""
    return doing if share is None else f"{doing}, {share:.0%}"


def held_line(photo: HeldPhoto) -> str:
    """Return a held photo and its reason as one line."""
    return f"  held: {printable(photo.path)}: {printable(photo.reason)}"


def paused_line(folder: PausedFolder) -> str:
    """Return a paused folder, the reason and how many photos wait in it as one line."""
    until = f" until {moment(folder.until)}" if folder.until is not None else ""
    return f"  paused: {printable(folder.path)}{until}: {printable(folder.reason)} ({folder.waiting} waiting)"


def ignored_words(ignored: Unpublished) -> str:
    """Return how many photos a pattern ignores, where, and where the pattern comes from, or how many videos there are.

    Not escaped.
    """
    what = ("video" if ignored.are_videos else "photo") + ("s" if ignored.photos != 1 else "")
    count = f"{'' if ignored.is_all else 'at least '}{ignored.photos} {what}"
    places = ", ".join(ignored.places[:_PLACES]) + (", ..." if len(ignored.places) > _PLACES else "")
    if ignored.are_videos:
        return f"{count} not protected, never published: {places}"
    return f"{count} ignored by name: {places} (pattern {ignored.pattern}, {ignored.origin})"


def _batch_line(batch: Batch) -> str:
    names = ", ".join(printable(path.name) for path in batch.photos[:_PLACES])
    more = f" and {len(batch.photos) - _PLACES} more" if len(batch.photos) > _PLACES else ""
    return f"  in work: {names}{more} ({share_words(batch.doing, batch.share)})"


def _node_line(node: SeenNode) -> str:
    seen = f"last seen {moment(node.seen_at)}"
    if node.refused is not None:
        return f"  node {printable(node.name)}: refused: {printable(node.refused)}; {seen}"
    speed = f"{node.photos_per_minute:g} photos a minute, " if node.photos_per_minute else ""
    return f"  node {printable(node.name)} on {printable(node.device)}: {node.in_work} in work, {speed}{seen}"


def _unfinished_line(file: UnfinishedFile) -> str:
    taken = f"; taken as it is at {moment(file.taken_at)}" if file.taken_at is not None else ""
    return f"  not finished by its writer: {printable(file.path)}: {file.reason}{taken}"


def _waiting(photos: int, eta_s: float) -> str:
    return f"{photos} waiting (about {duration(eta_s)})" if photos and eta_s else f"{photos} waiting"


def _user_line(user: UserStatus) -> str:
    waiting = _waiting(user.waiting, user.eta_s or 0.0)
    return f"{user.name}: {user.published} published, {waiting}, {len(user.held)} held"
