"""The errors the daemon raises on purpose; each message is one a person can act on.

DaemonError
|-- ConfigError       the configuration is wrong: FILE:LINE: key: what is wrong; what to do
|-- AlreadyRunning    another fawkesd holds this directory
|-- InputError        a photo named on the command line is missing or cannot be read
`-- OutputError       a result cannot be written, or would replace a file that is already there
"""

from __future__ import annotations

from pathlib import Path


class DaemonError(Exception):
    """Base of every error raised on purpose; the message is written for the person at the machine."""


class ConfigError(DaemonError):
    """The configuration is wrong; one line per fault: FILE:LINE: key: what is wrong; what to do."""


class AlreadyRunning(DaemonError):  # noqa: N818  a state of the machine, and read so in the log
    """Another fawkesd holds a directory this one needs. pid: that process, None if it left no number."""

    def __init__(self, directory: Path, pid: int | None) -> None:
        super().__init__(f"another fawkesd (process {pid or 'unknown'}) is using {directory}")
        self.directory = directory
        self.pid = pid


class InputError(DaemonError):
    """A photo named on the command line is missing or cannot be read."""


class OutputError(DaemonError):
    """A result cannot be written, or would replace a file that is already there."""
