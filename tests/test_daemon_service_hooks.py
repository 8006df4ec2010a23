"""The user's programs: real ones, started by the real daemon, and what they are told."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import DaemonProcess, Home
from faulty import FACTORY, Counter
from twins import Deed, make_photo

from daemon.config.settings import HookSettings, Settings
from daemon.model import State
from daemon.service.hooks import Call, Hooks
from daemon.service.run import once
from daemon.state.ledger import Ledger
from daemon.state.schema import LEDGER_NAME

Start = Callable[..., DaemonProcess]
Wait = Callable[..., None]
# Appends its environment to the file it is called with.
RECORD = "import json, os, sys; print(json.dumps(dict(os.environ)), file=open(sys.argv[1], 'a'))"


def recorder(file: Path) -> tuple[str, ...]:
    return (sys.executable, "-c", RECORD, str(file))


def recorded(file: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def with_hooks(home: Home, **values: object) -> Settings:
    return home.settings.model_copy(update={"hooks": HookSettings(**values)})  # type: ignore[arg-type]


@pytest.fixture
def run(home: Home) -> Iterator[Callable[..., Hooks]]:
    """Run one command in a queue of its own."""
    running: list[Hooks] = []

    def run_one(command: Sequence[str], limit_s: float = 30.0) -> Hooks:
        running.append(Hooks(with_hooks(home, limit_s=limit_s)))
        running[-1].start()
        running[-1].run(Call(command))
        return running[-1]

    yield run_one
    for one in running:
        one.stop()


def test_once_runs_the_programs_before_it_ends(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "calls"
    settings = with_hooks(home, on_published=recorder(file), on_held=recorder(file))
    (home.outbox / "good; touch x.jpg").write_bytes(make_photo())
    (home.outbox / "bad.jpg").write_bytes(make_photo(Deed.REFUSE))

    once(settings, Counter(), FACTORY)

    calls = {call["FAWKESD_EVENT"]: call for call in recorded(file)}
    published, held = calls["published"], calls["held"]
    assert published["FAWKESD_PHOTO"] == str(home.outbox / "good; touch x.jpg")
    assert published["FAWKESD_OUTPUT"] == str(home.sync / "good; touch x.jpg")
    assert published["FAWKESD_USER"] == "ada"
    assert held["FAWKESD_REASON"] == "no face was found"
    assert "FAWKESD_OUTPUT" not in held


HOSTILE = [
    "$(touch pwned).jpg",
    "`touch pwned`.jpg",
    "-rf.jpg",
    "'\"; touch pwned #.jpg",
    "new\nline.jpg",
    "\x1b[2J.jpg",
]


def test_names_reach_a_program_as_they_are_and_run_nothing(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "calls"
    settings = with_hooks(home, on_published=recorder(file), on_held=recorder(file))
    for number, name in enumerate(HOSTILE):
        (home.outbox / name).write_bytes(make_photo(seed=number))

    once(settings, Counter(), FACTORY)

    assert {call["FAWKESD_PHOTO"] for call in recorded(file)} == {str(home.outbox / name) for name in HOSTILE}
    assert not list(tmp_path.rglob("pwned"))


def test_a_reason_with_a_nul_stops_no_program(home: Home, tmp_path: Path) -> None:
    """No environment can hold one, and the queue must not end by it."""
    file = tmp_path / "calls"
    hooks = Hooks(with_hooks(home, on_held=recorder(file)))
    hooks.start()
    (home.outbox / "a.jpg").write_bytes(make_photo(Deed.REFUSE))
    once(home.settings, Counter(), FACTORY)
    ledger = Ledger(home.state_dir / LEDGER_NAME)
    (photo,) = ledger.in_state(State.HELD)
    ledger.close()

    hooks.on_end(replace(photo, reason="ValueError: a\0b"))
    hooks.drain()

    hooks.stop()
    assert [call["FAWKESD_REASON"] for call in recorded(file)] == ["ValueError: a\\x00b"]


def test_a_program_is_told_nothing_that_is_for_the_service_alone(
    run: Callable[..., Hooks], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM"):
        monkeypatch.setenv(name, "1")

    run(recorder(tmp_path / "calls")).drain()

    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM"} & set(
        recorded(tmp_path / "calls")[0]
    )


def test_a_program_that_takes_too_long_is_ended_with_all_it_started(
    run: Callable[..., Hooks], tmp_path: Path, caplog: pytest.LogCaptureFixture, eventually: Wait
) -> None:
    script = f"sleep 1000 & echo $! > {tmp_path}/child; wait"

    run(("sh", "-c", script), limit_s=3.0).drain()  # long enough to start the other one

    child = int((tmp_path / "child").read_text())
    assert "killed after 3 s" in caplog.text
    eventually(lambda: not is_running(child))


@pytest.mark.parametrize(
    ("command", "told"), [(("sh", "-c", "exit 3"), "status 3"), (("/no/such/program",), "cannot be run")]
)
def test_a_program_that_fails_is_one_line_of_the_log(
    run: Callable[..., Hooks], caplog: pytest.LogCaptureFixture, command: tuple[str, ...], told: str
) -> None:
    run(command).drain()

    assert told in caplog.text


def test_stopping_ends_a_program_and_leaves_out_the_next(run: Callable[..., Hooks], tmp_path: Path) -> None:
    hooks = run(("sh", "-c", f"touch {tmp_path}/first; exec sleep 1000"))
    while not (tmp_path / "first").exists():
        threading.Event().wait(0.02)
    hooks.run(Call(("touch", str(tmp_path / "second"))))

    hooks.stop()

    assert not (tmp_path / "second").exists()


def test_a_slow_program_holds_no_photo_up(home: Home, start: Start, eventually: Wait) -> None:
    for number in range(3):
        (home.outbox / f"{number}.jpg").write_bytes(make_photo(seed=number))
    daemon = start(with_hooks(home, on_published=("sleep", "1000")))

    eventually(lambda: len(home.published()) == 3)
    assert daemon.stop() == 0


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z" and os.getpgid(pid) > 0
