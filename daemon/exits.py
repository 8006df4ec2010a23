"""The exit codes of every command, after sysexits.h."""

from __future__ import annotations

from enum import IntEnum

from daemon.errors import (
    AlreadyRunning,
    ConfigError,
    DaemonError,
    InputError,
    LedgerUnavailable,
    NotAnswering,
    OutputError,
    ServiceError,
    TargetError,
)
from fawkes_engine import EngineError, EvaluationError, FetchError, WeightsError


class Exit(IntEnum):
    """Exit codes; a service manager restarts after TEMP_FAIL and INTERNAL, not after USAGE and CONFIG."""

    OK = 0
    HELD = 1  # something needs user action and was printed: a held photo, or a fault found by `doctor`
    USAGE = 64
    NO_INPUT = 66
    UNAVAILABLE = (
        69  # a folder or a target is missing or cannot be used, the service or systemd does not answer
    )
    INTERNAL = 70
    CANT_CREATE = 73
    TEMP_FAIL = 75
    CONFIG = 78


_CODES: tuple[tuple[type[Exception], Exit], ...] = (
    (ConfigError, Exit.CONFIG),
    (WeightsError, Exit.CONFIG),  # a user must install them: a retry does not help
    (FetchError, Exit.TEMP_FAIL),
    (EvaluationError, Exit.USAGE),
    (AlreadyRunning, Exit.TEMP_FAIL),
    (LedgerUnavailable, Exit.TEMP_FAIL),
    (ServiceError, Exit.UNAVAILABLE),
    (NotAnswering, Exit.UNAVAILABLE),
    (TargetError, Exit.UNAVAILABLE),
    (InputError, Exit.NO_INPUT),
    (OutputError, Exit.CANT_CREATE),
)


def code_of(error: DaemonError | EngineError) -> Exit:
    """Return the exit code of a command that failed with this error."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), Exit.INTERNAL)
