"""Walks the files below a folder."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath

from daemon.fs.files import explain
from daemon.fs.ignore import Ignored, ignored_by, ignored_itself
from daemon.text import printable

log = logging.getLogger(__name__)


def _warn(folder: Path, exc: OSError) -> None:
    log.warning("the folder %s cannot be read, its photos are skipped: %s", printable(folder), explain(exc))


def walk(
    root: Path,
    ignore: tuple[str, ...] = (),
    *,
    below: Path | None = None,
    on_ignored: Callable[[Ignored], None] = lambda _found: None,
    on_unreadable: Callable[[Path, OSError], None] = _warn,
) -> Iterator[Path]:
    """Every file below an outbox that is not ignored; symlinks are not followed, but are among the files.

    ignore: further gitignore patterns. below: only the files below this folder, by default all. on_ignored: called for
    each ignored file, and once for each ignored folder. on_unreadable: called for each folder that cannot be read; by
    default, it is logged.
    """
    start = PurePath() if below is None else below.relative_to(root)
    pending = [start] if start == PurePath() or not ignored_by(start, ignore, is_folder=True) else []
    while pending:
        current = pending.pop()
        try:
            with os.scandir(root / current) as entries:
                for entry in entries:
                    relative = current / entry.name
                    is_folder = entry.is_dir(follow_symlinks=False)
                    found = ignored_itself(relative, ignore, is_folder=is_folder)
                    if found is not None:
                        on_ignored(found)
                    elif is_folder:
                        pending.append(relative)
                    else:
                        yield root / relative
        except OSError as exc:
            on_unreadable(root / current, exc)
