"""Publishes a verified photo to the sync folder: complete, once, and never over a file that is not fawkesd's.

    staged file -> fsync -> hash -> ledger: intent -> link (or rename over fawkesd's own) -> fsync -> ledger

A crash at any point leaves no partial file: the name appears with the whole content, and afterwards `settle`
determines from the file's hash whether it had appeared.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from daemon.errors import PublishFault
from daemon.fs.filenames import candidates, output_name, twin_key, twin_keys
from daemon.fs.files import DIRECTORY, descend, sha256_at
from daemon.model import Change, EarlierOutput, Output, Photo, State
from daemon.publish.sync_folder import SyncFolder, publish_errors
from daemon.state.ledger import Ledger
from fawkes_engine import Protected

_NO_REAL_DIRECTORY = frozenset({errno.ENOTDIR, errno.ELOOP})


@dataclass(frozen=True, slots=True)
class _Slot:
    """Where an output goes. replaces: an earlier output of the same photo is there and is replaced."""

    directory: int
    output: Output
    replaces: bool


class Publisher:
    """Publishes one user's photos."""

    def __init__(self, folder: SyncFolder, ledger: Ledger) -> None:
        self._folder = folder
        self._ledger = ledger

    def publish(self, photo: Photo, protected: Protected) -> Photo:
        """Publish the result of a WORKING photo; returns it, PUBLISHED with its output, once that is on disk.

        Raises PublishError: the sync folder is then unchanged, or has the whole file (which a retry replaces),
        and the photo is in any state from WORKING to PUBLISHING.
        """
        with self._folder.publishing(protected.data, photo.snapshot.mtime_ns) as (root, staged):
            _expect_hash(staged, protected.sha256)
            report = json.dumps(dataclasses.asdict(protected.report))
            self._ledger.move(photo, State.STAGED, Change(report=report, input_sha256=photo.input_sha256))
            with _enter(root, photo.source.relative.parent) as (directory, parent):
                slot = self._slot(photo, protected, directory, parent)
                self._ledger.move(photo, State.PUBLISHING, Change(output=slot.output))
                _put(staged, slot)
        return self._ledger.move(photo, State.PUBLISHED)

    def adopt(self, photo: Photo, made: EarlierOutput) -> Photo | None:
        """Reuse an earlier output as that of a WORKING photo, now PUBLISHED; None if that output is not intact.

        Raises PublishError, and then the photo is unchanged.
        """
        if not self._is_intact(made.output):
            return None
        change = Change(report=made.report, input_sha256=photo.input_sha256)
        self._ledger.move(photo, State.STAGED, change)
        self._ledger.move(photo, State.PUBLISHING, Change(output=made.output))
        return self._ledger.move(photo, State.PUBLISHED)

    def settle(self, photo: Photo) -> Photo:
        """Repair a photo found PUBLISHING after a crash: PUBLISHED if it had reached the sync folder, else READY.

        Raises PublishError, and then the photo stays as it is.
        """
        assert photo.output is not None, "PUBLISHING is entered with an output"
        done = self._is_intact(photo.output)
        return self._ledger.move(photo, State.PUBLISHED if done else State.READY)

    def _is_intact(self, output: Output) -> bool:
        with publish_errors("the sync folder cannot be read"), self._folder.writable(0) as root:
            return _sha256_beneath(root, output.relative) == output.sha256

    def _slot(self, photo: Photo, protected: Protected, directory: int, parent: Path) -> _Slot:
        own = set(self._ledger.own_outputs(photo.source))
        taken = set(os.listdir(directory))
        twins = twin_keys(taken)
        for name in candidates(output_name(photo.source.relative.name, protected.suffix)):
            output = Output(parent / name, protected.sha256)
            if name in taken:
                found = sha256_at(name, directory)
                if found is not None and Output(output.relative, found) in own:
                    return _Slot(directory, output, replaces=True)
            elif twin_key(name) not in twins:
                return _Slot(directory, output, replaces=False)
        raise AssertionError("candidates never end")


def _expect_hash(staged: Path, sha256: str) -> None:
    with staged.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise PublishFault("the staged file differs from the one that was verified")


def _put(staged: Path, slot: _Slot) -> None:
    name = slot.output.relative.name
    if slot.replaces:
        os.rename(staged, name, dst_dir_fd=slot.directory)
    else:
        os.link(staged, name, dst_dir_fd=slot.directory, follow_symlinks=False)  # fails if the name is taken
    os.fsync(slot.directory)


@contextlib.contextmanager
def _enter(root: int, relative: Path) -> Iterator[tuple[int, Path]]:
    """A descriptor of the directory for `relative`, created if missing, and its path below the root.

    A component whose name is taken by a file, a symlink or another spelling gets a number, as files do.
    """
    with contextlib.ExitStack() as stack:
        directory, path = root, Path()
        for part in relative.parts:
            name, directory = _subdirectory(directory, part)
            stack.callback(os.close, directory)
            path /= name
        yield directory, path


def _subdirectory(parent: int, wanted: str) -> tuple[str, int]:
    twins: set[str] | None = None
    for name in candidates(wanted):
        try:
            return name, os.open(name, DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
        except FileNotFoundError:
            if twins is None:
                twins = twin_keys(os.listdir(parent))
            if twin_key(name) not in twins:
                os.mkdir(name, dir_fd=parent)
                os.fsync(parent)
                return name, os.open(name, DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
        except OSError as exc:
            if exc.errno not in _NO_REAL_DIRECTORY:
                raise
    raise AssertionError("candidates never end")


def _sha256_beneath(root: int, relative: Path) -> str | None:
    try:
        with descend(root, relative.parent) as directory:
            return sha256_at(relative.name, directory)
    except OSError as exc:
        if exc.errno in {errno.ENOENT, *_NO_REAL_DIRECTORY}:
            return None
        raise
