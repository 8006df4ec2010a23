"""Logging: to the journal under systemd, with fields to search by, otherwise readable lines on stderr.

`journalctl MESSAGE_ID=...` finds every event of one kind; service/fawkesd.catalog explains each kind, and
`journalctl --catalog` shows that. The only fields about a photo are its folder and its number.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from enum import Enum

from daemon.model import Photo, State
from daemon.sd import sockets
from daemon.text import printable


class Outcome(Enum):
    """An event of a photo, a user or the engine; the value is the MESSAGE_ID and must never change."""

    PUBLISHED = "a16ed9a0f0e04e3da36419ef1b404d5d"
    HELD = "2b8a9a55322245efa2b86f222b836e5a"
    REVIEW = "bdff271ff3aa39e21490df552749de74"
    REJECTED = "0c9781268a1f1f4b099f4eae5f47cfaa"
    RECALLED = "1fa78e8e019508ec2313b869911c7777"
    GONE = "0b258cc4c879401e9df7816d122eb16e"
    RENAMED = "21c17d60a7a84d66b4b52be4dc2469b3"
    SUPERSEDED = "1d7ed0de4aa742b0860db7ca88cbea4c"
    LATER = "4ca82ce34b1b4740a4e2d0bbf11d7efb"
    PAUSED = "42f798da8b3948058d8b62e3ce365486"
    RESUMED = "133cd7c392004a49bbdfe993c1734692"
    ENGINE_READY = "9a004296fe6d464f97ef19e540bc6a25"
    ENGINE_STOPPED = "60d7fe4bd07e4f1cae5ab0a0f1b5b7e4"
    ENGINE_UNLOADED = "3a8556837df74153981a2f1c12c07ee7"


# syslog's priorities, EMERG 0 to DEBUG 7; journalctl -p uses them.
_PRIORITIES = {logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6, logging.DEBUG: 7}


def about(
    outcome: Outcome,
    photo: Photo | None = None,
    *,
    stage: State | None = None,
    seconds: float | None = None,
    user: str | None = None,
) -> Mapping[str, object]:
    """The `extra` of a log record. stage: the photo's state before. seconds: how long the engine took."""
    fields = {"MESSAGE_ID": outcome.value, "FAWKESD_OUTCOME": outcome.name.lower()}
    if photo is not None:
        user = photo.source.outbox.user
        fields["FAWKESD_FOLDER"] = printable(photo.source.outbox.root)
        fields["FAWKESD_PHOTO_ID"] = str(photo.id)
    if user is not None:
        fields["FAWKESD_USER"] = user
    if stage is not None:
        fields["FAWKESD_STAGE"] = stage.value
    if seconds is not None:
        fields["FAWKESD_SECONDS"] = f"{seconds:.2f}"
    return {"journal_fields": fields}


def set_up(level: int = logging.INFO) -> None:
    """Log a level and above, in the form that suits stderr."""
    if sockets.stderr_is_journal():
        logging.basicConfig(format="%(message)s", handlers=[JournalHandler()], level=level)
    else:
        logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=level)


class JournalHandler(logging.Handler):
    """Writes records to the journal."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; the fields are those of `about`."""
        fields: Mapping[str, str] = getattr(record, "journal_fields", {})
        sockets.write_journal(self.format(record), _PRIORITIES.get(record.levelno, 6), fields)
