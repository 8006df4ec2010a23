"""`fawkesd cloak -` as scripts use it: a real process, pipes, a terminal, and an engine that reverses bytes."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from daemon.batch import stream
from daemon.errors import InputError
from daemon.exits import Exit

PHOTO = bytes(range(256)) * 4096  # 1 MiB, more than a pipe holds
PROGRAM = """
import ctypes, os, sys, time
from test_daemon_batch_cloak import ReversingEngine
from daemon.batch import cloak
from daemon.cli.main import run_command
from fawkes_engine import NoFace, Phase, Step

class Loud(ReversingEngine):
    def protect(self, requests, *, on_step=None):
        on_step(Step(Phase.CLOAK, 0.45))
        return super().protect(requests)

    def _one(self, data):
        print("a library prints")
        os.write(1, b"and so does one in C\\n")
        ctypes.CDLL(None).puts(b"and one that is buffered")
        time.sleep(0.3)  # a bar is drawn ten times a second
        return NoFace("no face was found") if data == b"faceless" else super()._one(data)

cloak.load_engine = lambda settings, targets_dir: Loud()
sys.exit(run_command(["cloak", *sys.argv[1:]]))
"""
Cloak = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    root = Path(__file__).parents[1]
    # an unbuffered Python makes the buffers of C libraries unbuffered, too
    return {
        **os.environ,
        "PYTHONUNBUFFERED": "",
        "HOME": str(tmp_path),
        "PYTHONPATH": f"{root}:{root / 'tests'}",
    }


@pytest.fixture
def cloak(environment: dict[str, str]) -> Cloak:
    """Run the command, by default on PHOTO; further arguments are those of `subprocess.run`."""

    def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-c", PROGRAM, "--user", "alice", *(arguments or ("-",))]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        if "stdin" not in options:
            pipes["input"] = PHOTO  # type: ignore[assignment]
        return subprocess.run(command, env=environment, check=False, **{**pipes, **options})  # type: ignore[call-overload,no-any-return]

    return run


def test_nothing_but_the_photo_is_on_standard_output(cloak: Cloak) -> None:
    done = cloak()

    assert done.returncode == Exit.OK
    assert done.stdout == PHOTO[::-1]
    assert b"standard input -> standard output: 1 face," in done.stderr
    assert b"a library prints" in done.stderr
    assert b"and so does one in C" in done.stderr


def test_the_report_in_json_is_the_last_line_on_standard_error(cloak: Cloak) -> None:
    done = cloak("-", "--json")

    assert done.stdout == PHOTO[::-1]
    report = json.loads(done.stderr.splitlines()[-1])
    assert (report["input"], report["output"]) == ("standard input", "standard output")


def test_of_a_photo_that_is_held_nothing_is_written(cloak: Cloak) -> None:
    done = cloak(input=b"faceless")

    assert done.returncode == Exit.HELD
    assert done.stdout == b""
    assert b"standard input: held: no face was found" in done.stderr


def test_a_reader_that_stops_is_told_once_and_without_a_traceback(cloak: Cloak) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as broken:
        done = cloak(stdout=broken)

    assert done.returncode == Exit.CANT_CREATE
    assert done.stderr.endswith(
        b"\nfawkesd: whoever reads standard output stopped before the photo was complete\n"
    )
    assert b"Traceback" not in done.stderr


def test_a_disk_that_is_full_is_told(cloak: Cloak) -> None:
    with Path("/dev/full").open("wb") as full:
        done = cloak(stdout=full)

    assert done.returncode == Exit.CANT_CREATE
    assert b"No space left on device" in done.stderr


def test_a_terminal_gets_no_photo(cloak: Cloak) -> None:
    mine, theirs = pty.openpty()
    try:
        done = cloak(stdout=theirs)
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # the end, on Linux
            while part := os.read(mine, 1024):
                shown += part
    finally:
        os.close(mine)

    assert done.returncode == Exit.CANT_CREATE
    assert shown == b""
    assert b"standard output is the terminal, which cannot show a photo; redirect it" in done.stderr


def test_the_terminal_is_no_photo(cloak: Cloak) -> None:
    mine, theirs = pty.openpty()
    try:
        done = cloak(stdin=theirs)
    finally:
        os.close(mine)
        os.close(theirs)

    assert done.returncode == Exit.NO_INPUT
    assert b"standard input is the terminal; give it a photo" in done.stderr


def test_an_empty_standard_input_is_told_before_the_engine_is_loaded(cloak: Cloak) -> None:
    done = cloak(input=b"")

    assert (done.returncode, done.stdout) == (Exit.NO_INPUT, b"")
    assert b"standard input is empty; give it a photo: `fawkesd cloak - " in done.stderr


@pytest.mark.parametrize(
    ("closed", "code", "message"),
    [
        (0, Exit.NO_INPUT, b"standard input is closed"),
        (1, Exit.CANT_CREATE, b"standard output is closed"),
        (2, Exit.OK, b""),
    ],
)
def test_a_descriptor_that_is_closed_is_not_taken_for_another_file(
    cloak: Cloak, closed: int, code: Exit, message: bytes
) -> None:
    done = cloak(preexec_fn=lambda: os.close(closed))

    assert done.returncode == code
    assert message in done.stderr
    assert done.stdout == (PHOTO[::-1] if code is Exit.OK else b"")


@pytest.mark.parametrize("arguments", [("-", "--out", "x"), ("-", "a.jpg"), ("-", "-"), ("a.jpg",)])
def test_the_stream_takes_one_photo_and_no_folder_and_photos_need_one(
    cloak: Cloak, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    done = cloak(*arguments, cwd=tmp_path)

    assert (done.returncode, done.stdout) == (Exit.USAGE, b"")
    assert b"--out" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_stream_without_an_end_fills_no_memory(cloak: Cloak, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "PHOTO_MAX_BYTES", 1 << 20)
    with Path("/dev/zero").open("rb") as endless, pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "_STDIN", endless.fileno())
        with pytest.raises(InputError, match="larger than"):
            stream.read()


def test_a_bar_on_a_terminal_tells_what_is_done_and_how_far(cloak: Cloak) -> None:
    mine, theirs = pty.openpty()
    done = cloak(stderr=theirs)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # the end, on Linux
        while part := os.read(mine, 1024):
            shown += part
    os.close(mine)

    assert done.stdout == PHOTO[::-1]
    assert b"loading the recognisers" in shown
    assert b"cloaking, 45%" in shown
