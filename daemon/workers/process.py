"""One engine process, from the supervisor's side: feeds it, detects hangs and crashes, and respawns it with backoff.

No thread and no sleep: `poll` is called when `connection` is readable or `due_s` is reached. Times are
seconds of a monotonic clock.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection

from daemon.errors import EngineStartError
from daemon.model import Photo
from daemon.sd import journal
from daemon.sd.journal import about
from daemon.text import printable
from daemon.timing import Timing
from daemon.workers.child import Child
from daemon.workers.protocol import EngineSpec, Failed, Heartbeat, Message, Outcome, Ready, Result
from fawkes_engine import Phase, Request, Step, WeightsError

log = logging.getLogger(__name__)

_START_LIMIT_S = 300.0  # models from a slow disk, and CUDA's first start
_STARTS_BEFORE_GIVING_UP = 3
_FIRST = Step(Phase.FIND)  # of a batch, until the engine says more


@dataclass(frozen=True, slots=True)
class Answer:
    """The engine's outcome for one photo."""

    photo: Photo
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Died:
    """The engine process died. photos: the unanswered ones. alone: its batch was a single photo."""

    reason: str
    photos: tuple[Photo, ...]
    alone: bool


ProcessEvent = Ready | Answer | Died


class EngineProcess:
    """Keeps an engine process running, from a `start` until a `stop`."""

    def __init__(self, spec: EngineSpec, photo_timeout_s: float, timing: Timing) -> None:
        """photo_timeout_s: a working engine that sends no message for this long is killed."""
        self._spec = spec
        self._photo_timeout_s = photo_timeout_s
        self._timing = timing
        self._child: Child | None = None
        self._batch: dict[int, Photo] = {}
        self._batch_size = 0
        self._start_at_s: float | None = None
        self._failures = 0
        self._was_ever_ready = False
        self.step = _FIRST  # how far the batch is
        self.ready: Ready | None = None  # its message once its models were loaded
        self.sign_of_life_s = 0.0  # monotonic: its last message, submission or start
        self.signs_of_life = 0  # messages received; grows while it makes progress with a batch

    @property
    def connection(self) -> Connection | None:
        """What to wait on."""
        return self._child.connection if self._child else None

    @property
    def pid(self) -> int | None:
        """The engine process's pid, if it runs."""
        return self._child.pid if self._child else None

    @property
    def is_idle(self) -> bool:
        """Whether a batch can be submitted."""
        return self.ready is not None and not self._batch

    @property
    def is_away(self) -> bool:
        """Whether no engine runs or is about to: not started yet, or stopped."""
        return self._child is None and self._start_at_s is None

    @property
    def in_work(self) -> tuple[Photo, ...]:
        """The photos submitted and not yet answered."""
        return tuple(self._batch.values())

    @property
    def due_s(self) -> float | None:
        """When `poll` has something to do even if the pipe stays silent."""
        return self._start_at_s if self._child is None else self._deadline_s()

    def start(self, now: float) -> None:
        """Start the engine; no effect if it runs or is about to."""
        if self._child is None and self._start_at_s is None:
            self._start_at_s = now

    def submit(self, photos: Sequence[Photo], requests: Sequence[Request], now: float) -> None:
        """Submit a batch to an idle engine: the photos and, in the same order, their requests."""
        assert self._child is not None, "submit only to a running engine"
        assert not self._batch, "submit only to an idle engine"
        self._batch = dict(enumerate(photos))
        self._batch_size = len(photos)
        self.step = _FIRST
        self.sign_of_life_s = now
        self._child.send(requests)

    def poll(self, now: float) -> list[ProcessEvent]:
        """What happened since the last call.

        Raises EngineStartError if several starts have failed and none has ever succeeded, and WeightsError,
        since only the user can install weights.
        """
        if self._child is None:
            self._spawn_if_due(now)
            return []
        events: list[ProcessEvent] = []
        failed: Failed | None = None
        for message in self._child.receive():
            self.sign_of_life_s = now
            self.signs_of_life += 1
            if isinstance(message, Failed):
                failed = message
            else:
                events.extend(self._events(message))
        deadline_s = self._deadline_s()
        if deadline_s is not None and now >= deadline_s:
            failed = Failed("Hang", "the engine made no progress")
        if failed or not self._child.is_open:
            events.append(self._on_death(self._child, failed, now))
        return events

    def stop(self) -> tuple[Photo, ...]:
        """Stop the engine process; returns its unanswered photos."""
        left = self.in_work
        if self._child is not None:
            self._child.end()
        self._child, self.ready, self._batch, self._start_at_s = None, None, {}, None
        return left

    def _spawn_if_due(self, now: float) -> None:
        if self._start_at_s is not None and now >= self._start_at_s:
            self._start_at_s = None
            self.sign_of_life_s = now
            self._child = Child(self._spec)

    def _deadline_s(self) -> float | None:
        if self.ready is None:
            return self.sign_of_life_s + _START_LIMIT_S
        return self.sign_of_life_s + self._photo_timeout_s if self._batch else None

    def _events(self, message: Message) -> list[ProcessEvent]:
        match message:
            case Ready():
                self.ready = message
                self._was_ever_ready = True
                return [message]
            case Result():
                self._failures = 0
                return [Answer(self._batch.pop(message.index), message.outcome)]
            case Heartbeat():
                self.step = message.step
                return []
            case Failed():
                return []

    def _on_death(self, child: Child, failed: Failed | None, now: float) -> Died:
        ended = child.end()
        reason = failed.reason if failed else ended
        died = Died(reason, self.in_work, alone=self._batch_size == 1)
        self._child, self.ready, self._batch = None, None, {}
        self._failures += 1
        if failed and failed.kind == WeightsError.__name__:
            raise WeightsError(failed.reason)
        if not self._was_ever_ready and self._failures >= _STARTS_BEFORE_GIVING_UP:
            raise EngineStartError(f"the engine cannot be started: {reason}")
        delay_s = min(
            self._timing.respawn_first_s * 2 ** (self._failures - 1), self._timing.respawn_longest_s
        )
        self._start_at_s = now + delay_s
        log.warning(
            "engine stopped: %s; restarting in %.0f s",
            printable(reason),
            delay_s,
            extra=about(journal.Outcome.ENGINE_STOPPED),
        )
        return died
