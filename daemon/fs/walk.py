"""Walks the files below a folder."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

from daemon.fs.filenames import is_ignored
from daemon.fs.files import explain
from daemon.text import printable

log = logging.getLogger(__name__)


def walk(directory: Path) -> Iterator[Path]:
    """Every file at or below a directory, except those with ignored names; symlinks are not followed."""
    pending = [directory]
    while pending:
        current = pending.pop()
        try:
            with os.scandir(current) as entries:
                for entry in entries:
                    if is_ignored(entry.name):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(Path(entry.path))
                    else:
                        yield Path(entry.path)
        except OSError as exc:
            log.warning(
                "the folder %s cannot be read, its photos are skipped: %s", printable(current), explain(exc)
            )
