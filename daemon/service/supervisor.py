"""The parts of the service, wired: the order in which they start, the loop, the reverse order in which they stop."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from pathlib import Path

from daemon.config.settings import Settings
from daemon.control.commands import Command, Reload, apply
from daemon.control.server import Control
from daemon.errors import ConfigError, InputError, LedgerUnavailable
from daemon.fs.files import explain, snapshot_of
from daemon.fs.locks import DirectoryLock, make_private
from daemon.model import HeldPhoto, Outbox, Photo, State
from daemon.publish.destinations import Destination, Destinations
from daemon.publish.publisher import Publisher
from daemon.publish.sync_folder import SyncFolder
from daemon.sd.notifier import Health, Notifier
from daemon.service.desktop import DesktopNotices, Situation
from daemon.service.dispatcher import Dispatcher
from daemon.service.hooks import Hooks
from daemon.service.outcomes import Outcomes
from daemon.service.wakeup import Wakeup
from daemon.state import facts
from daemon.state.ledger import LEDGER_NAME, Ledger
from daemon.state.result_cache import ResultCache
from daemon.text import printable
from daemon.watch.completeness import file_is_finished
from daemon.watch.intake import Intake
from daemon.watch.outboxes import Outboxes
from daemon.watch.readiness import Readiness
from daemon.watch.watcher import Arrival, Watcher
from daemon.workers.pool import EnginePool

log = logging.getLogger(__name__)

_COMMAND_S = 2.0  # a command to a stopped service has the state directory until it has written to the ledger
_FINISH_S = 20.0  # a batch may go on for so long after a signal to stop


class Supervisor:
    """The parts, in their order of starting; leaving the with block stops them in reverse."""

    def __init__(
        self,
        settings: Settings,
        factory: str,
        signals: Wakeup,
        *,
        give_up_s: float,
        on_end: Callable[[Photo, State], None] = lambda _photo, _state: None,
        reread: Callable[[], Settings] | None = None,
    ) -> None:
        """reread: reads the configuration again; None if this one is for the whole run."""
        self._settings = settings
        self._factory = factory
        self._give_up_s = give_up_s
        self._on_end = on_end
        self._wakeup = signals
        self._reread = reread
        self._stack = contextlib.ExitStack()
        self._watcher: Watcher | None = None
        self.following: Settings | None = None

    def __enter__(self) -> Supervisor:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stack.close()

    def _start(self) -> None:
        settings, stack = self._settings, self._stack
        stack.callback(_own(settings.state_dir).release)
        outboxes = [Outbox(u.name, path.resolve(), u.ignore) for u in settings.users for path in u.outboxes]
        self.ledger = Ledger(settings.state_dir / LEDGER_NAME)
        stack.callback(self.ledger.close)
        self.ledger.forget(facts.ENGINE)  # the engine of an earlier run is gone
        self.ledger.pauses.configure(outboxes)
        self.hooks = Hooks(settings)
        self.hooks.start()
        stack.callback(self.hooks.stop)
        self.destinations = self._make_destinations()
        stack.callback(self.destinations.close)
        self.destinations.open(time.monotonic())
        roots = Outboxes(outboxes, self.ledger)
        self._intake = self._make_intake(roots)
        self.pool = EnginePool.of(settings, self._factory)
        # The engine ends before the folders and the ledger close: what it had goes back first.
        stack.callback(self._put_back)
        results = ResultCache(settings.state_dir / "results")
        results.sweep(self.ledger.in_state(State.READY))
        self._outcomes = Outcomes(
            roots,
            self.destinations,
            self.ledger,
            results,
            settings.retry,
            settle_again=self._intake.settle_again,
            on_end=self._ended,
        )
        self._dispatcher = Dispatcher(
            roots,
            self.destinations,
            self.ledger,
            self.pool,
            self._outcomes,
            settings,
        )
        self._notices = DesktopNotices(self._situation, self.hooks.run) if settings.hooks.desktop else None
        self._control = Control(settings.state_dir, self._obey)
        stack.callback(self._control.close)

    def serve(self, notifier: Notifier) -> None:
        """Listen for photos, load the engine, and work until a signal or a reload."""
        self._watch()
        while not self.is_done:
            due_s = self.step()
            self.sleep_until(min(due_s, notifier.step(self._health(), time.monotonic())))
        if self._wakeup.stopping:
            notifier.stopping()
        else:
            notifier.reloading()
        self.finish()

    def _watch(self) -> None:
        self._watcher = watcher = Watcher(self._arrive)
        watcher.start()
        self._stack.callback(watcher.stop)
        self._intake.watcher = watcher
        self.pool.start(time.monotonic())

    def scan(self) -> int:
        """Look for photos once; returns how many wait."""
        self._intake.step(time.monotonic())
        if self.has_work:
            self.pool.start(time.monotonic())
        return self._intake.unsettled + self._dispatcher.waiting

    @property
    def has_work(self) -> bool:
        """Whether anything is left that will come to an end by itself, not only once the quiet hours are over."""
        is_quiet = self._settings.engine.quiet_now is not None
        return not is_quiet and self._intake.unsettled + self._dispatcher.waiting > 0

    @property
    def is_done(self) -> bool:
        """Whether to end: at a signal, or once the engine has finished what it had at a reload."""
        return self._wakeup.stopping or (self.following is not None and not self.pool.in_work)

    def step(self) -> float:
        """Do everything that is due; return when there is more to do, on the monotonic clock."""
        now = time.monotonic()
        if self._wakeup.reload:
            self._hang_up()
        self._control.step(now)
        self._intake.step(now)
        engine_due_s = self._dispatcher.step(now, feed=self.following is None)
        if self.is_done:
            return now
        # Asked last: the dispatcher may have sent a changed photo back to settle.
        notices_due_s = self._notices.step(now) if self._notices else None
        due = [self._intake.due_s, engine_due_s, self._control.due_s, notices_due_s]
        return min(due_s for due_s in due if due_s is not None)

    def sleep_until(self, due_s: float) -> None:
        """Sleep, unless an event, an answer or a signal comes first."""
        pause_s = max(due_s - time.monotonic(), 0.0)
        wait([self._wakeup.read_fd, *self.pool.connections, *self._control.waitables], pause_s)
        self._wakeup.clear()

    def finish(self) -> None:
        """Let the engine finish its batch if it does so soon; begin nothing new."""
        self._control.close()
        deadline_s = time.monotonic() + _FINISH_S
        while self.pool.in_work and time.monotonic() < deadline_s:
            self.sleep_until(deadline_s)
            self._dispatcher.step(time.monotonic(), feed=False)

    def held(self) -> tuple[HeldPhoto, ...]:
        """Every photo that is held."""
        return tuple(
            HeldPhoto(photo.source.outbox.user, photo.source.path, photo.reason or "")
            for photo in self.ledger.in_state(State.HELD)
        )

    def _health(self) -> Health:
        return Health(
            engine_ready=bool(self.pool.devices),
            watching=self._watcher is not None and self._watcher.is_alive,
            working=bool(self.pool.in_work),
            progress=self.pool.signs_of_life,
        )

    def _situation(self) -> Situation:
        held = self.ledger.count(State.HELD)
        return Situation(held, self._dispatcher.waiting, self.destinations.paused_users)

    def _ended(self, photo: Photo, state: State) -> None:
        self.hooks.on_end(self.ledger.get(photo.id))
        self._on_end(photo, state)

    def _arrive(self, arrival: Arrival) -> None:
        self._intake.arrive(arrival)
        self._wakeup.set()

    def _obey(self, command: Command) -> str:
        if isinstance(command, Reload):
            return self._reload()
        return apply(command, self.ledger, lambda source: self._intake.settle_again(source, time.monotonic()))

    def _hang_up(self) -> None:
        """SIGHUP came: `run` reads its configuration again, `once` ends with its terminal."""
        self._wakeup.reload = False
        if self._reread is None:
            self._wakeup.stopping = True
            return
        try:
            log.info("%s", self._reload())
        except ConfigError as exc:
            log.warning("not reloaded, going on as before: %s", printable(str(exc)))

    def _reload(self) -> str:
        """Note the configuration that follows. Raises ConfigError and InputError; this one stays then."""
        if self._reread is None:
            raise InputError("this is `fawkesd once`, which reads its configuration at its start only")
        following = self._reread()
        if following.state_dir != self._settings.state_dir:
            raise ConfigError("state_dir cannot change while fawkesd runs; stop it first")
        self.following = following
        return "the configuration is right; it is used as soon as the photos in work are done"

    def _put_back(self) -> None:
        left = self.pool.stop()
        with contextlib.suppress(LedgerUnavailable):  # the next start finds them WORKING and does the same
            self._outcomes.put_back(left)

    def _make_destinations(self) -> Destinations:
        destinations = []
        for user in self._settings.users:
            folder = SyncFolder(user.sync, user.staging_dir, self.ledger)
            destinations.append(Destination(user.name, folder, Publisher(folder, self.ledger)))
        return Destinations(destinations, self.ledger, self._ended)

    def _make_intake(self, roots: Outboxes) -> Intake:
        readiness = Readiness(
            settle_s=self._settings.watch.settle_s,
            give_up_s=self._give_up_s,
            look=snapshot_of,
            is_finished=file_is_finished,
        )
        return Intake(roots, self.ledger, readiness, self._settings.watch)


def _own(state_dir: Path) -> DirectoryLock:
    try:
        make_private(state_dir)
        return DirectoryLock(state_dir, _COMMAND_S)
    except OSError as exc:
        raise LedgerUnavailable(f"the state directory {state_dir} cannot be used: {explain(exc)}") from exc
