"""Folder checks of `doctor`: change events, the way into the sync folder, free space, sync tools."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from daemon.config.settings import Settings, UserSettings
from daemon.doctor.findings import Finding, fault, fine, warning
from daemon.fs.absence import absence, advice
from daemon.fs.files import DIRECTORY, explain, opened
from daemon.fs.kernel import NoEvents, no_events, watches_used_up
from daemon.fs.locks import holder
from daemon.fs.mounts import remote_below, remote_kind
from daemon.fs.noreplace import Way
from daemon.model import State
from daemon.publish.marker import MARKER_NAME, read_marker
from daemon.publish.way_in import Obstacle, way_in
from daemon.state import facts
from daemon.state.history import History
from daemon.text import printable

_SCARCE_BYTES, _NO_ROOM_BYTES = 1 << 30, 100 << 20
_LIMITS = Path("/proc/sys/fs/inotify")
_INSTANCES = 256  # twice the kernel's default
_QUEUE_EVENTS = 16384  # the kernel's default; a burst of exports overflows a smaller queue


@dataclass(frozen=True, slots=True)
class _Tool:
    """A sync tool. marks: files it leaves in its folder. ignore_file: its list of files not to upload."""

    name: str
    marks: tuple[str, ...]
    ignore_file: str


_TOOLS = (
    _Tool("Syncthing", (".stfolder",), ".stignore"),
    _Tool("Nextcloud", (".sync_*.db", "._sync_*.db", ".nextcloudsync.log"), ".sync-exclude.lst"),
    _Tool("Maestral", (".maestral.cache",), ".mignore"),
    _Tool("Dropbox", (".dropbox", ".dropbox.cache"), "rules.dropboxignore"),
)


def outboxes(settings: Settings, history: History, pid: int | None) -> Iterator[Finding]:
    """Check that new photos are noticed. pid: of the running service."""
    folders, used_up = 0, False
    missing = no_events()
    poll = f"polled every {settings.watch.poll_s:g} s"
    known = {outbox.root for outbox in history.outboxes()}
    waited_for = history.facts.all() if pid else {}
    owned = [(user, outbox) for user in settings.users for outbox in user.outboxes]
    for user, outbox in owned:
        reason = absence(outbox)
        if reason is not None:
            yield _away(user, outbox, reason, was_used=outbox in known)
            continue
        if told := waited_for.get(facts.AWAY + printable(outbox)):
            yield _not_seen(outbox, told)
        kind = remote_kind(outbox.stat().st_dev)
        if kind is None:
            folders += sum(1 for _ in os.walk(outbox))
            used_up |= watches_used_up(outbox)
            if remote := remote_below(outbox):
                what = f"holds {remote.point}, which is on {remote.kind} and sends no change events"
                yield warning(outbox, what, f"it is {poll} instead")
            elif missing is None:
                yield fine(outbox, "is on a local disk: new photos are noticed at once")
            else:
                yield fine(outbox, f"is on a local disk, but {poll}, since there are no change events")
        else:
            yield warning(outbox, f"is on {kind}, which sends no change events", f"it is {poll} instead")
        if not os.access(outbox, os.R_OK | os.X_OK):
            yield fault(
                outbox, "cannot be read", "run fawkesd as the owner of the photos, or make it readable"
            )
    for user in settings.users:
        yield from _unmounted(user, history)
    yield events(missing, poll)
    yield from limits(folders, _LIMITS, used_up=used_up)


def _away(user: UserSettings, folder: Path, reason: str, *, was_used: bool) -> Finding:
    """A missing folder: its photos wait if it was used before; if it never was, its name may be wrong."""
    if was_used:
        return fault(folder, f"{reason}; its photos wait for it", "mount its drive, or restore the folder")
    others = (*user.outboxes, user.sync)
    return warning(folder, f"{reason}, and was never used; fawkesd waits for it", advice(folder, others))


def _unmounted(user: UserSettings, history: History) -> Iterator[Finding]:
    """Name the mounts below the outboxes that are away with photos, which are not taken for removed ones."""
    for folder in history.away(user.name, (State.READY, State.HELD, State.REVIEW)):
        what = f"nothing is mounted on it any more: {folder.waiting} photo(s) of it wait or are held"
        yield warning(folder.path, what, "mount it again")


def _not_seen(folder: Path, reason: str) -> Finding:
    return fault(
        folder,
        f"the running service waits for it: {reason}",
        "if nothing is wrong with the folder, restart the service: a sandbox hides folders that appear after its start",
    )


def events(missing: NoEvents | None, poll: str) -> Finding:
    """Check that an observer of change events can be started. poll: what happens to the outboxes otherwise."""
    if missing is None:
        return fine("inotify", "gives an instance for change events")
    if missing.limit is None:
        return warning(
            "inotify", f"sends no change events: {missing.reason}", f"the outboxes are {poll} instead"
        )
    name, value = missing.limit.name, max(2 * missing.limit.value, _INSTANCES)
    what = f"is {missing.limit.value} and used up: without an inotify instance the outboxes are {poll}"
    return warning(name, what, _raise(name, value))


def limits(folders: int, directory: Path, *, used_up: bool) -> Iterator[Finding]:
    """Compare the kernel's inotify limits with the number of folders to watch.

    directory: holds the limits as files, none where the system has no inotify. used_up: the kernel refuses a further
    watch right now.
    """
    wanted = {"max_user_watches": 2 * folders, "max_queued_events": _QUEUE_EVENTS}
    for name, needed in wanted.items():
        if not (directory / name).exists():
            continue
        limit = int((directory / name).read_text())
        refused = used_up and name == "max_user_watches"
        if limit < needed or refused:
            yield warning(
                f"fs.inotify.{name}",
                f"is {limit} and used up" if refused else f"is {limit}, too low for {folders} folder(s)",
                _raise(f"fs.inotify.{name}", max(needed, 2 * limit)),
            )
        else:
            yield fine(f"fs.inotify.{name}", f"is {limit}, enough for {folders} folder(s)")


def _raise(setting: str, value: int) -> str:
    """How to raise a limit of the kernel."""
    return (
        f"run `sudo sysctl -w {setting}={value}`; to keep it, put `{setting}={value}` into "
        "/etc/sysctl.d/60-fawkesd.conf"
    )


def sync(
    user: UserSettings, history: History, pid: int | None, *, known: str | None = None
) -> Iterator[Finding]:
    """Check that photos can be published.

    pid: of the running service. known: why it publishes none, if that was told already.
    """
    reason = absence(user.sync)
    if reason is not None:
        yield _away(user, user.sync, reason, was_used=history.markers.of(user.sync) is not None)
        return
    told = history.facts.all().get(facts.PAUSED + user.name) if pid else None
    if told and told != known:
        yield _not_seen(user.sync, told)
    yield _marker(user.sync, history)
    yield _way_in(user)
    yield space(user.sync)
    other = holder(user.staging_dir)
    if other not in {None, pid}:
        advice = "give each configuration a sync folder of its own"
        yield fault(user.staging_dir, f"is in use by another fawkesd, process {other}", advice)
    yield from _tools(user)


def space(folder: Path) -> Finding:
    """Check the free space."""
    state = os.statvfs(folder)
    free = state.f_bavail * state.f_frsize
    room = f"{free >> 20} MiB are free"
    if state.f_flag & os.ST_RDONLY:
        return fault(folder, "is read-only", "remount it read-write")
    if free < _NO_ROOM_BYTES:
        return fault(folder, room, "free some space; until then photos wait")
    return warning(folder, room, "free some space soon") if free < _SCARCE_BYTES else fine(folder, room)


_MARKER_ADVICE = (
    "mount its drive, or restore the file; if this is a new disk, give `sync` a folder of another name"
)


def _marker(folder: Path, history: History) -> Finding:
    known = history.markers.of(folder)
    with opened(folder, DIRECTORY) as root:
        found = read_marker(root)
    if known is None:
        return fine(folder, "has not been used yet")
    if found == known:
        return fine(folder, f"is the folder used before: its file {MARKER_NAME} matches")
    what = "is missing" if found is None else "is not the one fawkesd wrote"
    return fault(folder, f"its file {MARKER_NAME} {what}", _MARKER_ADVICE)


def _way_in(user: UserSettings) -> Finding:
    """Try the way in as the service does; before its first start, in the folder that staging will be in."""
    staging = user.staging_dir if user.staging_dir.is_dir() else user.staging_dir.parent
    try:
        found = way_in(user.sync / MARKER_NAME, staging)
    except OSError as exc:
        return fault(
            user.sync, f"photos cannot be completed in {staging}: {explain(exc)}", "make it writable"
        )
    if isinstance(found, Obstacle):
        return fault(user.sync, found.problem, found.advice)
    if found is Way.RENAME:
        return fine(user.sync, "photos are moved in by renaming: this file system has no hard links")
    return fine(user.sync, f"is on the same mount as {staging}: photos appear complete, in one step")


def _tools(user: UserSettings) -> Iterator[Finding]:
    for folder in (user.sync, *user.sync.parents):
        for tool in _TOOLS:
            if any(any(folder.glob(mark)) for mark in tool.marks):
                yield _tool(tool, folder, user.staging_dir)


def _tool(tool: _Tool, root: Path, staging: Path) -> Finding:
    if not staging.is_relative_to(root):
        return fine(root, f"is uploaded by {tool.name}; fawkesd's staging folder is outside it")
    line = f"/{staging.relative_to(root)}"
    try:
        listed = line in (root / tool.ignore_file).read_text(errors="replace").splitlines()
    except OSError:
        listed = False
    if listed:
        return fine(root, f"is uploaded by {tool.name}, which ignores {staging}")
    return warning(
        root,
        f"is uploaded by {tool.name}, including unfinished copies in {staging}",
        f"add the line {line} to {root / tool.ignore_file}, or set `staging` to a folder outside of {root}",
    )
