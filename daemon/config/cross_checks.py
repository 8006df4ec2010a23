"""Checks across several keys of a configuration; each fault names the key to change.

No two configured folders may be the same folder or lie inside one another: an outbox inside a sync folder
would upload originals, a sync folder inside an outbox would feed results back in, nested outboxes would publish
one photo twice, and nested sync folders would mix two people's photos.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from itertools import combinations
from pathlib import Path

from daemon.config.settings import Settings
from daemon.config.yaml_source import Fault, KeyPath, dotted


class Role(Enum):
    """What a configured folder is for."""

    OUTBOX = "outbox"
    SYNC = "sync folder"
    STAGING = "staging folder"
    MODELS = "models folder"
    CERTIFICATES = "certificates folder"
    STATE = "state folder"


# Pairs that may overlap: these may be below the state folder, which is private to the service.
_MAY_OVERLAP = tuple({role, Role.STATE} for role in (Role.STAGING, Role.MODELS, Role.CERTIFICATES))


@dataclass(frozen=True, slots=True)
class Folder:
    """One configured folder. where: its key. path: resolved; it may not exist now."""

    where: KeyPath
    role: Role
    path: Path


def names(settings: Settings) -> list[Fault]:
    """Check that names differ in more than case: they become file names, also on disks that ignore case."""
    seen: dict[str, int] = {}
    faults = []
    for index, user in enumerate(settings.users):
        first = seen.setdefault(user.name.casefold(), index)
        if first != index:
            problem = f"{user.name!r} is also the name of users[{first}]; give each person their own name"
            faults.append(Fault(("users", index, "name"), problem))
    return faults


def folders(settings: Settings) -> list[Fault]:
    """Check that no two folders overlap; a fault names the later of the two keys, the state folder last."""
    named, implied = _configured(settings)
    # a default staging folder follows its sync folder: its overlaps are reported only if there are no others
    return _overlaps(named) or _overlaps([*named, *implied])


def objection(settings: Settings, path: Path) -> str | None:
    """Why an outbox, or a sync folder with its staging folder, overlaps another one as it is now; None if it does not.

    What a drive or a bind mount holds shows only once it is mounted, which may be after the configuration was loaded.
    """
    named, implied = _configured(settings)
    chosen = [*named, *implied]
    checked = {path, *(user.staging_dir for user in settings.users if user.sync == path)}
    clashes = (
        problem
        for one in chosen
        if one.path in checked
        for other in chosen
        if other is not one
        for problem in _clash(other, one)
    )
    return next(clashes, None)


def photo_folders(settings: Settings) -> Iterator[Folder]:
    """The outboxes and sync folders, in the order of the file."""
    return (folder for folder in _configured(settings)[0] if folder.role in {Role.OUTBOX, Role.SYNC})


def _configured(settings: Settings) -> tuple[list[Folder], list[Folder]]:
    """Return the folders that are named in the file, and the default staging folders."""
    named: list[Folder] = []
    implied: list[Folder] = []
    for index, user in enumerate(settings.users):
        where = ("users", index)
        named += [Folder((*where, "outboxes", n), Role.OUTBOX, path) for n, path in enumerate(user.outboxes)]
        named.append(Folder((*where, "sync"), Role.SYNC, user.sync))
        staging = Folder((*where, "staging"), Role.STAGING, user.staging_dir)
        (implied if user.staging is None else named).append(staging)
    if settings.engine.models_dir is not None:
        named.append(Folder(("engine", "models_dir"), Role.MODELS, settings.engine.models_dir))
    if settings.engine.certificates is not None:
        named.append(Folder(("engine", "certificates"), Role.CERTIFICATES, settings.engine.certificates))
    named.append(Folder(("state_dir",), Role.STATE, settings.state_dir))
    return named, implied


def _overlaps(chosen: Sequence[Folder]) -> list[Fault]:
    pairs = combinations(chosen, 2)
    return [Fault(later.where, problem) for first, later in pairs for problem in _clash(first, later)]


def _clash(first: Folder, later: Folder) -> Iterator[str]:
    inside, around = _inside(later.path, first.path), _inside(first.path, later.path)
    other = f"the {first.role.value} {dotted(first.where)} ({first.path})"
    if inside and around:
        yield f"{later.path} is the same folder as {other}; give each a folder of its own"
    elif {first.role, later.role} in _MAY_OVERLAP:
        return
    elif inside:
        yield f"{later.path} is inside {other}; choose a folder outside it"
    elif around:
        yield f"{later.path} contains {other}; choose a folder that does not contain it"


def _inside(inner: Path, outer: Path) -> bool:
    """Whether inner is outer or below it, by name or by identity (bind mounts, case-insensitive disks)."""
    around = _identities([inner, *inner.parents])
    return inner.is_relative_to(outer) or not around.isdisjoint(_identities([outer]))


def _identities(paths: Sequence[Path]) -> set[tuple[int, int]]:
    found = set()
    for path in paths:
        with suppress(OSError):  # not there yet: only its name can be compared
            stat = path.stat()
            found.add((stat.st_dev, stat.st_ino))
    return found
