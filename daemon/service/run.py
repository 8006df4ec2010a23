"""Runs the service: `run` until a signal, `once` until no photo waits.

One thread runs everything: it sleeps until an event, an engine's answer, a signal or a due time.
Watchdog's own threads only append to a queue.
"""

from __future__ import annotations

import faulthandler
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait

from daemon.config.settings import Settings
from daemon.errors import (
    AlreadyRunning,
    DaemonError,
    EngineStartError,
    LedgerError,
    LedgerUnavailable,
)
from daemon.exits import Exit, code_of
from daemon.model import HeldPhoto, Photo, Progress, State
from daemon.sd import journal
from daemon.sd.notifier import Notifier
from daemon.service.parts import Parts, assembled
from daemon.service.supervisor import Supervisor, finishing
from daemon.service.wakeup import Wakeup, wakeup
from daemon.status import status, status_text
from daemon.text import printable
from daemon.timing import DEFAULT_TIMING, Timing
from daemon.workers.protocol import DEFAULT_FACTORY
from fawkes_engine import EngineError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OnceResult:
    """The result of `once`. published: photos of this run. held: every photo now held, also of earlier runs.

    unavailable: the outboxes that are away and the sync folders that cannot be used, each with the reason.
    review: how many photos wait for review now. left: how many wait for the next run, since a signal ended this one.
    """

    published: int
    held: tuple[HeldPhoto, ...]
    unavailable: tuple[str, ...]
    review: int = 0
    left: int = 0


def run(
    settings: Settings,
    reread: Callable[[], Settings],
    factory: str = DEFAULT_FACTORY,
    timing: Timing = DEFAULT_TIMING,
    page: Sequence[str] = (),
    level: int = logging.INFO,
) -> int:
    """Run in the foreground until SIGTERM or SIGINT; returns the exit code, which `exits` explains.

    reread: reads the configuration again, at SIGHUP or `fawkesd reload`; may raise ConfigError. page: the command that
    shows the web page, for `web.listen`. level: of logging, what is below it is not logged.
    """
    journal.set_up(level)
    faulthandler.enable()  # systemd kills a hanging service by SIGABRT: the log then shows where it hung
    try:
        with wakeup() as signals:
            _run(settings, reread, factory, signals, timing, page)
    except (DaemonError, EngineError) as exc:
        log.critical("%s", printable(str(exc)))
        return code_of(exc)
    return Exit.OK


def _run(
    settings: Settings,
    reread: Callable[[], Settings],
    factory: str,
    signals: Wakeup,
    timing: Timing,
    page: Sequence[str],
) -> None:
    """Serve until a signal to stop; each reload starts anew, and falls back to the last configuration if that fails.

    When the ledger's disk fails, the next start waits for it, and repairs as after a crash.
    """
    following: Settings | None = settings
    proven: Settings | None = None
    notifier = Notifier(lambda: _status_line(settings))
    has_served = is_waiting = False
    while following is not None and not (has_served and signals.stopping):
        settings = following
        try:
            with assembled(
                settings, factory, timing, give_up_s=timing.give_up_s, on_arrival=signals.set, page=page
            ) as parts:
                has_served, is_waiting = True, False
                supervisor = Supervisor(settings, parts, signals, timing, reread)
                supervisor.serve(notifier)
            following, proven = supervisor.following, settings
        except LedgerUnavailable as exc:
            if not has_served:
                raise
            if not is_waiting:
                log.error("all work is suspended: %s", printable(str(exc)))  # noqa: TRY400 - no fault of the program
            is_waiting = True
            notifier.waits(str(exc))
            wait([signals.read_fd], timing.ledger_pause_s)
        except (AlreadyRunning, EngineStartError) as exc:
            if proven is None:
                raise
            log.warning(
                "the new configuration cannot be used: %s; the previous one stays in use", printable(str(exc))
            )
            following, proven = proven, None


def _status_line(settings: Settings) -> str:
    try:
        return next(status_text.status_lines(status.read(settings)))
    except LedgerError as exc:
        return printable(str(exc))


def once(
    settings: Settings, progress: Progress, factory: str = DEFAULT_FACTORY, timing: Timing = DEFAULT_TIMING
) -> OnceResult:
    """Process every waiting photo, then return; a signal ends it early, leaving nothing half-done.

    Raises AlreadyRunning, EngineStartError, WeightsError and LedgerUnavailable.
    """
    published = 0

    def on_end(photo: Photo) -> None:
        nonlocal published
        published += photo.has_new_copy
        progress.advance()

    with (
        wakeup() as signals,
        assembled(settings, factory, timing, give_up_s=timing.once_give_up_s, on_end=on_end) as parts,
    ):
        supervisor = Supervisor(settings, parts, signals, timing)
        progress.total(supervisor.scan())
        while not supervisor.is_done and supervisor.has_work:
            due_s = supervisor.step()
            progress.doing(_doing(parts))
            if supervisor.has_work:
                supervisor.sleep_until(due_s)
        if signals.stopping and parts.pool.in_work:
            progress.doing(finishing(len(parts.pool.in_work)))
        supervisor.finish()
        parts.hooks.drain()
        return OnceResult(
            published,
            supervisor.held(),
            tuple(_unavailable(parts)),
            review=parts.ledger.count(State.REVIEW),
            left=supervisor.waiting if signals.stopping else 0,
        )


def _doing(parts: Parts) -> str:
    works = parts.pool.progress
    if works:
        return ", ".join(status_text.share_words(work.doing, work.share) for work in works)
    return "waiting" if parts.pool.is_complete else "loading the recognisers"


def _unavailable(parts: Parts) -> Iterator[str]:
    for root, reason in parts.outboxes.away.items():
        yield f"the outbox {root} cannot be used: {reason}"
    for user, reason in parts.destinations.paused_users.items():
        yield f"nothing can be published for {user}: {reason}"
