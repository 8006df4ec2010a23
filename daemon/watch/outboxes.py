"""Which outboxes are there: a drive that was unplugged is no folder whose photos were deleted."""

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
    """Changes when another directory takes the place, such as the one a drive is mounted on."""

    dev: int
    ino: int


_UNSEEN = _Identity(0, 0)


class Outboxes:
    """The configured outboxes, and which of them are there."""

    def __init__(self, outboxes: Sequence[Outbox], ledger: Ledger) -> None:
        self._ledger = ledger
        self._found: dict[Outbox, _Identity | None] = dict.fromkeys(outboxes, _UNSEEN)

    @property
    def online(self) -> list[Outbox]:
        """The outboxes that were there when last looked at."""
        return [outbox for outbox, identity in self._found.items() if identity is not None]

    def check(self) -> list[Outbox]:
        """Look at every outbox; returns those that came, went, or were replaced since the last time."""
        changed = []
        for outbox, before in self._found.items():
            now = self._identity(outbox)
            if now == before:
                continue
            if now is None:
                log.warning("the outbox %s is not there; its photos wait", printable(outbox.root))
            changed.append(outbox)
            self._found[outbox] = now
        return changed

    def is_there(self, outbox: Outbox) -> bool:
        """Whether the outbox is there at this moment; if not, it is no longer `online`."""
        if self._identity(outbox) is None:
            self._found[outbox] = None
        return outbox in self.online

    def _identity(self, outbox: Outbox) -> _Identity | None:
        try:
            status = outbox.root.stat()
            if _is_empty(outbox.root):
                # The place a drive is mounted on, or the folder itself with nothing in it?
                before = self._ledger.last_device(outbox)
                if before is not None and before != status.st_dev:
                    return None
        except OSError:
            return None
        return _Identity(status.st_dev, status.st_ino)


def _is_empty(directory: Path) -> bool:
    with os.scandir(directory) as entries:
        return next(entries, None) is None
