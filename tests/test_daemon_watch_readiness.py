"""Readiness with a clock of its own, and what counts as a whole file."""

from __future__ import annotations

import io
import random
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from twins import make_photo

from daemon.model import Outbox, Settled, Snapshot, Source
from daemon.watch.completeness import file_is_finished, is_complete
from daemon.watch.readiness import Readiness

SOURCE = Source(Outbox("ada", Path("/out")), Path("a.jpg"))
OTHER = Source(Outbox("ada", Path("/out")), Path("b.jpg"))
V1 = Snapshot(1, 1, 100, 1, 1)
V2 = Snapshot(1, 1, 200, 2, 2)


class Disk:
    """What a look and a container check find; changed by the tests."""

    def __init__(self) -> None:
        self.files: dict[Path, Snapshot] = {SOURCE.path: V1, OTHER.path: V1}
        self.incomplete: set[Path] = set()

    def readiness(self) -> Readiness:
        return Readiness(
            settle_s=3.0,
            give_up_s=600.0,
            look=self.files.get,
            is_finished=lambda path: path not in self.incomplete,
        )


def test_a_file_is_ready_after_its_quiet_time_and_once() -> None:
    readiness = Disk().readiness()
    readiness.event(SOURCE, 0.0)

    assert readiness.ready(2.9, 10) == []
    assert readiness.next_due_s() == 3.0
    assert readiness.ready(3.0, 10) == [Settled(SOURCE, V1)]
    assert readiness.ready(9.0, 10) == []
    assert readiness.next_due_s() is None


def test_every_event_starts_the_quiet_time_anew() -> None:
    readiness = Disk().readiness()
    for now in (0.0, 2.0, 4.0):
        readiness.event(SOURCE, now)

    assert readiness.ready(6.9, 10) == []
    assert readiness.ready(7.0, 10) == [Settled(SOURCE, V1)]


def test_a_silent_change_starts_the_quiet_time_anew() -> None:
    disk = Disk()
    readiness = disk.readiness()
    readiness.event(SOURCE, 0.0)
    disk.files[SOURCE.path] = V2

    assert readiness.ready(3.0, 10) == []
    assert readiness.ready(6.0, 10) == [Settled(SOURCE, V2)]


def test_a_removed_file_is_forgotten() -> None:
    disk = Disk()
    readiness = disk.readiness()
    readiness.event(SOURCE, 0.0)
    del disk.files[SOURCE.path]

    assert readiness.ready(3.0, 10) == []
    assert len(readiness) == 0


def test_an_incomplete_file_waits_until_it_is_whole() -> None:
    disk = Disk()
    disk.incomplete.add(SOURCE.path)
    readiness = disk.readiness()
    readiness.event(SOURCE, 0.0)

    assert readiness.ready(3.0, 10) == []
    assert readiness.ready(6.0, 10) == []
    disk.incomplete.clear()
    assert readiness.ready(9.0, 10) == [Settled(SOURCE, V1)]


def test_a_file_that_stays_incomplete_is_passed_on_after_long_quiet() -> None:
    disk = Disk()
    disk.incomplete.add(SOURCE.path)
    readiness = disk.readiness()
    readiness.event(SOURCE, 0.0)

    assert [now for now in range(0, 700, 3) if readiness.ready(float(now), 10)] == [600]


def test_a_step_looks_at_no_more_files_than_asked() -> None:
    readiness = Disk().readiness()
    readiness.event(SOURCE, 0.0)
    readiness.event(OTHER, 0.0)

    assert readiness.ready(3.0, 1) == [Settled(SOURCE, V1)]
    assert readiness.ready(3.0, 1) == [Settled(OTHER, V1)]


@given(st.lists(st.tuples(st.sampled_from([SOURCE, OTHER]), st.floats(0.01, 5.0)), max_size=30))
def test_no_file_is_ready_before_its_own_quiet_time(steps: list[tuple[Source, float]]) -> None:
    readiness = Disk().readiness()
    now, last = 0.0, dict.fromkeys((SOURCE, OTHER), 0.0)
    for source, pause_s in steps:
        now += pause_s
        for settled in readiness.ready(now, 10):
            assert now - last[settled.source] >= 3.0 - 1e-9
        readiness.event(source, now)
        last[source] = now

    now += 3.0
    readiness.ready(now, 10)
    assert len(readiness) == 0


def progressive_with_thumbnail() -> bytes:
    """A JPEG with a whole JPEG inside an early segment and several scans."""
    preview = make_photo(seed=7)
    stream = io.BytesIO()
    noise = Image.frombytes("RGB", (64, 64), random.Random(1).randbytes(64 * 64 * 3))
    noise.save(stream, "JPEG", progressive=True, quality=95)
    data = stream.getvalue()
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(preview) + 2) + preview + data[2:]


def encoded(file_format: str) -> bytes:
    return progressive_with_thumbnail() if file_format == "JPEG" else make_photo(file_format=file_format)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"])
def test_a_whole_file_is_finished(file_format: str) -> None:
    data = encoded(file_format)

    assert is_complete(io.BytesIO(data), len(data))


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
@given(part=st.floats(0.0, 0.999))
def test_a_cut_file_is_incomplete(file_format: str, part: float) -> None:
    data = encoded(file_format)
    cut = data[: int(len(data) * part)]
    if len(cut) > 12:
        assert not is_complete(io.BytesIO(cut), len(cut))


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_preallocated_file_is_incomplete(file_format: str) -> None:
    data = encoded(file_format)
    kept = len(data) // 2
    padded = data[:kept] + bytes(len(data) - kept + 8192)

    assert not is_complete(io.BytesIO(padded), len(padded))


def test_a_trailer_after_the_picture_does_not_make_it_incomplete() -> None:
    data = make_photo() + b"\0\0\0\x18ftypmp42" + bytes(10000)

    assert is_complete(io.BytesIO(data), len(data))


def test_an_empty_file_is_incomplete() -> None:
    assert not is_complete(io.BytesIO(b""), 0)


def test_a_file_that_cannot_be_opened_is_left_to_its_reader(tmp_path: Path) -> None:
    (tmp_path / "link.jpg").symlink_to(tmp_path / "nowhere")

    assert file_is_finished(tmp_path / "link.jpg")
