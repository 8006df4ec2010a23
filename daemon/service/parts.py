"""Assembles the parts of a run in the order in which they start; they stop in reverse."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from daemon.config.settings import Settings
from daemon.control.server import ControlServer
from daemon.errors import LedgerUnavailable
from daemon.fs.files import explain, rights, snapshot_of
from daemon.fs.locks import DirectoryLock
from daemon.model import Outbox, Photo, State
from daemon.publish.destinations import Destination, Destinations
from daemon.publish.publisher import Publisher
from daemon.publish.sync_folder import SyncFolder
from daemon.service.admission import Admission
from daemon.service.dispatcher import Dispatcher
from daemon.service.hooks import Hooks
from daemon.service.outcomes import Outcomes
from daemon.service.page import Page
from daemon.service.placement import Placement
from daemon.state import facts
from daemon.state.folder import prepare
from daemon.state.ledger import Ledger
from daemon.state.result_cache import ResultCache
from daemon.state.schema import LEDGER_NAME
from daemon.state.targets import FileTargetStore
from daemon.timing import Timing
from daemon.watch.completeness import why_unfinished
from daemon.watch.intake import Intake
from daemon.watch.outboxes import Outboxes
from daemon.watch.readiness import Readiness
from daemon.watch.watcher import Arrival, NoWatcher, Watcher
from daemon.workers.pool import EnginePool

_COMMAND_S = 2.0  # a command to a stopped service locks the state directory while it writes to the ledger


@dataclass(frozen=True, slots=True)
class Parts:
    """What the supervisor's loop drives."""

    ledger: Ledger
    results: ResultCache
    hooks: Hooks
    placement: Placement
    outboxes: Outboxes
    destinations: Destinations
    intake: Intake
    pool: EnginePool
    dispatcher: Dispatcher
    control: ControlServer


@contextlib.contextmanager
def assembled(
    settings: Settings,
    factory: str,
    timing: Timing,
    *,
    give_up_s: float,
    on_arrival: Callable[[], None] | None = None,
    on_end: Callable[[Photo], None] = lambda _photo: None,
    page: Sequence[str] = (),
) -> Iterator[Parts]:
    """Context manager: the parts of a run.

    factory: makes the engine, as in `EngineSpec`. give_up_s: until an unchanging, incomplete file is passed on.
    on_arrival: called from the watcher's threads; None if the outboxes are not watched. on_end: called once per
    finished photo. page: the command that shows the web page; empty for none.

    Raises AlreadyRunning and LedgerError.
    """
    with contextlib.ExitStack() as stack:
        stack.callback(_locked(settings.state_dir).release)
        roots = [Outbox(u.name, path, u.ignore) for u in settings.users for path in u.outboxes]
        ledger = Ledger(settings.state_dir / LEDGER_NAME)
        stack.callback(ledger.close)
        ledger.facts.forget(facts.ENGINE)  # the engine of an earlier run is gone
        ledger.pauses.configure(roots)
        hooks = Hooks(settings)
        hooks.start()
        stack.callback(hooks.stop)

        def ended(photo: Photo) -> None:
            hooks.on_end(photo)
            on_end(photo)

        placement = Placement(settings)
        targets = FileTargetStore(settings.targets_dir)
        destinations = Destinations(
            _destinations(settings, ledger, placement), ledger, targets, ended, timing
        )
        stack.callback(destinations.close)
        destinations.open(time.monotonic())
        outboxes = Outboxes(roots, ledger, placement.objection)
        arrivals: deque[Arrival] = deque()
        watcher = _watcher(arrivals, on_arrival)
        readiness = Readiness(
            settle_s=settings.watch.settle_s,
            give_up_s=give_up_s,
            doubt_s=timing.doubt_s,
            look=snapshot_of,
            why_unfinished=why_unfinished,
        )
        intake = Intake(outboxes, ledger, readiness, watcher, arrivals, settings.watch, timing)
        pool = EnginePool.of(settings, factory, timing)
        results = ResultCache.of(settings.state_dir, ledger.facts)
        _settle_reviews(ledger, results)
        outcomes = Outcomes(
            outboxes,
            destinations,
            ledger,
            results,
            settings.retry,
            debounce=intake.debounce,
            on_end=ended,
            reviewed={user.name for user in settings.users if user.review},
        )
        admission = Admission(ledger, results, outcomes, settings.request)
        dispatcher = Dispatcher(outboxes, destinations, ledger, pool, admission, outcomes, settings, timing)
        # The engines stop before the folders and the ledger close: their unanswered photos are requeued first.
        stack.callback(_requeue, pool, outcomes)
        control = ControlServer(settings.state_dir)
        stack.callback(control.close)
        if isinstance(watcher, Watcher):
            watcher.start()
            stack.callback(watcher.stop)
        if page and settings.web.listen is not None:
            web_page = Page(page, settings.web.listen)
            web_page.start()
            stack.callback(web_page.stop)
        yield Parts(
            ledger, results, hooks, placement, outboxes, destinations, intake, pool, dispatcher, control
        )


def _locked(state_dir: Path) -> DirectoryLock:
    try:
        prepare(state_dir)
        return DirectoryLock(state_dir, _COMMAND_S)
    except OSError as exc:
        reason = f"{explain(exc)}{rights(state_dir, exc)}"
        raise LedgerUnavailable(f"the state directory {state_dir} cannot be used: {reason}") from exc


def _settle_reviews(ledger: Ledger, results: ResultCache) -> None:
    """Make photos in review READY whose results are lost, and remove every result that no photo waits for."""
    lost = [photo for photo in ledger.in_state(State.REVIEW) if not results.size(photo)]
    ledger.move_all(lost, State.READY)
    waiting = ledger.in_state(State.READY, State.REVIEW, State.REJECTED)
    results.sweep(
        photo
        for photo in waiting
        if photo.state is not State.REJECTED or snapshot_of(photo.source.path) is not None
    )


def _destinations(settings: Settings, ledger: Ledger, placement: Placement) -> list[Destination]:
    destinations = []
    for user in settings.users:
        folder = SyncFolder(user.sync, user.staging_dir, ledger, placement.objection)
        publisher = Publisher(folder, ledger, moves_renamed=user.renamed == "move")
        destinations.append(Destination(user.name, folder, publisher))
    return destinations


def _watcher(arrivals: deque[Arrival], on_arrival: Callable[[], None] | None) -> Watcher | NoWatcher:
    if on_arrival is None:
        return NoWatcher()

    def arrive(arrival: Arrival) -> None:
        arrivals.append(arrival)
        on_arrival()

    return Watcher(arrive)


def _requeue(pool: EnginePool, outcomes: Outcomes) -> None:
    left = pool.stop()
    with contextlib.suppress(LedgerUnavailable):  # the next start finds them WORKING and requeues them
        outcomes.put_back(left)
