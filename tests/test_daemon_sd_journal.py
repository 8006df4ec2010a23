"""Journal entries: levels and fields, on a real stream and a real journal socket; the catalogue."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from daemon.model import State
from daemon.sd.journal import Outcome, about

CATALOG = Path(__file__).parents[1] / "service" / "fawkesd.catalog"
needs_systemd_python = pytest.mark.skipif(
    find_spec("systemd") is None, reason="the extra `systemd` is not installed, which needs libsystemd-dev"
)
PROGRAM = """
import logging
from pathlib import Path
from daemon.sd import journal
from daemon.model import Outbox, Photo, Snapshot, Source, State
journal.set_up()
photo = Photo(7, Source(Outbox("ada", Path("/out\\nbox")), Path("a.jpg")), 1, State.READY,
              Snapshot(1, 2, 3, 4, 5), 0, False, 0, None, None, None)
fields = journal.about(journal.Outcome.HELD, photo, stage=State.WORKING, seconds=1.5)
logging.getLogger("x").info("held: %s", "why\\nnot", extra=fields)
logging.getLogger("x").error("bad")
logging.getLogger("x").debug("not told")
"""
# The process gets a /run of its own, where it is the journal and hears what it says itself.
WITH_JOURNAL = """
import os, socket, subprocess, sys
subprocess.run(["mount", "-t", "tmpfs", "none", "/run"], check=True)
os.makedirs("/run/systemd/journal")
journal_end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
journal_end.bind("/run/systemd/journal/socket")
stream = os.fstat(2)
os.environ["JOURNAL_STREAM"] = f"{{stream.st_dev}}:{{stream.st_ino}}"
exec({program!r})
journal_end.setblocking(False)
sys.stdout.buffer.write(journal_end.recv(65536))
"""


def test_without_systemd_python_each_line_on_stderr_carries_its_level(tmp_path: Path) -> None:
    with (tmp_path / "stream").open("wb") as stream:
        numbers = os.fstat(stream.fileno())
        subprocess.run(
            [sys.executable, "-c", f"import sys; sys.modules['systemd'] = None{PROGRAM}"],
            env={**os.environ, "JOURNAL_STREAM": f"{numbers.st_dev}:{numbers.st_ino}"},
            stderr=stream,
            check=True,
        )

    assert (tmp_path / "stream").read_text() == "<6>held: why\n<6>not\n<3>bad\n"


def test_on_a_terminal_lines_have_a_time_and_a_level_in_words() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "JOURNAL_STREAM"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
    )

    assert re.search(r"^\d{4}-.* ERROR bad$", done.stderr, re.MULTILINE)


@needs_systemd_python
def test_with_systemd_python_entries_have_fields_to_search_by() -> None:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("a mount namespace of one's own needs root and unshare")
    program = WITH_JOURNAL.format(program=PROGRAM)
    done = subprocess.run(
        ["unshare", "--mount", sys.executable, "-c", program],
        check=False,
        capture_output=True,
    )

    assert done.returncode == 0, done.stderr
    entry = done.stdout.decode(errors="replace").splitlines()
    assert {
        f"MESSAGE_ID={Outcome.HELD.value}",
        "PRIORITY=6",
        "SYSLOG_IDENTIFIER=fawkesd",
        "FAWKESD_OUTCOME=held",
        "FAWKESD_USER=ada",
        "FAWKESD_FOLDER=/out\\nbox",
        "FAWKESD_PHOTO_ID=7",
        "FAWKESD_STAGE=working",
        "FAWKESD_SECONDS=1.50",
    } <= set(entry)


def test_an_event_of_no_photo_has_no_fields_of_one() -> None:
    assert about(Outcome.PAUSED, user="ada") == {
        "journal_fields": {
            "MESSAGE_ID": Outcome.PAUSED.value,
            "FAWKESD_OUTCOME": "paused",
            "FAWKESD_USER": "ada",
        }
    }


def test_every_end_of_a_photo_is_an_outcome() -> None:
    ends = {State.PUBLISHED, State.HELD, State.GONE, State.SUPERSEDED}

    assert {state.name for state in ends} <= set(Outcome.__members__)


def test_the_catalogue_explains_every_outcome_once() -> None:
    identifiers = re.findall(r"^-- ([0-9a-f]{32})$", CATALOG.read_text(), re.MULTILINE)

    assert sorted(identifiers) == sorted(outcome.value for outcome in Outcome)
    assert all(re.fullmatch("[0-9a-f]{32}", identifier) for identifier in identifiers)


def test_journalctl_reads_the_catalogue(tmp_path: Path) -> None:
    if shutil.which("journalctl") is None:
        pytest.skip("journalctl is not installed")
    places = tmp_path / "usr" / "lib" / "systemd" / "catalog"
    places.mkdir(parents=True)
    shutil.copy(CATALOG, places)
    root = f"--root={tmp_path}"
    subprocess.run(["journalctl", root, "--update-catalog"], check=True, capture_output=True)

    told = subprocess.run(
        ["journalctl", root, "--dump-catalog", Outcome.HELD.value], check=True, capture_output=True, text=True
    ).stdout

    assert "Subject: A photo is held and was not published" in told
