"""Tracks which outboxes are present: an unplugged drive does not mean that its photos were deleted."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from daemon.fs.absence import absence, unmounted
from daemon.fs.files import explain
from daemon.model import Outbox
from daemon.state import facts
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

    def __init__(
        self,
        outboxes: Sequence[Outbox],
        ledger: Ledger,
        objection: Callable[[Path], str | None] = lambda _root: None,
    ) -> None:
        """objection: why a folder that is there must not be used; None if it may be."""
        self._ledger = ledger
        self._objection = objection
        self._found: dict[Outbox, _Identity | None] = dict.fromkeys(outboxes, _UNSEEN)
        self._away: dict[Outbox, str] = {}
        self._lost: set[Outbox] = set()  # by `is_there`, since the last check
        ledger.facts.forget_all(facts.AWAY)  # of an earlier run

    @property
    def online(self) -> list[Outbox]:
        """The outboxes that were present at the last check."""
        return [outbox for outbox, identity in self._found.items() if identity is not None]

    @property
    def away(self) -> dict[Path, str]:
        """Each outbox that was not present, or not to be used, at the last check, and why."""
        return {outbox.root: reason for outbox, reason in self._away.items()}

    def check(self) -> list[Outbox]:
        """Check every outbox; return those that appeared, vanished, or were replaced since the last check."""
        changed = [outbox for outbox in self._found if self._look(outbox) or outbox in self._lost]
        self._lost.clear()
        return changed

    def is_there(self, outbox: Outbox) -> bool:
        """Whether the outbox is present right now; if not, it is no longer `online`."""
        before = self._found[outbox]
        identity, reason = self._identify(outbox)
        if identity is None and before is not None:
            self._note(outbox, None, reason)
            self._lost.add(outbox)
        return outbox in self.online

    def _look(self, outbox: Outbox) -> bool:
        """Look at an outbox again; return whether another folder is there now, or none."""
        identity, reason = self._identify(outbox)
        is_changed = identity != self._found[outbox]
        if is_changed or reason != self._away.get(outbox, ""):
            self._note(outbox, identity, reason)
        return is_changed

    def _note(self, outbox: Outbox, identity: _Identity | None, reason: str) -> None:
        root = printable(outbox.root)
        self._found[outbox] = identity
        if reason:
            log.warning("waiting for the outbox %s: %s", root, printable(reason))
            self._away[outbox] = reason
            self._ledger.facts.note(facts.AWAY + root, reason)
        elif self._away.pop(outbox, None):
            log.info("the outbox %s is there", root)
            self._ledger.facts.forget(facts.AWAY + root)

    def _identify(self, outbox: Outbox) -> tuple[_Identity | None, str]:
        """Return the identity of the folder that is there, or None and why it is not to be used."""
        try:
            status = outbox.root.stat()
            is_empty = _is_empty(outbox.root)
        except OSError as exc:
            return None, absence(outbox.root) or explain(exc)
        identity = _Identity(status.st_dev, status.st_ino)
        reason = self._why_unmounted(outbox, status.st_dev) if is_empty else None
        if reason is None and identity != self._found[outbox]:
            reason = self._objection(outbox.root)
        return (identity, "") if reason is None else (None, reason)

    def _why_unmounted(self, outbox: Outbox, device: int) -> str | None:
        """Why an empty folder is taken for the mount point of an unplugged drive; None if it is not."""
        before = self._ledger.last_device(outbox)
        if before is None:
            place = unmounted(outbox.root)
            return None if place is None else f"{place} is not mounted"
        return None if before == device else "it is empty, and not on the disk of its earlier photos"


def _is_empty(directory: Path) -> bool:
    with os.scandir(directory) as entries:
        return next(entries, None) is None
