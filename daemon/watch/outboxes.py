"""Tracks which outboxes, and mounts below them, are present: an unplugged drive does not mean deleted photos."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from daemon.fs.absence import absence, unmounted
from daemon.fs.files import explain
from daemon.fs.mounts import MountTable
from daemon.model import Outbox, Source
from daemon.state import facts
from daemon.state.ledger import Ledger
from daemon.text import printable

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Identity:
    """Changes when another directory is at the path, such as the mount point of an unplugged drive.

    mounts: changes when something at or below it was mounted or unmounted, which ends events there.
    """

    dev: int
    ino: int
    mounts: object = ()


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
        self._table = MountTable()
        self._found: dict[Outbox, _Identity | None] = dict.fromkeys(outboxes, _UNSEEN)
        self._away: dict[Outbox, str] = {}
        self._changed: set[Outbox] = set()  # seen by `has`, since the last check
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
        """Check every outbox; return those that appeared, vanished, or were replaced since the last check.

        Replaced is also one below which something was mounted or unmounted.
        """
        self._table.look()
        changed = [outbox for outbox in self._found if self._look(outbox) or outbox in self._changed]
        self._changed.clear()
        return changed

    def has(self, source: Source) -> bool:
        """Whether the place of a photo is present right now; if not, it waits.

        That is its outbox, which is no longer `online` if it is missing, or a mount below it.
        """
        self._table.look()
        was_online = source.outbox in self.online
        if was_online and self._look(source.outbox):
            self._changed.add(
                source.outbox
            )  # the next check reports it, even if it has changed back until then
        return source.outbox in self.online and self._ledger.mounts.away_from(source) is None

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
        reason = self._why_unmounted(outbox, status.st_dev) if is_empty else None
        identity = _Identity(status.st_dev, status.st_ino, self._table.state_of(outbox.root))
        if reason is None and identity != self._found[outbox]:
            reason = self._objection(outbox.root)
        if reason is not None:
            return None, reason
        self._note_mounts(outbox)
        return identity, ""

    def _why_unmounted(self, outbox: Outbox, device: int) -> str | None:
        """Why an empty folder is taken for the mount point of an unplugged drive; None if it is not."""
        before = self._ledger.last_device(outbox)
        if before is None:
            place = unmounted(outbox.root)
            return None if place is None else f"{place} is not mounted"
        return None if before == device else "it is empty, and not on the disk of its earlier photos"

    def _note_mounts(self, outbox: Outbox) -> None:
        """Record which mounts below an outbox are away: nothing is mounted there now, and there is no file."""
        mounted = {mount.point.relative_to(outbox.root) for mount in self._table.below(outbox.root)}
        known = self._ledger.mounts.of(outbox)
        for folder in mounted | known.keys():
            away = folder not in mounted
            if away and _holds_something(outbox.root / folder):
                self._ledger.mounts.forget(outbox, folder)
            elif known.get(folder) is not away:
                self._ledger.mounts.note(outbox, folder, away=away)
                if away:
                    log.warning(
                        "nothing is mounted on %s any more; its photos wait", printable(outbox.root / folder)
                    )


def _holds_something(directory: Path) -> bool:
    try:
        return not _is_empty(directory)
    except OSError:
        return False


def _is_empty(directory: Path) -> bool:
    with os.scandir(directory) as entries:
        return next(entries, None) is None
