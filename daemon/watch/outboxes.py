"""Tracks which outboxes are present: an unplugged drive does not mean that its photos were deleted."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from daemon.model import Outbox
from daemon.state.ledger import Ledger
from daemon.text import printable

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Identity:
    """Changes when another directory is at the path, such as the mount point of an unplugged drive."""

    dev: int
    ino: int


_UNSEEN = _Identity(0, 0)


class Outboxes:
    """The configured outboxes, and which of them are present."""

    def __init__(self, outboxes: Sequence[Outbox], ledger: Ledger) -> None:
        self._ledger = ledger
        self._found: dict[Outbox, _Identity | None] = dict.fromkeys(outboxes, _UNSEEN)

    @property
    def online(self) -> list[Outbox]:
        """The outboxes that were present at the last check."""
        return [outbox for outbox, identity in self._found.items() if identity is not None]

    def check(self) -> list[Outbox]:
        """Check every outbox; return those that appeared, vanished, or were replaced since the last check."""
        changed = []
        for outbox, before in self._found.items():
            now = self._identity(outbox)
            if now == before:
                continue
            if now is None:
                log.warning(
                    "the outbox %s is missing; its photos wait. Is its drive mounted?", printable(outbox.root)
                )
            changed.append(outbox)
            self._found[outbox] = now
        return changed

    def is_there(self, outbox: Outbox) -> bool:
        """Whether the outbox is present right now; if not, it is no longer `online`."""
        if self._identity(outbox) is None:
            self._found[outbox] = None
        return outbox in self.online

    def _identity(self, outbox: Outbox) -> _Identity | None:
        try:
            status = outbox.root.stat()
            if _is_empty(outbox.root):
                # The mount point of an unplugged drive, or the folder itself, empty?
                before = self._ledger.last_device(outbox)
                if before is not None and before != status.st_dev:
                    return None
        except OSError:
            return None
        return _Identity(status.st_dev, status.st_ino)


def _is_empty(directory: Path) -> bool:
    with os.scandir(directory) as entries:
        return next(entries, None) is None
