"""Every error the package `daemon` raises on purpose.

    DaemonError
    |-- ConfigError             the configuration cannot be used
    |-- InputError              a photo named on the command line cannot be read
    |-- OutputError             a result cannot be written
    |   |-- OutputExists        ... since it would replace a file
    |   `-- OutputNameRefused   ... under this name, on this file system
    |-- ServiceError            the service cannot be installed, or systemd cannot be queried
    |-- AlreadyRunning          another fawkesd has locked this directory
    |-- NotAnswering            no service is running, or it does not answer a command
    |-- LedgerError             this version cannot read the ledger
    |   |-- IllegalTransition   a photo may not change from this state to that one
    |   `-- LedgerUnavailable   its disk is full, read-only, failing or gone: everything waits
    |-- TargetError             a stored target is damaged, or lost
    |-- EngineStartError        the engine process cannot be started
    |-- SourceError             a source file cannot be processed
    |   |-- SourceGone          it no longer exists
    |   |-- SourceChanged       it is not the file the ledger knows
    |   `-- SourceFault         it cannot be read now
    `-- PublishError            a photo's result cannot be published
        |-- SyncUnavailable     the whole folder: drive missing, full, read-only; the user waits
        |-- NameRefused         the file system never accepts this name
        `-- PublishFault        any other fault that a retry may overcome

Only `outcomes` decides what each of them means for a photo.
"""

from __future__ import annotations

from pathlib import Path


class DaemonError(Exception):
    """Base of every error raised on purpose; the message is written for users."""


class ConfigError(DaemonError):
    """The configuration is invalid; the message says where, what is wrong and what to do."""


class InputError(DaemonError):
    """A photo named on the command line is missing or cannot be read."""


class OutputError(DaemonError):
    """A result cannot be written."""


class OutputExists(OutputError):
    """A result would replace an existing file."""


class OutputNameRefused(OutputError):
    """The file system of the output folder never accepts this file name."""


class ServiceError(DaemonError):
    """The service would not start if it were installed, or systemd cannot be queried; the message says why."""


class AlreadyRunning(DaemonError):
    """Another fawkesd has locked a directory this one needs. pid: its process, None if unknown."""

    def __init__(self, directory: Path, pid: int | None) -> None:
        super().__init__(f"another fawkesd (process {pid or 'unknown'}) is using {directory}; stop it first")
        self.directory = directory
        self.pid = pid


class NotAnswering(DaemonError):
    """A command needs a running service, and there is none, or it does not answer."""


class LedgerError(DaemonError):
    """This version cannot read the ledger."""


class IllegalTransition(LedgerError):
    """A photo may not change from its state to the requested one."""


class LedgerUnavailable(LedgerError):
    """The ledger cannot be written or read now; all work waits until it can."""


class TargetError(DaemonError):
    """A stored target is damaged or lost; it must not be replaced silently, since published photos carry it."""


class EngineStartError(DaemonError):
    """The engine process failed repeatedly before it was ready; the message is the engine's own."""


class SourceError(DaemonError):
    """A photo in an outbox cannot be processed."""


class SourceGone(SourceError):
    """The file was removed or renamed."""


class SourceChanged(SourceError):
    """The file differs from the one that had settled; it must settle again."""


class SourceFault(SourceError):
    """The file cannot be read now."""


class PublishError(DaemonError):
    """A result cannot be published."""


class SyncUnavailable(PublishError):
    """Nothing can be published to this sync folder now: drive missing, full, read-only, not set up."""


class NameRefused(PublishError):
    """This file system never accepts this file name."""


class PublishFault(PublishError):
    """This photo could not be written; a retry may succeed."""
