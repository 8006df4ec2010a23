"""Every error the package `daemon` raises on purpose.

    DaemonError
    |-- ConfigError             the configuration cannot be used
    |-- InputError              a photo named on the command line cannot be read
    |-- OutputError             a result cannot be written
    |   `-- OutputExists        ... since it would replace a file
    |-- ServiceError            the system service cannot be installed or asked
    |-- AlreadyRunning          another fawkesd holds this directory
    |-- NotAnswering            the running service does not answer a command, or there is none
    |-- LedgerError             the ledger cannot be read by this version
    |   |-- IllegalTransition   a photo may not go from this state to that one
    |   `-- LedgerUnavailable   its disk is full, read-only, failing or gone: everything waits
    |-- TargetError             a stored target is damaged
    |-- EngineStartError        the engine process cannot be started
    |-- SourceError             one source file
    |   |-- SourceGone          it is no longer there
    |   |-- SourceChanged       it is not the file the ledger knows
    |   `-- SourceFault         it cannot be read now
    `-- PublishError            one photo's result
        |-- SyncUnavailable     the whole folder: drive missing, full, read-only; the user waits
        |-- NameRefused         the file system never takes this name
        `-- PublishFault        anything else that may pass

What follows from each of them for a photo is decided in `outcomes` alone.
"""

from __future__ import annotations

from pathlib import Path


class DaemonError(Exception):
    """Base of every error raised on purpose; the message is written for the person at the machine."""


class ConfigError(DaemonError):
    """The configuration cannot be used; the message says where, what is wrong and what to do."""


class InputError(DaemonError):
    """A photo named on the command line is missing or cannot be read."""


class OutputError(DaemonError):
    """A result cannot be written."""


class OutputExists(OutputError):
    """A result would replace a file that is already there."""


class ServiceError(DaemonError):
    """The service would not start as it would be installed, or systemd cannot be asked; the message says why."""


class AlreadyRunning(DaemonError):
    """Another fawkesd holds a directory this one needs. pid: that process, None if it left no number."""

    def __init__(self, directory: Path, pid: int | None) -> None:
        super().__init__(f"another fawkesd (process {pid or 'unknown'}) is using {directory}")
        self.directory = directory
        self.pid = pid


class NotAnswering(DaemonError):
    """A command that only a running service can carry out found none, or one that does not answer."""


class LedgerError(DaemonError):
    """The ledger is not one this version can read."""


class IllegalTransition(LedgerError):
    """A photo may not go from the state it has to the state asked for."""


class LedgerUnavailable(LedgerError):
    """The ledger cannot be written or read now; nothing goes on until it can."""


class TargetError(DaemonError):
    """A stored target cannot be read; it must not be replaced silently, since photos already carry it."""


class EngineStartError(DaemonError):
    """The engine process failed again and again before it was ready; the message is its own."""


class SourceError(DaemonError):
    """A photo in an outbox cannot be taken."""


class SourceGone(SourceError):
    """The file was removed or renamed."""


class SourceChanged(SourceError):
    """The file differs from the one that had settled; it has to settle again."""


class SourceFault(SourceError):
    """The file cannot be read now."""


class PublishError(DaemonError):
    """A result cannot be published."""


class SyncUnavailable(PublishError):
    """Nothing can be published to this sync folder now: drive missing, full, read-only, not set up."""


class NameRefused(PublishError):
    """This file system never takes this file's name."""


class PublishFault(PublishError):
    """This one photo could not be written; it may work later."""
