"""The connections to systemd: its notify socket, its journal, and the socket it opens for the web page.

Nothing here fails without systemd. The only module that reads systemd's environment, and the only one that knows
whether systemd-python (the extra `systemd`) is installed. Without it the same datagrams are sent, but journal entries
have no fields.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Mapping

try:
    import systemd.daemon as sd_daemon
    import systemd.journal as sd_journal
except ImportError:
    sd_daemon = sd_journal = None

_IDENTIFIER = "fawkesd"
# Meant for this process; its child processes must not speak in its name.
_ADDRESSED = (
    *("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "JOURNAL_STREAM"),
    *("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"),
)
_FIRST_LISTENER = 3  # as sd_listen_fds(3) has it


def notify(*assignments: str) -> None:
    """Notify the service manager, for example of "READY=1"; no effect if none listens."""
    message = "\n".join(assignments)
    if sd_daemon is not None:
        with contextlib.suppress(OSError):  # a nonsensical address, or nobody there
            sd_daemon.notify(message)
        return
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        # a leading @ means the null byte of an abstract address
        sender.sendto(message.encode(), "\0" + address[1:] if address[0] == "@" else address)


def listens() -> bool:
    """Whether a service manager listens to `notify`."""
    return "NOTIFY_SOCKET" in os.environ


def watchdog_s() -> float | None:
    """Seconds without WATCHDOG=1 after which this process is killed; None without a watchdog."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if microseconds.isdigit() and int(microseconds) else None


def listener() -> int | None:
    """The descriptor of the socket that fawkesd-web.socket listens at; None without one."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or os.environ.get("LISTEN_FDS", "0") == "0":
        return None
    return _FIRST_LISTENER


def stderr_is_journal() -> bool:
    """Whether the journal reads what is written to stderr."""
    with contextlib.suppress(OSError, ValueError):
        stream = os.fstat(sys.stderr.fileno())
        return os.environ.get("JOURNAL_STREAM") == f"{stream.st_dev}:{stream.st_ino}"
    return False


def write_journal(message: str, priority: int, fields: Mapping[str, str]) -> None:
    """Write one entry. priority: of syslog, 0 (worst) to 7. fields: by their journal names."""
    if sd_journal is not None:
        sd_journal.send(message, PRIORITY=str(priority), SYSLOG_IDENTIFIER=_IDENTIFIER, **fields)
        return
    for line in message.splitlines():
        sys.stderr.write(f"<{priority}>{line}\n")
    sys.stderr.flush()


def plain_environment() -> dict[str, str]:
    """The environment for child processes, without systemd's variables."""
    return {name: value for name, value in os.environ.items() if name not in _ADDRESSED}
