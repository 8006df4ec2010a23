"""The state folder is private: only its owner can open it, and everything in it that shows a face."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

from daemon.fs.private import is_open_to_others, make_private, restrict
from daemon.state.schema import LEDGER_NAME
from daemon.text import printable

log = logging.getLogger(__name__)

FOLDERS_OF_PHOTOS = ("results", "web")  # the results that could not be published yet, the page's thumbnails
# The ledger with its -wal and -shm, the targets, the photos
_WITH_FACES = (
    f"{LEDGER_NAME}*",
    "targets",
    "targets/*",
    *FOLDERS_OF_PHOTOS,
    *(f"{name}/*" for name in FOLDERS_OF_PHOTOS),
)


def prepare(state_dir: Path) -> None:
    """Create the state folder; of an existing one, take other users' rights away. Raises OSError."""
    if not state_dir.exists():
        make_private(state_dir)
    restricted = _those(state_dir, restrict)
    if restricted:
        log.warning(
            "other users of this machine could open %s%s; now only its owner can",
            printable(restricted[0]),
            f" and {len(restricted) - 1} more" if len(restricted) > 1 else "",
        )


def open_to_others(state_dir: Path) -> list[Path]:
    """The state folder, and what in it shows faces, as far as other users of the machine can open it."""
    return _those(state_dir, is_open_to_others)


def of_another_account(state_dir: Path) -> list[Path]:
    """What in the state folder belongs to another account than the folder, as after a command of root's."""
    owner = state_dir.stat().st_uid
    return _those(state_dir, lambda path: path.stat().st_uid != owner)


def _those(state_dir: Path, is_one: Callable[[Path], bool]) -> list[Path]:
    found = []
    for path in (state_dir, *(path for pattern in _WITH_FACES for path in state_dir.glob(pattern))):
        with contextlib.suppress(FileNotFoundError):  # temporary files come and go
            if is_one(path):
                found.append(path)
    return found
