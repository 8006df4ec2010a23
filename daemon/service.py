"""Wires the parts together and runs them: `run` until a signal, `once` until nothing waits.

One thread runs everything: it sleeps until an event, an answer of the engine, a signal or a due time.
Watchdog's own threads only append to a queue.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import wait
from types import FrameType

from daemon.containers import file_is_complete
from daemon.dispatch import Dispatcher
from daemon.errors import DaemonError, SyncUnavailable
from daemon.exits import Exit, code_of
from daemon.files import look
from daemon.intake import Intake
from daemon.lanes import Lane, Lanes
from daemon.ledger import LEDGER_NAME, Ledger
from daemon.locks import DirectoryLock
from daemon.model import HeldPhoto, Outbox, Photo, Progress, State
from daemon.names import printable
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


def run(settings: Settings, factory: str = DEFAULT_FACTORY) -> int:
    """Run in the foreground until SIGTERM or SIGINT; returns the exit code, which `exits` explains."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    try:
        with Supervisor(settings, factory, give_up_s=_GIVE_UP_S) as supervisor:
            supervisor.watch()
            while not supervisor.stopping:
                supervisor.sleep_until(supervisor.step())
            supervisor.finish()
    except DaemonError as exc:
        log.critical("%s", printable(str(exc)))
        return code_of(exc)
    return Exit.OK


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

    with Supervisor(settings, factory, give_up_s=_ONCE_GIVE_UP_S, on_end=on_end) as supervisor:
        progress.total(supervisor.scan())
        while not supervisor.stopping and supervisor.has_work:
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
        *,
        give_up_s: float,
        on_end: Callable[[Photo, State], None] = lambda _photo, _state: None,
    ) -> None:
        self._settings = settings
        self._factory = factory
        self._give_up_s = give_up_s
        self._on_end = on_end
        self._stack = contextlib.ExitStack()
        self.stopping = False

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
        settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        settings.state_dir.chmod(0o700)
        stack.callback(DirectoryLock(settings.state_dir).release)
        self._wakeup = stack.enter_context(_wakeup())
        stack.enter_context(self._signals())
        self.ledger = Ledger(settings.state_dir / LEDGER_NAME)
        stack.callback(self.ledger.close)
        self.lanes = self._make_lanes()
        stack.callback(self.lanes.close)
        self.lanes.open(time.monotonic())
        self._outboxes = [
            Outbox(user.name, outbox.resolve()) for user in settings.users for outbox in user.outboxes
        ]
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
            settle_again=self._intake.settle_again,
            on_end=self._on_end,
        )

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

    def step(self) -> float:
        """Do everything that is due; return when there is more to do, on the monotonic clock."""
        now = time.monotonic()
        self._intake.step(now)
        engine_due_s = self._dispatcher.step(now)
        # Asked last: the dispatcher may have sent a changed photo back to settle.
        return min(self._intake.due_s, math.inf if engine_due_s is None else engine_due_s)

    def sleep_until(self, due_s: float) -> None:
        """Sleep, unless an event, an answer or a signal comes first."""
        connection = self.pool.connection
        wakeup_fd = self._wakeup.read_fd
        wait([wakeup_fd, connection] if connection else [wakeup_fd], max(due_s - time.monotonic(), 0.0))
        self._wakeup.clear()

    def finish(self) -> None:
        """Let the engine finish its batch if it does so soon; begin nothing new."""
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
        self._wakeup.set()

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

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT set a flag and end the sleep; nothing else happens in a handler."""

        def stop(_number: int, _frame: FrameType | None) -> None:
            self.stopping = True

        old_fd = signal.set_wakeup_fd(self._wakeup.write_fd)
        old = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(old_fd)


@dataclass(frozen=True, slots=True)
class _Wakeup:
    """A pipe that ends a sleep, usable from threads and signal handlers."""

    read_fd: int
    write_fd: int

    def set(self) -> None:
        with contextlib.suppress(BlockingIOError):  # full: it is set already
            os.write(self.write_fd, b"\0")

    def clear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self.read_fd, 4096):
                pass


@contextlib.contextmanager
def _wakeup() -> Iterator[_Wakeup]:
    read_fd, write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield _Wakeup(read_fd, write_fd)
    finally:
        os.close(read_fd)
        os.close(write_fd)
