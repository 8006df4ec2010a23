"""Checks of the state folder: that it is private, has room, and still holds the targets of what was published."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from daemon.config.settings import Settings
from daemon.doctor.findings import Finding, fault, fine, warning
from daemon.doctor.folders import space
from daemon.fs.files import account
from daemon.model import State
from daemon.state.folder import of_another_account, open_to_others
from daemon.state.history import History
from daemon.state.result_cache import ResultCache
from daemon.state.target_backup import is_exported
from daemon.state.targets import FileTargetStore


def folder(state_dir: Path) -> Iterator[Finding]:
    """Check who can open the state folder, and its free space."""
    if not state_dir.exists():
        yield fine(state_dir, "will be created at the first start")
        return
    is_open = open_to_others(state_dir)
    if is_open:
        yield warning(
            is_open[0],
            "can be opened by other users of this machine",
            f"run `chmod -R go= '{state_dir}'`; on a disk without modes, such as FAT, mount it with umask=077",
        )
    theirs = of_another_account(state_dir)
    if theirs:
        owner = account(state_dir.stat().st_uid)
        yield fault(
            theirs[0],
            f"belongs to {account(theirs[0].stat().st_uid)}, not to {owner} as the state folder does: a command was "
            "run as another account",
            f"run `sudo chown -R {owner} '{state_dir}'`, and the commands of fawkesd as {owner}",
        )
    yield space(state_dir)


def waiting(settings: Settings, user: str, history: History) -> Iterator[Finding]:
    """Report the photos that wait for somebody's decision, and what their results take up."""
    photos = [
        record.photo for record in history.in_state(State.REVIEW) if record.photo.source.outbox.user == user
    ]
    if not photos:
        return
    results = ResultCache.of(settings.state_dir, history.facts)
    mib = sum(map(results.size, photos)) >> 20
    message = f"has {len(photos)} photo(s) in review, which take up {mib} MiB of {settings.state_dir}"
    yield fine(user, f"{message}; `fawkesd approve` or `fawkesd reject` them")


def target(settings: Settings, user: str, history: History) -> Iterator[Finding]:
    """Check that a user has the target that the user's published photos carry."""
    path = FileTargetStore(settings.targets_dir).path(user)
    lost = why_lost(settings, user, history)
    if lost is not None:
        yield fault(path, lost, f"until then photos of {user} wait")
    elif history.targets.of(user) is not None:
        yield _backup(settings.targets_dir, path, user)


def _backup(targets_dir: Path, path: Path, user: str) -> Finding:
    target = f"is the target that the photos published for {user} carry"
    exported = is_exported(targets_dir, user)
    if exported:
        return fine(path, f"{target}, and was exported")
    fault = "was never exported" if exported is None else "has changed since it was exported"
    return warning(
        path,
        f"{target}, and {fault}: it cannot be made again",
        "run `fawkesd targets export FILE`, and keep FILE on another disk",
    )


def why_lost(settings: Settings, user: str, history: History) -> str | None:
    """Why a user's target cannot be used, None if it can."""
    return FileTargetStore(settings.targets_dir).objection(user, history.targets)
