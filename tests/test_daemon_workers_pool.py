"""The engine process: killed, hung, raising, broken from the start; real processes, no torch."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing import Pipe
from multiprocessing.connection import wait
from pathlib import Path

import pytest
from conftest import WITHIN_S, DaemonProcess, Home
from twins import Deed, is_cloaked, make_photo

from daemon.errors import EngineStartError
from daemon.model import Outbox, Photo, Snapshot, Source, State
from daemon.timing import DEFAULT_TIMING, Timing
from daemon.workers import worker
from daemon.workers.pool import EnginePool, Event, Unloaded
from daemon.workers.process import Answer, Died
from daemon.workers.protocol import EngineSpec, Heartbeat, Ready, Refused
from fawkes_engine import EngineSettings, Phase, Protected, Request, Step

Start = Callable[..., DaemonProcess]
Wait = Callable[[Callable[[], object]], None]
FACTORY = "twins:make_engine"


class Driver:
    """A pool and all that it has told."""

    def __init__(
        self,
        tmp_path: Path,
        factory: str = FACTORY,
        photo_timeout_s: float = 20.0,
        idle_unload_s: float | None = None,
        engines: int = 1,
        timing: Timing = DEFAULT_TIMING,
    ) -> None:
        specs = [EngineSpec(factory, EngineSettings(), tmp_path)] * engines
        self.pool = EnginePool(
            specs, photo_timeout_s=photo_timeout_s, idle_unload_s=idle_unload_s, timing=timing
        )
        self.events: list[Event] = []

    def run_until(self, kind: type[Event]) -> Event:
        """Poll until the next event of a kind."""
        deadline = time.monotonic() + WITHIN_S
        while True:
            now = time.monotonic()
            assert now < deadline, "the event never came"
            new = self.pool.poll(now)
            self.events += new
            for event in new:
                if isinstance(event, kind):
                    return event
            due_s = self.pool.due_s
            pause_s = 1.0 if due_s is None else min(max(due_s - now, 0), 1.0)
            wait(self.pool.connections, pause_s)

    def started(self) -> Driver:
        self.pool.start(time.monotonic())
        while not self.pool.is_complete:
            self.run_until(Ready)
        return self

    @property
    def pid(self) -> int:
        """The engine process, where there is one."""
        (pid,) = self.pids
        return pid

    @property
    def pids(self) -> list[int]:
        return [engine.pid for engine in self.pool.engines if engine.pid is not None]

    def submit(self, *deeds: Deed) -> list[Photo]:
        photos = [photo(number) for number in range(len(deeds))]
        requests = [Request(make_photo(deed, seed), "ada") for seed, deed in enumerate(deeds)]
        self.pool.idle[0].submit(photos, requests, time.monotonic())
        return photos


def photo(number: int) -> Photo:
    return Photo(
        id=number,
        source=Source(Outbox("ada", Path("/out")), Path(f"{number}.jpg")),
        generation=1,
        state=State.WORKING,
        snapshot=Snapshot(1, number, 1, 1, 1),
        attempts=0,
        alone=False,
        engine_deaths=0,
        input_sha256=None,
        output=None,
        reason=None,
    )


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    ready = Driver(tmp_path)
    yield ready
    ready.pool.stop()


def test_a_batch_is_answered_photo_by_photo_in_order(driver: Driver) -> None:
    photos = driver.started().submit(Deed.PROTECT, Deed.REFUSE, Deed.PROTECT)
    while not driver.pool.idle:
        driver.run_until(Answer)

    answers = [event for event in driver.events if isinstance(event, Answer)]
    assert [answer.photo for answer in answers] == photos
    assert isinstance(answers[0].outcome, Protected)
    assert is_cloaked(answers[0].outcome.data)
    assert answers[1].outcome == Refused("NoFace", "no face was found")


def test_ready_tells_the_engine_and_its_device(driver: Driver) -> None:
    driver.started()

    assert driver.events == [Ready("tiny-1", "abacus")]


def test_a_killed_engine_gives_its_photos_back_and_another_one_takes_over(driver: Driver) -> None:
    photos = driver.started().submit(Deed.HANG, Deed.PROTECT)
    first = driver.pid
    os.kill(first, signal.SIGKILL)

    died = driver.run_until(Died)

    assert died == Died("the engine process was killed by SIGKILL", tuple(photos), alone=False)
    driver.run_until(Ready)
    assert driver.pid != first
    driver.submit(Deed.PROTECT)
    driver.run_until(Answer)


def test_an_error_of_a_whole_batch_ends_the_engine_with_its_reason(driver: Driver) -> None:
    photos = driver.started().submit(Deed.RAISE)

    assert driver.run_until(Died) == Died("RuntimeError: out of memory", tuple(photos), alone=True)


def test_a_hung_engine_is_killed(tmp_path: Path) -> None:
    driver = Driver(tmp_path, photo_timeout_s=0.3).started()
    driver.submit(Deed.HANG)
    hung = driver.pid

    died = driver.run_until(Died)

    assert isinstance(died, Died)
    assert died.reason == "the engine made no progress"
    with pytest.raises(ProcessLookupError):
        os.kill(hung, 0)
    driver.pool.stop()


def test_an_engine_that_never_starts_is_given_up_with_its_reason(tmp_path: Path) -> None:
    driver = Driver(tmp_path, "twins:make_broken_engine", timing=Timing(respawn_first_s=0.01))
    driver.pool.start(time.monotonic())

    with pytest.raises(EngineStartError, match="the weights are missing"):
        driver.run_until(Ready)


def test_the_engine_gets_an_environment_that_the_supervisor_does_not_keep(driver: Driver) -> None:
    driver.started()

    environment = Path(f"/proc/{driver.pid}/environ").read_bytes()
    assert b"MALLOC_TRIM_THRESHOLD_=" in environment
    assert b"GOMP_SPINCOUNT=" in environment
    assert "MALLOC_TRIM_THRESHOLD_" not in os.environ


@pytest.mark.parametrize("engines", [1, 2])
def test_engines_share_three_quarters_of_the_memory(
    home: Home, start: Start, eventually: Wait, engines: int
) -> None:
    engine = home.settings.engine.model_copy(update={"device": ",".join(["cpu"] * engines)})
    daemon = start(home.settings.model_copy(update={"engine": engine}))
    eventually(lambda: daemon.log.count("engine ready") == engines)

    soft_bytes, _ = resource.prlimit(daemon.engine_pid, resource.RLIMIT_DATA)

    physical_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert soft_bytes == pytest.approx(0.75 * physical_bytes / engines, rel=1e-6)


def test_the_engine_ends_with_its_supervisor(tmp_path: Path, eventually: Wait) -> None:
    read_fd, write_fd = os.pipe()
    supervisor = os.fork()
    if supervisor == 0:
        driver = Driver(tmp_path).started()
        driver.submit(Deed.HANG)
        os.write(write_fd, str(driver.pid).encode())
        signal.pause()
    engine = int(os.read(read_fd, 32))
    os.close(read_fd)
    os.close(write_fd)
    os.kill(supervisor, signal.SIGKILL)
    os.waitpid(supervisor, 0)

    eventually(lambda: not _is_running(engine))


def test_an_idle_engine_is_unloaded_when_its_time_is_over_and_another_one_can_be_called(
    tmp_path: Path,
) -> None:
    driver = Driver(tmp_path, idle_unload_s=100.0).started()
    first, due_s = driver.pid, driver.pool.due_s
    assert due_s is not None

    assert driver.pool.poll(due_s - 0.1) == []
    assert not driver.pool.is_away
    assert driver.pool.poll(due_s) == [Unloaded()]
    assert (driver.pool.is_away, driver.pool.is_complete, driver.pool.due_s) == (True, False, None)
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)
    driver.started().submit(Deed.PROTECT)
    driver.run_until(Answer)
    driver.pool.stop()


def test_an_engine_is_idle_from_its_last_answer_on(tmp_path: Path) -> None:
    driver = Driver(tmp_path, idle_unload_s=10.0).started()
    ready_due_s = driver.pool.due_s
    driver.submit(Deed.HANG)
    assert driver.pool.poll(time.monotonic() + 15) == [], (
        "it works, however long it takes, and has 20 s for a photo"
    )
    driver.pool.stop()
    driver.started().submit(Deed.TAKE_A_SECOND)
    driver.run_until(Answer)

    assert ready_due_s is not None
    assert driver.pool.due_s is not None
    assert driver.pool.due_s >= ready_due_s + 1.0
    driver.pool.stop()


def test_an_engine_without_a_limit_is_never_unloaded(driver: Driver) -> None:
    assert driver.started().pool.due_s is None
    assert driver.pool.poll(time.monotonic() + 1e9) == []


def test_stopping_gives_back_the_photos_without_an_answer(driver: Driver) -> None:
    photos = driver.started().submit(Deed.HANG)

    assert driver.pool.stop() == tuple(photos)
    assert driver.pool.due_s is None


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Driver]:
    both = Driver(tmp_path, idle_unload_s=100.0, engines=2).started()
    yield both
    both.pool.stop()


def test_one_engine_answers_while_another_one_works(two: Driver) -> None:
    assert two.pool.devices == ["abacus", "abacus"]
    hung, quick = two.submit(Deed.HANG), two.submit(Deed.PROTECT)
    assert two.pool.idle == []
    assert two.pool.in_work == (*hung, *quick)

    two.run_until(Answer)

    assert len(two.pool.idle) == 1
    assert two.pool.in_work == tuple(hung)


def test_a_killed_engine_gives_back_its_own_photos_only(two: Driver) -> None:
    hung, other = two.submit(Deed.HANG), two.submit(Deed.HANG)
    os.kill(two.pids[0], signal.SIGKILL)

    died = two.run_until(Died)

    assert isinstance(died, Died)
    assert died.photos == tuple(hung)
    assert two.pool.devices == ["abacus"]
    assert two.pool.in_work == tuple(other)
    assert not two.pool.is_away
    two.run_until(Ready)
    assert two.pool.is_complete


def test_engines_are_unloaded_together_once_all_are_idle(two: Driver) -> None:
    two.submit(Deed.TAKE_A_SECOND)
    working_until_s = two.pool.due_s
    assert working_until_s is not None
    assert working_until_s < time.monotonic() + 25, "the one that works is watched, the idle one is kept"
    two.run_until(Answer)

    unload_s = two.pool.due_s
    assert unload_s is not None
    assert two.pool.poll(unload_s) == [Unloaded()]
    assert two.pool.is_away
    assert two.pids == []


def test_stopping_gives_back_the_photos_of_all_engines(two: Driver) -> None:
    photos = [*two.submit(Deed.HANG), *two.submit(Deed.HANG, Deed.PROTECT)]
    assert two.pool.stop() == tuple(photos)


def _is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_each_phase_is_told_at_once() -> None:
    told = [Step(Phase.FIND, 1.0), Step(Phase.CLOAK, 0.1), Step(Phase.CLOAK, 0.2), Step(Phase.CHECK)]

    class Quick:
        fingerprint = device_name = "none"

        def warm_up(self) -> None:
            return

        def protect(
            self, _requests: object, *, on_step: Callable[[Step], None] | None = None
        ) -> list[Protected]:
            assert on_step is not None
            for step in told:
                on_step(step)
            return []

    here, there = Pipe()
    worker._answer(there, Quick(), [])
    steps = []
    while here.poll():
        heartbeat = here.recv()
        assert isinstance(heartbeat, Heartbeat)
        steps.append(heartbeat.step)
    assert [step.phase for step in steps] == [Phase.FIND, Phase.CLOAK, Phase.CHECK]
