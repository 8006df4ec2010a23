"""Cache of results that could not be published yet, in the state directory: the engine need not repeat them.

Only an optimisation: a result that is missing, damaged, or from another engine is made again.
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

    def keep(self, user: str, input_sha256: str, protected: Protected) -> None:
        """Cache a result if there is room for it."""
        try:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            space = os.statvfs(self._directory)
            if space.f_bavail * space.f_frsize >= len(protected.data) + _LEFT_FOR_THE_LEDGER_BYTES:
                data = pickle.dumps(protected)
                self._path(user, input_sha256).write_bytes(hashlib.sha256(data).digest() + data)
        except OSError as exc:
            log.info("a result could not be cached: %s", exc.strerror)
            self.drop(user, input_sha256)

    def find(self, user: str, input_sha256: str, fingerprint: str) -> Protected | None:
        """The cached result of this engine for this content, if it is intact."""
        try:
            stored = self._path(user, input_sha256).read_bytes()
        except OSError:
            return None
        digest, data = stored[:_DIGEST_BYTES], stored[_DIGEST_BYTES:]
        if hashlib.sha256(data).digest() != digest:
            return None  # cut short by a crash
        try:
            found = pickle.loads(data)
            is_current = isinstance(found, Protected) and asdict(found.report)["fingerprint"] == fingerprint
        except (AttributeError, ImportError, LookupError, TypeError, ValueError):
            return None  # written by another version
        return found if is_current else None

    def drop(self, user: str, input_sha256: str) -> None:
        """Remove a result that has been published, or will not be."""
        with contextlib.suppress(OSError):
            self._path(user, input_sha256).unlink(missing_ok=True)

    def sweep(self, waiting: Iterable[Photo]) -> None:
        """Remove every result that none of these photos will need."""
        wanted = {f"{photo.source.outbox.user}-{photo.input_sha256}" for photo in waiting}
        with contextlib.suppress(OSError):
            for path in self._directory.iterdir():
                if path.name not in wanted:
                    path.unlink()

    def _path(self, user: str, input_sha256: str) -> Path:
        return self._directory / f"{user}-{input_sha256}"
