"""Resolves a typed path or user name to photos, outboxes and targets."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from daemon.config.settings import Settings, UserSettings
from daemon.errors import InputError
from daemon.model import Outbox, Source
from daemon.state.history import History, Record, reading
from daemon.state.targets import FileTargetStore
from daemon.text import printable


def absolute(path: Path) -> Path:
    """Make a path absolute as in the ledger: symlinks in folders are resolved, the file name is kept."""
    whole = path.expanduser().absolute()
    return Path(os.path.realpath(whole.parent)) / whole.name


def sync_folder_of(settings: Settings, place: Path) -> UserSettings | None:
    """The user whose sync folder contains an absolute path, or None."""
    return next((user for user in settings.users if place.is_relative_to(user.sync)), None)


def source_at(settings: Settings, history: History, place: Path) -> Source | None:
    """The photo at an absolute path: in a present or former outbox, or published in a sync folder.

    None for a file in a sync folder that fawkesd did not publish. Raises InputError for any other path.
    """
    user = sync_folder_of(settings, place)
    if user is not None:
        records = history.of_output(user.name, place.relative_to(user.sync))
        return records[0].photo.source if records else None
    for outbox in [*outboxes(settings), *history.outboxes()]:
        if place == outbox.root:
            raise InputError(f"{printable(place)} is the outbox itself; name a photo in it")
        if place.is_relative_to(outbox.root):
            return Source(outbox, place.relative_to(outbox.root))
    raise InputError(f"{printable(place)} is not in any outbox or sync folder; check the path")


def source_behind_link(settings: Settings, path: Path) -> Source | None:
    """The photo at a typed path, by its name below an outbox, where a symlink in it leads out of every folder.

    None for any other path.
    """
    configured = outboxes(settings)
    folders = [*(outbox.root for outbox in configured), *(user.sync for user in settings.users)]
    if any(absolute(path).is_relative_to(folder) for folder in folders):
        return None
    whole = path.expanduser().absolute()
    for folder in whole.parents:
        relative = whole.relative_to(folder)
        for outbox in configured:
            if ".." not in relative.parts and os.path.realpath(folder) == str(outbox.root):
                return Source(outbox, relative)
    return None


def sources_at(settings: Settings, paths: list[Path]) -> list[Source]:
    """The photos at typed paths. Raises InputError if one of them is not a photo of fawkesd."""
    found = []
    with reading(settings.state_dir) as history:
        for path in paths:
            source = source_at(settings, history, absolute(path))
            if source is None:
                raise InputError(
                    f"{printable(path)} was not published by fawkesd; name the photo in the outbox"
                )
            found.append(source)
    return found


def newest_at(settings: Settings, path: Path | None, limit: int) -> list[Record]:
    """The most recently changed rows of one photo, of a folder, or of everything.

    Raises InputError for a place that no photo of fawkesd can be in.
    """
    with reading(settings.state_dir) as history:
        if path:
            _check_place(settings, history, absolute(path))
        is_match = _is_at(settings, absolute(path)) if path else None
        return list(islice(filter(is_match, history.newest()), limit))


def _check_place(settings: Settings, history: History, place: Path) -> None:
    roots = [one.root for one in (*outboxes(settings), *history.outboxes())]
    folders = [*roots, *(user.sync for user in settings.users)]
    places = {place, place.resolve()}
    if not any(
        one.is_relative_to(folder) or folder.is_relative_to(one) for one in places for folder in folders
    ):
        raise InputError(f"{printable(place)} is not in any outbox or sync folder; check the path")


def outboxes(settings: Settings) -> list[Outbox]:
    """Every configured outbox."""
    return [Outbox(user.name, outbox, user.ignore) for user in settings.users for outbox in user.outboxes]


def origin_of(settings: Settings, user: str, position: int | None) -> str:
    """Where an ignore pattern comes from: the key of the configuration; "built in" for position None."""
    if position is None:
        return "built in"
    index = next(index for index, one in enumerate(settings.users) if one.name == user)
    return f"users[{index}].ignore[{position}]"


def outboxes_of(settings: Settings, whose: str | None) -> list[Outbox]:
    """The outboxes that a folder's path or a user's name stands for; all of them for None.

    Raises InputError.
    """
    configured = outboxes(settings)
    if whose is None:
        return configured
    found = [one for one in configured if one.user == whose or one.root == Path(whose).expanduser().resolve()]
    if not found:
        raise InputError(
            f"{printable(whose)} is neither an outbox nor a user in the configuration; check its spelling"
        )
    return found


def meaning_of_new_target(settings: Settings, user: str) -> str:
    """What a new target for a user would mean. Raises InputError if the user's target is not lost."""
    store = FileTargetStore(settings.targets_dir)
    with reading(settings.state_dir) as history:
        fixed, objection = history.targets.of(user), store.objection(user, history.targets)
    if fixed is None:
        raise InputError(f"no target of {user} is lost: nothing with one was published yet")
    if objection is None:
        raise InputError(f"the target of {user} is in place, and stays")
    return (
        f"The photos published for {user} keep their target, {fixed}; those published from now on get another one. "
        f"Trackers then learn two faces for {user}, and what hides {user} is weaker. It cannot be undone.\n"
        f"If there is a backup of {printable(store.path(user))}, restore that instead."
    )


def _is_at(settings: Settings, place: Path) -> Callable[[Record], bool]:
    user = sync_folder_of(settings, place)
    if user is None:
        return lambda record: record.photo.source.path.is_relative_to(place)

    def is_output(record: Record) -> bool:
        output = record.photo.output
        if output is None or record.photo.source.outbox.user != user.name:
            return False
        return (user.sync / output.relative).is_relative_to(place)

    return is_output
