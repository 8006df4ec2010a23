"""Whole files and unfinished ones through the running service, and what `status` and `why` say meanwhile."""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pillow_heif
import pytest
from conftest import DaemonProcess, Home
from PIL import Image
from twins import Deed, make_photo

from daemon.cli.main import run_command
from daemon.model import Outbox, Snapshot, Source, Unfinished
from daemon.state import facts
from daemon.state.ledger import Ledger
from daemon.state.unfinished import UnfinishedFile, from_text, to_text
from daemon.status.status import read
from daemon.text import moment
from daemon.watch.readiness import Readiness, Waiting
from daemon.watch.unfinished import UnfinishedNotes

Start = Callable[..., DaemonProcess]
Wait = Callable[..., None]

pillow_heif.register_heif_opener()

TRAILER = b"MotionPhoto_Data" + bytes(6000)
V1 = Snapshot(1, 2, 3, 4, 5)
# Its name is no UTF-8, as those of old cameras on old drives.
SOURCE = Source(Outbox("ada", Path("/out")), Path(os.fsdecode(b"trip/\xe4.jpg")))


def scan_with_black_border() -> bytes:
    image = Image.new("RGB", (64, 64), Deed.PROTECT.value)
    image.paste((0, 0, 0), (0, 32, 64, 64))
    stream = io.BytesIO()
    image.save(stream, "TIFF")
    assert not any(stream.getvalue()[-4096:])
    return stream.getvalue()


def motion_heic() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (64, 64), Deed.PROTECT.value).save(stream, "HEIF")
    return stream.getvalue() + TRAILER


def padded_jpeg() -> bytes:
    data = make_photo()
    end = 4 + int.from_bytes(data[4:6], "big")
    return data[:end] + bytes(3) + data[end:]


def test_whole_files_with_odd_ends_are_taken_once_at_rest(home: Home, start: Start, eventually: Wait) -> None:
    daemon = start(home.settings)
    eventually(lambda: "engine ready" in daemon.log)

    (home.outbox / "scan.tif").write_bytes(scan_with_black_border())
    (home.outbox / "padded.jpg").write_bytes(padded_jpeg())
    (home.outbox / "motion.webp").write_bytes(make_photo(seed=1, file_format="WEBP") + TRAILER)
    (home.outbox / "motion.heic").write_bytes(motion_heic())

    eventually(lambda: home.published() == ["motion.webp", "padded.jpg", "scan.tif"])
    # The tiny engine does not know HEIC, and says so.
    eventually(lambda: [held.path.name for held in read(home.settings).users[0].held] == ["motion.heic"])


def told(home: Home) -> list[UnfinishedFile]:
    """What `status` says about files that are not finished."""
    (user,) = read(home.settings).users
    return list(user.unfinished)


def why(home: Home, path: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    capsys.readouterr()
    assert run_command(["why", str(path), "--json", "-c", str(home.write_config())]) == 0
    notes = json.loads(capsys.readouterr().out)["notes"]
    assert isinstance(notes, list)
    return notes


def test_a_cut_file_is_told_with_its_reason_until_it_is_whole(
    home: Home, start: Start, eventually: Wait, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_photo()
    (home.outbox / "a.jpg").write_bytes(data[:-10])
    start(home.settings)

    eventually(lambda: told(home))
    (file,) = told(home)
    assert (file.path, file.reason) == (home.outbox / "a.jpg", "its end is missing")
    assert file.taken_at is not None
    assert why(home, home.outbox / "a.jpg", capsys) == [
        "it is new; its end is missing; it is looked at every 1 s, and taken as it is at "
        f"{moment(file.taken_at)} unless it changes"
    ]
    assert run_command(["status", "-c", str(home.write_config())]) == 0
    first, _, line = capsys.readouterr().out.splitlines()
    assert "1 not finished by its writer" in first
    assert line.startswith(
        f"  not finished by its writer: {home.outbox / 'a.jpg'}: its end is missing; taken"
    )
    assert run_command(["status", "--json", "-c", str(home.write_config())]) == 0
    (user,) = json.loads(capsys.readouterr().out)["users"]
    assert [one["reason"] for one in user["unfinished"]] == ["its end is missing"]

    with (home.outbox / "a.jpg").open("ab") as jpeg:
        jpeg.write(data[-10:])

    eventually(lambda: home.published() == ["a.jpg"])
    eventually(lambda: told(home) == [])


def test_a_file_that_a_program_has_open_is_told_as_such(home: Home, start: Start, eventually: Wait) -> None:
    start(home.settings)
    with (home.outbox / "a.jpg").open("wb") as file:
        file.write(make_photo())
        file.flush()
        eventually(lambda: [one.reason for one in told(home)] == ["another program has it open for writing"])

    eventually(lambda: home.published() == ["a.jpg"])


def test_a_restart_goes_on_where_the_last_run_was(home: Home, start: Start, eventually: Wait) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo()[:-10])
    daemon = start(home.settings)
    eventually(lambda: told(home))
    (before,) = told(home)
    daemon.stop()
    assert told(home) == []
    assert before.unchanged_since is not None
    stopped = time.time()
    eventually(lambda: time.time() > stopped + 3)  # seconds that would be missing

    again = start(home.settings)
    eventually(lambda: told(home))

    def is_ready() -> bool:
        assert told(home), "forgotten for a moment"
        return "engine ready" in again.log

    eventually(is_ready)
    (after,) = told(home)
    assert after.unchanged_since == pytest.approx(before.unchanged_since, abs=1.0)
    assert after.taken_at == pytest.approx(before.taken_at, abs=1.0)


def debounce() -> Readiness:
    """A debounce in which every file is cut."""
    return Readiness(
        settle_s=3.0,
        give_up_s=600.0,
        doubt_s=60.0,
        look=lambda _path: V1,
        why_unfinished=lambda _path: Unfinished.CUT,
    )


def resumed(ledger: Ledger, snapshot: Snapshot, now: float) -> list[Waiting]:
    """What waits in the next run, as soon as its first scan has found the file."""
    readiness = debounce()
    UnfinishedNotes(ledger.facts, readiness, 30.0).resume(SOURCE, snapshot, now)
    return list(readiness.waiting(now, 30.0))


def noted(ledger: Ledger, now: float) -> UnfinishedNotes:
    """The notes about one cut file that was looked at and has not changed for a while."""
    readiness = debounce()
    readiness.found(SOURCE, V1, now, quiet_s=100.0)
    readiness.ready(now + 3, 1)
    notes = UnfinishedNotes(ledger.facts, readiness, 30.0)
    notes.step(now + 3)
    return notes


def test_any_name_is_noted_and_known_to_the_next_run_unless_the_file_changed(ledger: Ledger) -> None:
    now = time.monotonic()
    noted(ledger, now)

    (file,) = from_text(ledger.facts.all()[facts.UNFINISHED])
    assert (file.user, file.path, file.snapshot) == ("ada", SOURCE.path, V1)
    chmod = Snapshot(9, V1.ino, V1.size, V1.mtime_ns, 99)
    longer = Snapshot(V1.dev, V1.ino, V1.size + 1, V1.mtime_ns + 1, V1.ctime_ns)
    (waiting,) = resumed(ledger, chmod, now)
    assert waiting.reason is Unfinished.CUT
    assert waiting.quiet_since_s == pytest.approx(now - 100.0, abs=60.0)
    assert resumed(ledger, longer, now) == []


def test_nothing_is_written_while_nothing_changes(ledger: Ledger) -> None:
    now = time.monotonic()
    notes = noted(ledger, now)
    ledger.facts.forget(facts.UNFINISHED)

    notes.step(now + 4)

    assert facts.UNFINISHED not in ledger.facts.all()


def test_words_of_another_version_are_looked_at_anew(ledger: Ledger) -> None:
    now = time.time()
    file = UnfinishedFile("ada", SOURCE.path, V1, "its writer sleeps", now - 100, now + 500)
    ledger.facts.note(facts.UNFINISHED, to_text([file]))

    assert resumed(ledger, V1, time.monotonic()) == []
