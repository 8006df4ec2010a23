"""A user's sync folder with the staging directory beside it, and the checks that it may be written now.

A marker file distinguishes the sync folder from the empty directory that an unmounted drive leaves behind. It
is created when a folder is first used and recorded in the ledger; from then on nothing is written where it is
missing or different.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from daemon.errors import NameRefused, PublishError, PublishFault, SyncUnavailable
from daemon.fs.absence import absence, unmounted
from daemon.fs.filenames import refusal
from daemon.fs.files import DIRECTORY, explain, opened, rights, write_all
from daemon.fs.locks import DirectoryLock
from daemon.fs.mounts import kind_of
from daemon.fs.private import restrict, where_modes_exist
from daemon.publish.marker import MARKER_NAME, read_marker, write_marker
from daemon.publish.way_in import Obstacle, apart, way_in
from daemon.state.ledger import Ledger

_STAGED_NAME = re.compile(r"[0-9a-f]{16}")

# EACCES and EIO may affect only one subfolder; the folder then pauses for a moment at each attempt at that photo.
_FOLDER_ERRNOS = frozenset(
    {
        *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO),
        *(errno.ENODEV, errno.ENXIO, errno.ENOTCONN, errno.ESTALE, errno.EXDEV),
    }
)


class SyncFolder:
    """The pair of directories one user's photos are published through."""

    def __init__(
        self,
        sync: Path,
        staging: Path,
        ledger: Ledger,
        objection: Callable[[Path], str | None] = lambda _folder: None,
    ) -> None:
        """objection: why the sync folder, or its staging folder, must not be used as it is now; None if it may be."""
        self.staging = staging
        self._sync = sync
        self._ledger = ledger
        self._objection = objection
        self._lock: DirectoryLock | None = None
        self._dev: int | None = None
        self._marker: str | None = None  # read from the ledger by `activate`

    def activate(self, need_bytes: int = 0) -> None:
        """Prove that `need_bytes` of photos can be published, and remove what an earlier run left in staging.

        Nothing is created in place of a missing folder: it may be on a drive that is not mounted.
        Raises SyncUnavailable with the reason, and AlreadyRunning.
        """
        self.release()
        try:
            with opened(self._sync, DIRECTORY) as root:
                known = self._ledger.markers.of(self._sync)
                self._check_place(root, is_new=known is None)
                self._marker = known or read_marker(root) or write_marker(root)
                self._check_marker(root)
                # before anything is written, so that a full disk is told in the same words as by `writable`
                self._check_space(root, need_bytes)
                self._prepare_staging(root)
                _prove_way_in(self._sync, self.staging)
                _prove_space(self.staging, need_bytes)
                if known is None:  # a folder that could not be used must not be waited for
                    self._ledger.markers.remember(self._sync, self._marker)
                self._dev = os.fstat(root).st_dev
        except OSError as exc:
            raise self._unavailable(exc) from exc

    def release(self) -> None:
        """Stop using the folder."""
        self._dev = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def look(self) -> None:
        """Raise SyncUnavailable if the folder is away, or another one is in its place. Cheap, and proves no more."""
        try:
            with opened(self._sync, DIRECTORY) as root:
                self._check_same(root)
        except OSError as exc:
            raise self._unavailable(exc) from exc

    @contextlib.contextmanager
    def writable(self, need_bytes: int) -> Iterator[int]:
        """A descriptor of the sync folder, checked: same device, right marker, room for `need_bytes`.

        The descriptor stays on that drive even if it is unmounted meanwhile. Raises SyncUnavailable.
        """
        with contextlib.ExitStack() as stack:
            try:
                root = stack.enter_context(opened(self._sync, DIRECTORY))
                self._check_same(root)
                self._check_place(root, is_new=False)  # it may have been moved, and a link left in its place
                if self.staging.is_symlink() or not self.staging.is_dir():
                    raise SyncUnavailable(f"the staging folder {self.staging} was removed or replaced")
                self._check_space(root, need_bytes)
            except OSError as exc:
                raise self._unavailable(exc) from exc
            yield root

    @contextlib.contextmanager
    def publishing(self, data: bytes, mtime_ns: int) -> Iterator[tuple[int, Path]]:
        """A descriptor of the sync folder as of `writable`, and a staged file of these bytes.

        Raises PublishError, also for an OSError in the with block.
        """
        with (
            self.errors("the photo cannot be published"),
            self.writable(2 * len(data)) as root,
            self._staged(data, mtime_ns) as staged,
        ):
            yield root, staged

    @contextlib.contextmanager
    def errors(self, what: str) -> Iterator[None]:
        """Turn an OSError into the PublishError for its cause: the folder, the name, or this attempt."""
        try:
            yield
        except OSError as exc:
            raise self._publish_error(what, exc) from exc

    def _publish_error(self, what: str, exc: OSError) -> PublishError:
        if exc.errno in _FOLDER_ERRNOS:
            return SyncUnavailable(f"{what}: {explain(exc)}")
        with contextlib.suppress(OSError):  # the folder may be gone by now
            if reason := refusal(exc, kind_of(self._sync.stat().st_dev)):
                return NameRefused(f"{what}: {reason}")
        return PublishFault(f"{what}: {explain(exc)}")

    @contextlib.contextmanager
    def _staged(self, data: bytes, mtime_ns: int) -> Iterator[Path]:
        """A file of these bytes in staging, on disk, for the time of a with block; then the name is gone."""
        path = self.staging / secrets.token_hex(8)
        try:
            # 0666 less the umask is the published file's mode; the directory is private.
            with path.open("xb", buffering=0) as file:
                write_all(file.fileno(), data)
                with where_modes_exist():  # else the photo beside it has none either
                    os.utime(file.fileno(), ns=(mtime_ns, mtime_ns))
                os.fsync(file.fileno())
            yield path
        finally:
            path.unlink(missing_ok=True)

    def _unavailable(self, exc: OSError) -> SyncUnavailable:
        reason = absence(self._sync)
        if reason is not None:
            return SyncUnavailable(f"{self._sync} {reason}: is its drive mounted?")
        whose = "" if os.access(self._sync, os.W_OK, effective_ids=True) else rights(self._sync, exc)
        return SyncUnavailable(f"{self._sync} cannot be used: {explain(exc)}{whose}")

    def _check_place(self, root: int, *, is_new: bool) -> None:
        place = unmounted(self._sync) if is_new else None  # later, the marker tells
        if place is not None:
            raise SyncUnavailable(f"{self._sync} is on {place}, which is not mounted")
        reason = self._objection(self._sync)
        if reason is not None:
            raise SyncUnavailable(f"{self._sync} cannot be used: {reason}")
        # What was opened may have been a link to an outbox, and the path, which was checked, a folder since then.
        if not os.path.samestat(self._sync.stat(), os.fstat(root)):
            raise SyncUnavailable(f"{self._sync} was replaced while it was looked at")

    def _check_same(self, root: int) -> None:
        if os.fstat(root).st_dev != self._dev:
            raise SyncUnavailable(f"{self._sync} is on a different device than before: is its drive mounted?")
        self._check_marker(root)

    def _check_space(self, root: int, need_bytes: int) -> None:
        space = os.fstatvfs(root)
        if space.f_flag & os.ST_RDONLY:
            raise SyncUnavailable(f"{self._sync} is read-only")
        if space.f_bavail * space.f_frsize < need_bytes:
            raise SyncUnavailable(f"{self._sync} is full: {math.ceil(need_bytes / 2**20)} MiB must be free")

    def _check_marker(self, root: int) -> None:
        found = read_marker(root)
        if found != self._marker:
            raise SyncUnavailable(
                f"{self._sync} is not the folder used before (its file {MARKER_NAME} is "
                f"{'missing' if found is None else 'a different one'}): is its drive mounted?"
            )

    def _prepare_staging(self, root: int) -> None:
        parent = self.staging.parent
        reason = absence(parent)
        if reason is not None:
            raise SyncUnavailable(
                f"{parent}, the place for the staging folder, {reason}: is its drive mounted?"
            )
        if not self.staging.exists() and parent.stat().st_dev != os.fstat(root).st_dev:
            raise _refused(apart(self.staging, self._sync))
        try:
            self.staging.mkdir(mode=0o700, exist_ok=True)
        except PermissionError as exc:
            place = f"{parent}, the place for the staging folder"
            raise SyncUnavailable(f"{place}, cannot be written to{rights(parent, exc)}") from exc
        if not stat.S_ISDIR(self.staging.lstat().st_mode):
            raise SyncUnavailable(f"the staging directory {self.staging} is not a directory")
        restrict(self.staging)
        self._lock = DirectoryLock(self.staging)
        for entry in self.staging.iterdir():
            if _STAGED_NAME.fullmatch(entry.name):
                entry.unlink()


def _prove_way_in(sync: Path, staging: Path) -> None:
    found = way_in(sync / MARKER_NAME, staging)
    if isinstance(found, Obstacle):
        raise _refused(found)


def _prove_space(staging: Path, need_bytes: int) -> None:
    # Quotas show only when space is allocated.
    probe = staging / secrets.token_hex(8)
    try:
        with opened(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as fd:
            os.posix_fallocate(fd, 0, max(need_bytes, 1))
    finally:
        probe.unlink(missing_ok=True)


def _refused(obstacle: Obstacle) -> SyncUnavailable:
    return SyncUnavailable(f"{obstacle.problem}; {obstacle.advice}")
