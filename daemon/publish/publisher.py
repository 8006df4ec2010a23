"""Publishes a verified photo to the sync folder: complete, once, and never over a file that is not fawkesd's.

    staged file -> fsync -> hash -> ledger: intent -> place (or rename over fawkesd's own) -> fsync -> ledger

A file is placed by a hard link, or by a rename that never replaces a file where the file system has no links.

A crash at any point leaves no partial file: the name appears with the whole content, and afterwards `settle`
determines from the file's hash whether it had appeared. The copy that a renamed photo had under its former name is
removed after the first fsync and before the last entry of the ledger, by `settle` too.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from daemon.errors import PublishFault
from daemon.fs.filenames import candidates, is_candidate, output_name, twin_key, twin_keys
from daemon.fs.files import descend, read_exactly, sha256_at, sync_directory
from daemon.fs.noreplace import place
from daemon.model import STAYS_DELETED, Change, EarlierOutput, Output, Photo, State
from daemon.publish import renames
from daemon.publish.subfolders import NO_REAL_DIRECTORY, enter
from daemon.publish.sync_folder import SyncFolder
from daemon.state.fixed_targets import targets_in
from daemon.state.ledger import Ledger
from daemon.text import printable
from fawkes_engine import Protected


@dataclass(frozen=True, slots=True)
class _Content:
    """What is published. report: JSON. reason: where it is from, for users; None: from the engine.

    targets: those that people get by it, person -> identity; empty for a copy of what was published before.
    """

    data: bytes
    sha256: str
    suffix: str
    report: str
    reason: str | None = None
    targets: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Slot:
    """Where an output goes. replaces: an earlier output of the same photo is there and is replaced."""

    directory: int
    output: Output
    replaces: bool


class Publisher:
    """Publishes one user's photos."""

    def __init__(self, folder: SyncFolder, ledger: Ledger, *, moves_renamed: bool = True) -> None:
        """moves_renamed: whether the copy of a renamed photo is removed once it is published under the new name."""
        self._folder = folder
        self._ledger = ledger
        self._moves_renamed = moves_renamed

    def publish(self, photo: Photo, protected: Protected) -> Photo:
        """Publish the result of a WORKING photo; returns it, PUBLISHED with its output, once that is on disk.

        Raises PublishError: the sync folder is then unchanged, or has the whole file (which a retry replaces),
        and the photo is in any state from WORKING to PUBLISHING.
        """
        report = json.dumps(dataclasses.asdict(protected.report))
        content = _Content(
            protected.data,
            protected.sha256,
            protected.suffix,
            report,
            targets=targets_in(protected.report),
        )
        return self._publish(photo, content)

    def reuse(self, photo: Photo, earlier: EarlierOutput) -> Photo | None:
        """Publish a WORKING photo as an earlier output of the same bytes: its own stays, another's is copied.

        An own one that was deleted stays deleted. None if that output is no longer what was recorded, and then
        nothing has changed. Raises as `publish`.
        """
        if earlier.may_be_outdated:
            return self._leave_deleted(photo, earlier)
        if earlier.source == photo.source:
            return self._adopt(photo, earlier)
        output = earlier.output
        data = self._read(output)
        if data is None:
            return None
        reason = f"the same photo was published as {printable(output.relative)}; its copy was used"
        content = _Content(data, output.sha256, output.relative.suffix, earlier.report, reason)
        return self._publish(photo, content)

    def settle(self, photo: Photo) -> Photo:
        """Repair a photo found PUBLISHING after a crash: PUBLISHED if it had reached the sync folder, else READY.

        Raises PublishError, and then the photo stays as it is.
        """
        assert photo.output is not None, "PUBLISHING is entered with an output"
        with self._reading() as root:
            if _sha256_beneath(root, photo.output.relative) != photo.output.sha256:
                return self._ledger.move(photo, State.READY)
            return self._finish(photo, root)

    def _publish(self, photo: Photo, content: _Content) -> Photo:
        with self._folder.publishing(content.data, photo.snapshot.mtime_ns) as (root, staged):
            _expect_hash(staged, content.sha256)
            self._stage(photo, content.report)
            with enter(root, photo.source.relative.parent) as (directory, parent):
                slot = self._slot(photo, content, directory, parent)
                for person, identity in content.targets.items():
                    self._ledger.targets.fix(person, identity)
                change = Change(output=slot.output, reason=content.reason)
                publishing = self._ledger.move(photo, State.PUBLISHING, change)
                _put(staged, slot)
            return self._finish(publishing, root)

    def _adopt(self, photo: Photo, earlier: EarlierOutput) -> Photo | None:
        with self._reading() as root:
            if _sha256_beneath(root, earlier.output.relative) != earlier.output.sha256:
                return None
            self._stage(photo, earlier.report)
            return self._finish(
                self._ledger.move(photo, State.PUBLISHING, Change(output=earlier.output)), root
            )

    def _leave_deleted(self, photo: Photo, earlier: EarlierOutput) -> Photo | None:
        with self._reading() as root:
            if _sha256_beneath(root, earlier.output.relative) is not None:
                return None
        self._stage(photo, earlier.report)
        change = Change(output=earlier.output, reason=STAYS_DELETED)
        return self._ledger.published(self._ledger.move(photo, State.PUBLISHING, change), None)

    def _stage(self, photo: Photo, report: str) -> None:
        change = Change(report=report, input_sha256=photo.input_sha256, options=photo.options)
        self._ledger.move(photo, State.STAGED, change)

    def _finish(self, photo: Photo, root: int) -> Photo:
        """Make a PUBLISHING photo whose copy is in place PUBLISHED, and remove its copy under a former name."""
        former = self._former(photo)
        if former is not None and not renames.vacate(former, photo, root):
            former = None
        return self._ledger.published(photo, former)

    def _former(self, photo: Photo) -> Photo | None:
        if not self._moves_renamed or photo.input_sha256 is None:
            return None
        published = self._ledger.published_from(photo.source.outbox.user, photo.input_sha256)
        return renames.former(photo, published)

    def _read(self, output: Output) -> bytes | None:
        with self._folder.writable(0) as root:
            try:
                with descend(root, output.relative.parent) as directory:
                    return read_exactly(output.relative.name, directory, output.sha256)
            except OSError:  # missing or not readable: the engine can make it again
                return None

    @contextlib.contextmanager
    def _reading(self) -> Iterator[int]:
        with self._folder.errors("the sync folder cannot be read"), self._folder.writable(0) as root:
            yield root

    def _slot(self, photo: Photo, content: _Content, directory: int, parent: Path) -> _Slot:
        wanted = output_name(photo.source.relative.name, content.suffix)
        kept = self._kept(photo, wanted, directory, parent)
        if kept is not None:
            return _Slot(directory, Output(parent / kept, content.sha256), replaces=True)
        former = self._former(photo)
        twins = twin_keys(os.listdir(directory))
        for name in candidates(wanted):
            output = Output(parent / name, content.sha256)
            if _is_taken(name, directory):
                own = former.output if former else None
                if own and own.relative == output.relative and sha256_at(name, directory) == own.sha256:
                    return _Slot(directory, output, replaces=True)
            elif twin_key(name) not in twins:
                return _Slot(directory, output, replaces=False)
        raise AssertionError("candidates never end")

    def _kept(self, photo: Photo, wanted: str, directory: int, parent: Path) -> str | None:
        """The name that the photo's own copy has now, though an earlier one may have become free since."""
        names = {
            output.relative.name
            for output in self._ledger.own_outputs(photo.source)
            if output.relative.parent == parent
            and is_candidate(output.relative.name, wanted)
            and sha256_at(output.relative.name, directory) == output.sha256
        }
        return min(names, key=lambda name: (len(name), name), default=None)


def _expect_hash(staged: Path, sha256: str) -> None:
    with staged.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise PublishFault("the staged file differs from the one that was verified")


def _is_taken(name: str, directory: int) -> bool:
    """Whether the file system finds a file by this name, which may be listed in another case or (FAT) longer."""
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _put(staged: Path, slot: _Slot) -> None:
    name = slot.output.relative.name
    if slot.replaces:
        os.rename(staged, name, dst_dir_fd=slot.directory)
    else:
        place(staged, name, slot.directory)
    sync_directory(slot.directory)


def _sha256_beneath(root: int, relative: Path) -> str | None:
    try:
        with descend(root, relative.parent) as directory:
            return sha256_at(relative.name, directory)
    except OSError as exc:
        if exc.errno in {errno.ENOENT, *NO_REAL_DIRECTORY}:
            return None
        raise
