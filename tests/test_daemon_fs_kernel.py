"""Why no change events are to be had, for each reason that a machine can have, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from faulty import limited, needs_namespace, needs_strace

# Opens inotify instances or files until there are no more, and gives some back.
PROGRAM = """
import ctypes, os, resource, sys
from daemon.fs.kernel import no_events
what, given_back = sys.argv[1], int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
libc = ctypes.CDLL(None)
def open_one():
    return libc.inotify_init() if what == "instances" else os.dup(0)
kept = []
try:
    while what != "nothing" and (fd := open_one()) >= 0:
        kept.append(fd)
except OSError:
    pass
for _ in range(given_back):
    os.close(kept.pop())
for attempt in range(3):  # also if it is asked again and again
    missing = no_events()
for fd in kept:
    os.close(fd)
print(missing.reason if missing else None, "then", no_events() and no_events().reason)
"""


def told(what: str, given_back: int, under: Sequence[str] = ()) -> str:
    done = subprocess.run(
        [*under, sys.executable, "-c", PROGRAM, what, str(given_back)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_on_a_machine_where_all_is_well_nothing_is_missing() -> None:
    assert told("nothing", 0) == "None then None"


@needs_namespace
def test_a_user_without_instances_is_told_the_limit() -> None:
    words = "no inotify instance left: user.max_inotify_instances is 3 then None"

    assert told("instances", 0, limited("instances", 3)) == words
    assert told("instances", 1, limited("instances", 3)) == "None then None"


def test_a_process_without_descriptors_is_told_its_own_limit() -> None:
    """Two are not enough: an observer needs an instance and a pipe."""
    words = "no file descriptor left: RLIMIT_NOFILE is 64 then None"

    assert [told("files", count) for count in (0, 1, 2)] == [words] * 3
    assert told("files", 3) == "None then None"


@needs_strace
def test_a_sandbox_without_inotify_is_told() -> None:
    refusing = (
        "strace",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        "inject=inotify_init,inotify_init1:error=ENOSYS",
    )

    assert told("nothing", 0, refusing) == "this system has no inotify then this system has no inotify"
