"""The cache of thumbnails of published copies: files named by the hash of the copy, as many as fit."""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from pathlib import Path

from daemon.fs.private import make_private

LIMIT_BYTES = 256 << 20  # about 10,000 thumbnails
_SUFFIX = ".jpg"


class Thumbnails:
    """A folder that only its owner can open; those used least recently make room. Thread-safe."""

    def __init__(self, folder: Path, limit_bytes: int = LIMIT_BYTES) -> None:
        """Raises OSError if the folder cannot be made."""
        make_private(folder)
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._lock = threading.Lock()
        for left in folder.glob(".*"):  # by a crash
            left.unlink(missing_ok=True)
        self._bytes = sum(size for _, size, _ in self._files())

    def get(self, sha256: str) -> bytes | None:
        """The thumbnail of the copy with this hash (hex); None if there is none."""
        path = self._path(sha256)
        with contextlib.suppress(OSError):
            data = path.read_bytes()
            os.utime(path)
            return data
        return None

    def put(self, sha256: str, data: bytes) -> None:
        """Keep a thumbnail; a disk that is full keeps none."""
        with self._lock, contextlib.suppress(OSError):
            temporary = self._folder / f".{secrets.token_hex(8)}"
            temporary.touch(mode=0o600)
            temporary.write_bytes(data)
            temporary.replace(self._path(sha256))
            self._bytes += len(data)
            if self._bytes > self._limit_bytes:
                self._make_room()

    def _make_room(self) -> None:
        """Remove the least recently used down to nine tenths, so that this is not done for each new one."""
        files = sorted(self._files())
        total = sum(size for _, size, _ in files)
        for _, size, path in files:
            if total <= 0.9 * self._limit_bytes:
                break
            path.unlink(missing_ok=True)
            total -= size
        self._bytes = total

    def _files(self) -> list[tuple[float, int, Path]]:
        with os.scandir(self._folder) as entries:
            return [
                (entry.stat().st_mtime, entry.stat().st_size, Path(entry.path))
                for entry in entries
                if entry.name.endswith(_SUFFIX)
            ]

    def _path(self, sha256: str) -> Path:
        return self._folder / f"{sha256}{_SUFFIX}"
