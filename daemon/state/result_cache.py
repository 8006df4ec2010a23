"""Cache of results that could not be published yet, in the state directory: the engine need not repeat them.

Only an optimisation: a result that is missing, damaged, from another engine or of other options is made again.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import pickle
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from daemon.model import Photo
from fawkes_engine import Protected

log = logging.getLogger(__name__)

_DIGEST_BYTES = hashlib.sha256().digest_size
_LEFT_FOR_THE_LEDGER_BYTES = 256 << 20


class ResultCache:
    """One file per user and content, in a private directory: written by this process, read by it alone."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def keep(self, photo: Photo, protected: Protected) -> None:
        """Cache the result of a photo that has been read, if there is room for it."""
        try:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            space = os.statvfs(self._directory)
            if space.f_bavail * space.f_frsize >= len(protected.data) + _LEFT_FOR_THE_LEDGER_BYTES:
                data = pickle.dumps((photo.options, protected))
                self._path(photo).write_bytes(hashlib.sha256(data).digest() + data)
        except OSError as exc:
            log.info("a result could not be cached: %s", exc.strerror)
            self.drop(photo)

    def find(self, photo: Photo, fingerprint: str) -> Protected | None:
        """The cached result of this engine for this content and these options, if it is intact."""
        try:
            stored = self._path(photo).read_bytes()
        except OSError:
            return None
        digest, data = stored[:_DIGEST_BYTES], stored[_DIGEST_BYTES:]
        if hashlib.sha256(data).digest() != digest:
            return None  # cut short by a crash
        try:
            options, found = pickle.loads(data)
            is_current = options == photo.options and asdict(found.report)["fingerprint"] == fingerprint
        except (AttributeError, ImportError, LookupError, TypeError, ValueError):
            return None  # written by another version
        return found if is_current and isinstance(found, Protected) else None

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
