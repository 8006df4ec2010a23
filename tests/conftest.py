"""Fixtures shared by the tests."""

from __future__ import annotations

import compileall
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from service_manager import Manager
from twins import hold_of
from web import Web

from daemon.config.settings import EngineConfig, RetrySettings, Settings, UserSettings, WatchSettings
from daemon.state.ledger import Ledger
from daemon.state.schema import LEDGER_NAME
from daemon.workers.environment import SPIN_COUNT
from fawkes_engine.weights import catalog

CONFIG_NAME = "fawkesd.yaml"
WITHIN_S = 120.0  # what takes a second on a quiet machine has long happened by then
# Kept in a variable for the workers of pytest-xdist: they begin with the environment that is changed below.
FETCHED_MODELS = Path(os.environ.setdefault("FAWKESD_TESTS_MODELS", str(catalog.default_folder())))
# A cloak depends on which models are on disk: tests see none, but for those that ask for `fetched_models`.
os.environ["FAWKESD_MODELS"] = "/nonexistent"
# Arithmetic is on one thread unless the test run says otherwise, as `make numeric` does: tests share their cores with
# others, and threads that wait for each other on a busy machine take many times as long. Torch asks this once.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["PATH"] += ":/usr/sbin:/sbin"  # losetup and mkfs lie there, and not every PATH has them
os.environ.setdefault(*SPIN_COUNT)  # before a test imports torch: tests share their cores with other programs

# How long an example takes tells about the machine, and what else runs on it, more than about the code. The examples
# are the same in every run, so that a release passes or fails for what it is; `make explore` looks for new ones.
ANY_MACHINE = hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.register_profile("repeatable", ANY_MACHINE, derandomize=True, database=None)
hypothesis.settings.register_profile("explore", ANY_MACHINE, max_examples=1000, print_blob=True)
hypothesis.settings.load_profile("repeatable")


def pytest_configure(config: pytest.Config) -> None:
    """Compile the modules once: not in each of the hundreds of processes that tests start, nor while one is counted."""
    if not hasattr(config, "workerinput"):  # before the workers of pytest-xdist start
        for name in ("daemon", "fawkes_engine", "tests"):
            compileall.compile_dir(Path(__file__).parents[1] / name, quiet=2)


@pytest.fixture(autouse=True, scope="module")
def _threads_as_before() -> Iterator[None]:
    """Engines set the number of arithmetic threads of the whole process: no module sets it for the next."""
    torch = sys.modules.get("torch")  # most commands start without it, and so do their tests
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def fetched_models() -> Path:
    """The folder of the user who runs the tests, with the default ensemble in it."""
    if not catalog.on_disk(FETCHED_MODELS):
        pytest.skip("no fetched models; run `fawkesd models fetch`")
    return FETCHED_MODELS


@dataclass(frozen=True, slots=True)
class Home:
    """One user's folders in a temporary directory, and settings that make the daemon quick."""

    outbox: Path
    sync: Path
    settings: Settings

    @property
    def state_dir(self) -> Path:
        return self.settings.state_dir

    def write_config(self) -> Path:
        """The settings as a configuration file, for commands."""
        path = self.state_dir.with_name(CONFIG_NAME)
        path.write_text(self.settings.model_dump_json())  # JSON is YAML
        return path

    def with_outbox(self, outbox: Path) -> Home:
        """The same home after its person has moved to another outbox."""
        (user,) = self.settings.users
        users = (user.model_copy(update={"outboxes": (outbox,)}),)
        return replace(self, outbox=outbox, settings=self.settings.model_copy(update={"users": users}))

    def ignoring(self, *patterns: str) -> Home:
        """The same home after its person has written these `ignore` patterns."""
        (user,) = self.settings.users
        users = (user.model_copy(update={"ignore": patterns}),)
        return replace(self, settings=self.settings.model_copy(update={"users": users}))

    @contextlib.contextmanager
    def engine_held(self) -> Iterator[None]:
        """Context manager: during the with block the tiny engine gets no further than a quarter of a photo."""
        hold = hold_of(self.state_dir)
        hold.touch()
        yield
        hold.unlink()

    def published(self) -> list[str]:
        """Names below the sync folder, without the marker."""
        files = [path for path in self.sync.rglob("*") if path.is_file()]
        return sorted(str(path.relative_to(self.sync)) for path in files if not path.name.startswith("."))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    outbox, sync = tmp_path / "outbox", tmp_path / "sync"
    outbox.mkdir()
    sync.mkdir()
    settings = Settings(
        state_dir=tmp_path / "state",
        users=(UserSettings(name="ada", outboxes=(outbox,), sync=sync),),
        watch=WatchSettings(settle_s=0.1, rescan_s=60.0, poll_s=0.5),
        engine=EngineConfig(photo_timeout_s=20.0),
        retry=RetrySettings(first_s=0.1, longest_s=1.0, attempts=3),
    )
    return Home(outbox, sync, settings)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / LEDGER_NAME)
    yield opened
    opened.close()


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    """The service manager of the daemons that the test starts."""
    address = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with Manager(address) as one:
        yield one


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """A web server of this machine."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Web() as server:
        yield server


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, the only place where pip finds wheels; the machine's own configuration of pip is left out."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "wheels"
    folder.mkdir()
    variables = {"CONFIG_FILE": os.devnull, "NO_INDEX": "1", "FIND_LINKS": str(folder)}
    for name, value in variables.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return folder


@pytest.fixture
def eventually() -> Callable[..., None]:
    """Wait until a condition holds; fail after within_s, which is much even for a busy machine."""

    def wait(condition: Callable[[], object], *, within_s: float = WITHIN_S) -> None:
        deadline = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < deadline, "the condition never came true"
            time.sleep(0.02)

    return wait


# The daemon in a process of its own; short waits, so that a test sees several of them.
DAEMON_PROGRAM = """
import pathlib, sys
from daemon.config.loader import load
from daemon.config.settings import Settings
from daemon.service.run import run
from daemon.timing import Timing
settings, config = Settings.model_validate_json(sys.argv[1]), pathlib.Path(sys.argv[3])
timing = Timing() if sys.argv[2] == "as installed" else Timing(
    check_outboxes_s=0.2, reprobe_s=0.2, ledger_pause_s=0.2, respawn_first_s=0.05, finish_s=float(sys.argv[2]),
    tell_unfinished_s=0.5,
)
page = [sys.executable, "-m", "daemon", "web", "--with-parent", "--config", str(config)]  # if `web.listen` is set
sys.exit(run(settings, lambda: load(config), sys.argv[4], timing, page))
"""


class DaemonProcess:
    """`run` with the tiny engine. log: everything it has written so far."""

    def __init__(
        self,
        settings: Settings,
        log_path: Path,
        *,
        finish_s: float | None = 20.0,
        under: Sequence[str] = (),
        factory: str = "twins:make_engine",
    ) -> None:
        """finish_s: None for this and all other waits as in an installed service.

        under: the command that runs the daemon's, such as strace. factory: makes the engine.
        """
        self.log_path = log_path
        tests = Path(__file__).parent
        config = settings.state_dir.with_name(CONFIG_NAME)
        with log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *under,
                    sys.executable,
                    "-c",
                    DAEMON_PROGRAM,
                    settings.model_dump_json(),
                    "as installed" if finish_s is None else str(finish_s),
                    str(config),
                    factory,
                ],
                env={**os.environ, "PYTHONPATH": f"{tests.parent}:{tests}"},
                stderr=log,
            )

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    @property
    def engine_pid(self) -> int:
        """The engine process; the resource tracker of multiprocessing is the other child."""
        return next(pid for pid in self._children() if b"spawn_main" in cmdline(pid))

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; returns the exit code."""
        self.process.send_signal(number)
        return self.process.wait(WITHIN_S)

    def _children(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]


def cmdline(pid: int) -> bytes:
    """A process's command line; empty once it has ended."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., DaemonProcess]]:
    """Start daemons; what is left of them is killed."""
    started: list[DaemonProcess] = []

    def start_one(settings: Settings, **options: Any) -> DaemonProcess:
        """options: as of DaemonProcess."""
        log_path = tmp_path / f"log-{len(started)}"
        started.append(DaemonProcess(settings, log_path, **options))
        return started[-1]

    yield start_one
    for one in started:
        one.process.kill()
        one.process.wait()
