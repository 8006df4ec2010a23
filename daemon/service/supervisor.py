"""The main loop of the service and of `once`: do everything that is due, then sleep."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import wait

from daemon.config.settings import Settings
from daemon.control.commands import Command, NewTarget, Reload, apply
from daemon.control.decisions import Effects
from daemon.errors import ConfigError, InputError
from daemon.model import HeldPhoto, State
from daemon.sd.notifier import Health, Notifier
from daemon.service.desktop import DesktopNotices, Situation
from daemon.service.parts import Parts
from daemon.service.wakeup import Wakeup
from daemon.state.in_work import InWorkFile
from daemon.text import count, printable
from daemon.timing import Timing

log = logging.getLogger(__name__)


def finishing(photos: int) -> str:
    """Return what an end waits for, and how not to wait."""
    return f"finishing {count(photos, 'photo')} (Ctrl-C again: stop at once; what is not done is done later)"


class Supervisor:
    """Drives the parts until a signal, a reload, or the end of the work."""

    def __init__(
        self,
        settings: Settings,
        parts: Parts,
        wakeup: Wakeup,
        timing: Timing,
        reread: Callable[[], Settings] | None = None,
    ) -> None:
        """reread: reads the configuration again; None if it cannot be reloaded."""
        self._settings = settings
        self._parts = parts
        self._wakeup = wakeup
        self._timing = timing
        self._reread = reread
        self._notices = DesktopNotices(self._situation, parts.hooks.run) if settings.hooks.desktop else None
        self._in_work = InWorkFile(settings.state_dir)
        self.following: Settings | None = None  # the configuration to use next, after a reload

    def serve(self, notifier: Notifier) -> None:
        """Load the engines and work until a signal or a reload."""
        self._parts.pool.start(time.monotonic())
        while not self.is_done:
            due_s = self.step()
            self.sleep_until(min(due_s, notifier.step(self._health(), time.monotonic())))
        if self._wakeup.stopping:
            notifier.stopping()
        else:
            notifier.reloading()
        self.finish()

    def scan(self) -> int:
        """Scan the outboxes once; return how many photos wait."""
        self._parts.intake.step(time.monotonic())
        if self.has_work:
            self._parts.pool.start(time.monotonic())
        return self.waiting

    @property
    def waiting(self) -> int:
        """How many photos can finish without user action."""
        return self._parts.intake.unsettled + self._parts.dispatcher.waiting

    @property
    def has_work(self) -> bool:
        """Whether any photo can finish without user action; False in quiet hours, when none can."""
        is_quiet = self._settings.engine.quiet_now is not None
        return not is_quiet and self.waiting > 0

    @property
    def is_done(self) -> bool:
        """Whether to end: at a signal, or after a reload once the engines have finished their batches."""
        return self._wakeup.stopping or (self.following is not None and not self._parts.pool.in_work)

    def step(self) -> float:
        """Do everything that is due; return when there is more to do, on the monotonic clock."""
        now = time.monotonic()
        self._parts.ledger.check_file()
        if self._wakeup.reload or (self._reread and self._parts.placement.has_new_link()):
            self._on_hangup()
        self._parts.control.step(now, self._run)
        self._parts.intake.step(now)
        engine_due_s = self._parts.dispatcher.step(now, feed=self.following is None)
        self._in_work.note(self._parts.pool.progress)
        if self.is_done:
            return now
        # Computed last: the dispatcher may have sent a changed photo back to be debounced.
        notices_due_s = self._notices.step(now) if self._notices else None
        due = [self._parts.intake.due_s, engine_due_s, self._parts.control.due_s, notices_due_s]
        return min(due_s for due_s in due if due_s is not None)

    def sleep_until(self, due_s: float) -> None:
        """Sleep until a time, or until an event, an answer or a signal."""
        pause_s = max(due_s - time.monotonic(), 0.0)
        wait([self._wakeup.read_fd, *self._parts.pool.connections, *self._parts.control.waitables], pause_s)
        self._wakeup.clear()

    def finish(self) -> None:
        """Give the engines `finish_s` to finish their batches, less after a second signal; start nothing new."""
        if self._wakeup.stopping:
            log.info("ended by %s", self._wakeup.signal)
        self._parts.control.close()
        if self._parts.pool.in_work:
            by_hand = self._wakeup.signal == signal.SIGINT.name  # who pressed Ctrl-C waits, also with --quiet
            level = logging.WARNING if by_hand else logging.INFO
            log.log(level, "%s; no further one is begun", finishing(len(self._parts.pool.in_work)))
        deadline_s = time.monotonic() + self._timing.finish_s
        while self._parts.pool.in_work and time.monotonic() < deadline_s and not self._wakeup.hurried:
            self.sleep_until(deadline_s)
            self._parts.dispatcher.step(time.monotonic(), feed=False)
            self._in_work.note(self._parts.pool.progress)

    def held(self) -> tuple[HeldPhoto, ...]:
        """Every photo that is held."""
        return tuple(
            HeldPhoto(photo.source.outbox.user, photo.source.path, photo.reason or "")
            for photo in self._parts.ledger.in_state(State.HELD)
        )

    def _health(self) -> Health:
        return Health(
            engine_ready=bool(self._parts.pool.devices),
            working=bool(self._parts.pool.in_work),
            progress=self._parts.pool.signs_of_life,
        )

    def _situation(self) -> Situation:
        ledger = self._parts.ledger
        return Situation(
            held=ledger.count(State.HELD),
            review=ledger.count(State.REVIEW),
            waiting=self._parts.dispatcher.waiting,
            paused=self._parts.destinations.paused_users,
        )

    def _run(self, command: Command) -> str:
        if isinstance(command, Reload):
            return self._reload()
        if isinstance(command, NewTarget) and self._reread is not None and self.following is None:
            self.following = self._settings  # engines that know the former target end
        now = time.monotonic()
        effects = Effects(
            look_again=lambda source: self._parts.intake.debounce(source, now),
            drop_result=self._parts.results.drop,
            recall=lambda photo: self._parts.destinations.recall(photo, now),
        )
        return apply(command, self._parts.ledger, effects)

    def _on_hangup(self) -> None:
        """Handle SIGHUP: `run` reloads its configuration, `once` ends with its terminal."""
        self._wakeup.reload = False
        if self._reread is None:
            self._wakeup.stopping = True
            return
        try:
            log.info("%s", self._reload())
        except ConfigError as exc:
            log.warning("not reloaded, the previous configuration stays in use: %s", printable(str(exc)))

    def _reload(self) -> str:
        """Read the configuration to use next. Raises ConfigError and InputError, and then the current one stays."""
        if self._reread is None:
            raise InputError("this is `fawkesd once`, which reads its configuration only at start")
        following = self._reread()
        if following.state_dir != self._settings.state_dir:
            raise ConfigError("state_dir cannot change while fawkesd runs; stop it first")
        self.following = following
        return "the configuration is valid; it takes effect as soon as the photos in progress are finished"
