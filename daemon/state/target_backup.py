"""Backups of the users' targets: one file, encrypted with a passphrase.

It is in the format of age (age-encryption.org) and holds JSON, so `age -d` opens it without fawkesd. Strangers are not
in it: they get a new target when they are seen again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import count
from pathlib import Path

from daemon.errors import InputError, TargetError
from daemon.fs import atomic
from daemon.state.fixed_targets import FixedTargets
from daemon.state.history import reading
from daemon.state.targets import FileTargetStore, parse
from daemon.text import printable
from fawkes_engine import STRANGER, Target

_KIND = "fawkesd targets"
_VERSION = 1
_RECORD = ".exported"  # beside the targets: person -> digest of what the last backup holds


def read_all(targets_dir: Path) -> dict[str, Target]:
    """Return every user's target by name. Raises TargetError for a damaged one, InputError if there is none."""
    store = FileTargetStore(targets_dir)
    users = [person for person in store.people() if not person.startswith(STRANGER)]
    targets = {user: target for user in users if (target := store.get(user))}
    if not targets:
        raise InputError(f"{targets_dir} holds no target yet; a user gets one with the first photo")
    return targets


def encrypt(targets: Mapping[str, Target], passphrase: str) -> bytes:
    """Return a backup; takes a second, so that guessing the passphrase is slow."""
    import pyrage

    return bytes(pyrage.passphrase.encrypt(as_json(targets), passphrase))


def decrypt(data: bytes, passphrase: str) -> dict[str, Target]:
    """Return the targets of a backup by user. Raises InputError."""
    import pyrage

    try:
        content = pyrage.passphrase.decrypt(data, passphrase)
    except pyrage.DecryptError as exc:
        raise InputError(
            "the file cannot be decrypted: the passphrase is another one, or the file is damaged"
        ) from exc
    return from_json(content)


def as_json(targets: Mapping[str, Target]) -> bytes:
    """Return what a backup holds."""
    fields = {user: asdict(target) for user, target in targets.items()}
    return json.dumps({"kind": _KIND, "version": _VERSION, "targets": fields}).encode()


def from_json(data: bytes) -> dict[str, Target]:
    """Read what a backup holds. Raises InputError."""
    try:
        content = json.loads(data)
    except ValueError:
        content = None
    if not isinstance(content, dict) or content.get("kind") != _KIND:
        raise InputError("the file is encrypted, but is no backup of targets")
    if content.get("version") != _VERSION:
        raise InputError(f"the backup has version {content.get('version')}; install a newer fawkesd")
    try:
        targets = {user: parse(json.dumps(fields)) for user, fields in content["targets"].items()}
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        raise InputError(f"the backup holds a target that cannot be read ({exc})") from exc
    if not all(map(_is_user, targets)):
        raise InputError("the backup holds a name that no user can have")
    return targets


def restore(targets_dir: Path, targets: Mapping[str, Target]) -> list[str]:
    """Durably write the targets that are missing or damaged; return whose.

    A damaged file is kept beside the restored one, as NAME.json.damaged. Raises TargetError, and writes nothing, if
    one would take the place of another target, or of one that cannot be read now.
    """
    store = FileTargetStore(targets_dir)
    with store.alone(), reading(targets_dir.parent) as history:
        faults = [
            fault for user in targets for fault in _conflicts(store, history.targets, user, targets[user])
        ]
        if faults:
            raise TargetError("nothing was imported:\n" + "\n".join(faults))
        missing = [user for user, target in targets.items() if not store.has(user, target.identity)]
        for user in missing:
            if store.path(user).exists():
                store.path(user).rename(_aside(store.path(user)))
            store.restore(user, targets[user])
    return missing


def note_export(targets_dir: Path, targets: Mapping[str, Target]) -> None:
    """Record what a backup holds, for `is_exported`. Raises OutputError."""
    record = {user: _digest(target) for user, target in targets.items()}
    atomic.write(targets_dir / _RECORD, json.dumps(record).encode(), replace=True, mode=0o600)


def is_exported(targets_dir: Path, user: str) -> bool | None:
    """Whether the last backup holds a user's target as it is now; None if it holds none of this user.

    Only what cannot be made again counts: the identity, and the mean face, which grows with the first 16 photos.
    """
    try:
        record = json.loads((targets_dir / _RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    target = FileTargetStore(targets_dir).get(user)
    exported = record.get(user) if isinstance(record, dict) else None
    return None if exported is None or target is None else bool(exported == _digest(target))


def _aside(path: Path) -> Path:
    """A free name for a damaged file."""
    names = (path.with_suffix(f".json.damaged{number or ''}") for number in count())
    return next(name for name in names if not name.exists())


def _conflicts(store: FileTargetStore, published: FixedTargets, user: str, target: Target) -> Iterator[str]:
    path, identity = store.path(user), target.identity
    fixed = published.of(user)
    if fixed not in {None, identity}:
        yield f"the photos published for {user} carry {fixed}, and the backup has {identity}"
    if _is_unreadable(path):
        yield f"{printable(path)} cannot be read; see `fawkesd doctor`"
        return
    found = _intact(store, user)
    if found is not None and found.identity != identity:
        yield (
            f"{printable(path)} names {found.identity}, and the backup has {identity} for {user}; move that file away "
            "if the backup is right"
        )
    for other in store.people():
        owned = _intact(store, other)
        if other != user and owned is not None and owned.identity == identity:
            yield f"{identity}, which the backup has for {user}, is the target of {other} here"


def _is_unreadable(path: Path) -> bool:
    """Whether there is a file of which nobody can tell whether it is damaged."""
    try:
        path.read_bytes()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _intact(store: FileTargetStore, person: str) -> Target | None:
    with contextlib.suppress(TargetError):
        return store.get(person)
    return None


def _is_user(name: str) -> bool:
    return (
        bool(name) and Path(name).name == name and not name.startswith((".", STRANGER)) and name.isprintable()
    )


def _digest(target: Target) -> str:
    lasting = [target.identity, asdict(target)["mean_faces"]]
    return hashlib.sha256(json.dumps(lasting, sort_keys=True).encode()).hexdigest()
