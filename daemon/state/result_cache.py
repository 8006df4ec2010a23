"""Results that are not published yet, in the state directory: they wait for their disk, or for review.

The engine need not repeat them; one that is missing, damaged, from another engine or of other options is made again.
A file is a keyed checksum (HMAC-SHA256, 32 bytes), a line of JSON that says what the result is, and the photo's bytes.
The key is in the ledger: what some other ledger, or somebody else, has put here is not published.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import logging
import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from daemon.errors import OutputError
from daemon.fs import atomic
from daemon.fs.private import make_private
from daemon.model import Photo
from daemon.state.facts import RESULTS_KEY, Facts
from fawkes_engine import Protected, Report

log = logging.getLogger(__name__)

_DIGEST = "sha256"
_DIGEST_BYTES = 32
_LEFT_FOR_THE_LEDGER_BYTES = 256 << 20
_REPORT = TypeAdapter(Report)


class ResultCache:
    """One file per user and content, in a private directory."""

    def __init__(self, directory: Path, key: bytes) -> None:
        """key: of the checksums, secret and the ledger's own."""
        self._directory = directory
        self._key = key

    @classmethod
    def of(cls, state_dir: Path, facts: Facts) -> ResultCache:
        """The results in a state folder. facts: of its ledger, or of its history."""
        return cls(state_dir / "results", facts.secret(RESULTS_KEY))

    def has_room(self, size: int) -> bool:
        """Whether so many bytes can be kept, and the ledger still has room."""
        try:
            make_private(self._directory)
            space = os.statvfs(self._directory)
        except OSError:
            return False
        return space.f_bavail * space.f_frsize >= size + _LEFT_FOR_THE_LEDGER_BYTES

    def keep(self, photo: Photo, protected: Protected) -> bool:
        """Keep the result of a photo that has been read; returns whether there was room, and it is on disk."""
        if not self.has_room(len(protected.data)):
            return False
        content = _head(photo, protected) + b"\n" + protected.data
        try:
            atomic.write(self._path(photo), self._checksum(content) + content, replace=True, mode=0o600)
        except OutputError as exc:
            log.info("a result could not be kept: %s", exc)
            self.drop(photo)
            return False
        return True

    def size(self, photo: Photo) -> int:
        """How many bytes the result of a photo takes up, which may be damaged; 0 if there is none."""
        try:
            return self._path(photo).stat().st_size
        except OSError:
            return 0

    def find(self, photo: Photo, fingerprint: str) -> Protected | None:
        """The result of this engine for this content and these options, if it is intact."""
        found = self.waiting(photo)
        return found if found is not None and found.report.fingerprint == fingerprint else None

    def waiting(self, photo: Photo) -> Protected | None:
        """The result of any engine for this content and these options, if it is intact."""
        try:
            stored = self._path(photo).read_bytes()
        except OSError:
            return None
        checksum, content = stored[:_DIGEST_BYTES], stored[_DIGEST_BYTES:]
        if not hmac.compare_digest(checksum, self._checksum(content)):
            return None  # cut short by a crash, of an earlier version, or not from here
        head, _, data = content.partition(b"\n")
        fields = json.loads(head)
        try:
            report = _REPORT.validate_python(fields["report"])
            found = Protected(data, fields["sha256"], fields["suffix"], report)
        except (KeyError, ValidationError):
            return None  # of an earlier version
        is_wanted = [fields["user"], fields["input_sha256"], fields["options"]] == _identity(photo)
        return found if is_wanted else None

    def drop(self, photo: Photo) -> None:
        """Remove a result that has been published, or will not be."""
        with contextlib.suppress(OSError):
            self._path(photo).unlink(missing_ok=True)

    def sweep(self, waiting: Iterable[Photo]) -> None:
        """Remove every result that none of these photos will need."""
        wanted = {self._path(photo).name for photo in waiting}
        with contextlib.suppress(OSError):
            for path in self._directory.iterdir():
                if path.name not in wanted:
                    path.unlink()

    def _path(self, photo: Photo) -> Path:
        return self._directory / f"{photo.source.outbox.user}-{photo.input_sha256}"

    def _checksum(self, content: bytes) -> bytes:
        return hmac.digest(self._key, content, _DIGEST)


def _identity(photo: Photo) -> list[str | None]:
    return [photo.source.outbox.user, photo.input_sha256, photo.options]


def _head(photo: Photo, protected: Protected) -> bytes:
    user, input_sha256, options = _identity(photo)
    fields = {
        "user": user,
        "input_sha256": input_sha256,
        "options": options,
        "sha256": protected.sha256,
        "suffix": protected.suffix,
        "report": asdict(protected.report),
    }
    return json.dumps(fields).encode()
