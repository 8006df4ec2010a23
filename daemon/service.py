"""Wires the parts together and runs them: `run` until a signal, `once` until nothing waits.

One thread runs everything: it sleeps until an event, an answer of the engine, a signal or a due time.
Watchdog's own threads only append to a queue.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import wait

from daemon.bell import Bell, bell
from daemon.containers import file_is_complete
from daemon.control import Control
from daemon.dispatch import Dispatcher
from daemon.errors import (
    AlreadyRunning,
    ConfigError,
    DaemonError,
    EngineStartError,
    InputError,
    SyncUnavailable,
)
from daemon.exits import Exit, code_of
from daemon.files import look
from daemon.intake import Intake
from daemon.lanes import Lane, Lanes
from daemon.ledger import LEDGER_NAME, Ledger
from daemon.locks import DirectoryLock, make_private
from daemon.model import HeldPhoto, Outbox, Photo, Progress, State
from daemon.names import printable
from daemon.orders import AnyOrder, Reload, apply
from daemon.pool import EnginePool
from daemon.publisher import Publisher
from daemon.readiness import Readiness
from daemon.settings import Settings
from daemon.syncfolder import SyncFolder
from daemon.watcher import Arrival, Watcher
from daemon.worker import EngineSpec

log = logging.getLogger(__name__)

DEFAULT_FACTORY = "daemon.worker:make_engine"

_GIVE_UP_S = 600.0  # an incomplete file this long at rest is passed on, to be held
_ONCE_GIVE_UP_S = 10.0
_FINISH_S = 20.0  # a batch may go on for so long after a signal to stop


@dataclass(frozen=True, slots=True)
class OnceResult:
    """What `once` did. published: photos of this run. held: every photo now held, also from earlier runs."""

    published: int
    held: tuple[HeldPhoto, ...]


def run(settings: Settings, reread: Callable[[], Settings], factory: str = DEFAULT_FACTORY) -> int:
    """Run in the foreground until SIGTERM or SIGINT; returns the exit code, which `exits` explains.

    reread: reads the configuration again, at SIGHUP or `fawkesd reload`; may raise ConfigError.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    try:
        with bell() as signals:
            _run(settings, reread, factory, signals)
    except DaemonError as exc:
        log.critical("%s", printable(str(exc)))
        return code_of(exc)
    return Exit.OK


def _run(settings: Settings, reread: Callable[[], Settings], factory: str, signals: Bell) -> None:
    """Serve with one configuration after the other; one that does not even start gives way to the last."""
    following: Settings | None = settings
    proven: Settings | None = None
    while following is not None:
        settings = following
        try:
            with Supervisor(settings, factory, signals, give_up_s=_GIVE_UP_S, reread=reread) as supervisor:
                supervisor.watch()
                while not supervisor.is_done:
                    supervisor.sleep_until(supervisor.step())
                supervisor.finish()
            following, proven = supervisor.following, settings
        except (AlreadyRunning, EngineStartError) as exc:
            if proven is None:
                raise
            log.warning("the new configuration cannot be used: %s; going on as before", printable(str(exc)))
            following, proven = proven, None


def once(settings: Settings, progress: Progress, factory: str = DEFAULT_FACTORY) -> OnceResult:
    """Handle every photo that waits, then return; a signal ends it early with nothing half-done.

    Raises AlreadyRunning, EngineStartError, and SyncUnavailable if nothing is left but photos of users
    whose sync folder cannot be used.
    """
    published = 0

    def on_end(_photo: Photo, state: State) -> None:
        nonlocal published
        published += state is State.PUBLISHED
        progress.advance()

    with (
        bell() as signals,
        Supervisor(settings, factory, signals, give_up_s=_ONCE_GIVE_UP_S, on_end=on_end) as supervisor,
    ):
        progress.total(supervisor.scan())
        while not supervisor.is_done and supervisor.has_work:
            due_s = supervisor.step()
            if supervisor.has_work:
                supervisor.sleep_until(due_s)
        supervisor.finish()
        paused = supervisor.lanes.paused
        held = supervisor.held()
    if paused:
        raise SyncUnavailable(paused)
    return OnceResult(published, held)


class Supervisor:
    """The parts, in their order of starting; leaving the with block stops them in reverse."""

    def __init__(
        self,
        settings: Settings,
        factory: str,
        signals: Bell,
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
        self._bell = signals
        self._reread = reread
        self._stack = contextlib.ExitStack()
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
        make_private(settings.state_dir)
        stack.callback(DirectoryLock(settings.state_dir).release)
        self._outboxes = [
            Outbox(user.name, outbox.resolve()) for user in settings.users for outbox in user.outboxes
        ]
        self.ledger = Ledger(settings.state_dir / LEDGER_NAME)
        stack.callback(self.ledger.close)
        self.ledger.forget_facts()
        self.ledger.configure(self._outboxes)
        self.lanes = self._make_lanes()
        stack.callback(self.lanes.close)
        self.lanes.open(time.monotonic())
        self._intake = self._make_intake()
        spec = EngineSpec(self._factory, settings.engine.to_engine(), settings.targets_dir)
        self.pool = EnginePool(spec, photo_timeout_s=settings.engine.photo_timeout_s)
        # The engine ends before the folders and the ledger close: what it had goes back first.
        stack.callback(self._put_back)
        self._dispatcher = Dispatcher(
            self.lanes,
            self.ledger,
            self.pool,
            settings.retry,
            batch_photos=settings.engine.batch_photos,
            order=settings.watch.order,
            settle_again=self._intake.settle_again,
            on_end=self._on_end,
        )
        self._control = Control(settings.state_dir, self._obey)
        stack.callback(self._control.close)

    def watch(self) -> None:
        """Listen for photos from now on, and keep the engine loaded."""
        watcher = Watcher(self._outboxes, self._arrive)
        watcher.start()
        self._stack.callback(watcher.stop)
        self._intake.before_rescan = watcher.rearm
        self.pool.start(time.monotonic())

    def scan(self) -> int:
        """Look for photos once; returns how many wait."""
        self._intake.rescan(time.monotonic())
        if self.has_work:
            self.pool.start(time.monotonic())
        return self._intake.unsettled + self._dispatcher.waiting

    @property
    def has_work(self) -> bool:
        """Whether anything is left that will come to an end by itself."""
        return self._intake.unsettled + self._dispatcher.waiting > 0

    @property
    def is_done(self) -> bool:
        """Whether to end: at a signal, or once the engine has finished what it had at a reload."""
        return self._bell.stopping or (self.following is not None and not self.pool.in_work)

    def step(self) -> float:
        """Do everything that is due; return when there is more to do, on the monotonic clock."""
        now = time.monotonic()
        if self._bell.reload:
            self._hang_up()
        self._control.step(now)
        self._intake.step(now)
        engine_due_s = self._dispatcher.step(now, feed=self.following is None)
        # Asked last: the dispatcher may have sent a changed photo back to settle.
        due = [self._intake.due_s, engine_due_s, self._control.due_s]
        return min(due_s for due_s in due if due_s is not None)

    def sleep_until(self, due_s: float) -> None:
        """Sleep, unless an event, an answer or a signal comes first."""
        connection = self.pool.connection
        engine = [connection] if connection else []
        wait([self._bell.read_fd, *engine, *self._control.waitables], max(due_s - time.monotonic(), 0.0))
        self._bell.clear()

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

    def _arrive(self, arrival: Arrival) -> None:
        self._intake.arrive(arrival)
        self._bell.set()

    def _obey(self, order: AnyOrder) -> str:
        if isinstance(order, Reload):
            return self._reload()
        return apply(order, self.ledger, lambda source: self._intake.settle_again(source, time.monotonic()))

    def _hang_up(self) -> None:
        """SIGHUP came: `run` reads its configuration again, `once` ends with its terminal."""
        self._bell.reload = False
        if self._reread is None:
            self._bell.stopping = True
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
        self._dispatcher.put_back(self.pool.stop())

    def _make_lanes(self) -> Lanes:
        lanes = []
        for user in self._settings.users:
            folder = SyncFolder(user.sync, user.staging_dir, self.ledger)
            lanes.append(Lane(user.name, folder, Publisher(folder, self.ledger)))
        return Lanes(lanes, self.ledger, self._on_end)

    def _make_intake(self) -> Intake:
        readiness = Readiness(
            settle_s=self._settings.watch.settle_s,
            give_up_s=self._give_up_s,
            look=look,
            is_complete=file_is_complete,
        )
        return Intake(self._outboxes, self.ledger, readiness, rescan_s=self._settings.watch.rescan_s)
