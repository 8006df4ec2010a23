"""Every way a photo can arrive, with the real observer and real folders."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from daemon.config.settings import WatchSettings
from daemon.fs.files import snapshot_of
from daemon.fs.walk import walk
from daemon.model import Outbox, Source, State
from daemon.state.ledger import Ledger
from daemon.timing import DEFAULT_TIMING
from daemon.watch.completeness import why_unfinished
from daemon.watch.intake import Intake
from daemon.watch.outboxes import Outboxes
from daemon.watch.readiness import Readiness
from daemon.watch.watcher import Arrival, Watcher

Wait = Callable[[Callable[[], object]], None]
DATA = b"whole"


class Station:
    """A watched outbox up to the ledger; rescans only when asked."""

    def __init__(self, root: Path, ledger: Ledger, *ignore: str) -> None:
        self.outbox = Outbox("ada", root, ignore)
        self._ledger = ledger
        self._ahead_s = 0.0
        readiness = Readiness(
            settle_s=0.05, give_up_s=600, doubt_s=60, look=snapshot_of, why_unfinished=why_unfinished
        )
        self._arrivals: deque[Arrival] = deque()
        self.heard: list[Path] = []
        self.watcher = Watcher(self._hear)
        self.intake = Intake(
            Outboxes([self.outbox], ledger),
            ledger,
            readiness,
            self.watcher,
            self._arrivals,
            WatchSettings(rescan_s=3600.0),
            DEFAULT_TIMING,
        )

    def _hear(self, arrival: Arrival) -> None:
        self.heard.append(arrival.path)
        self._arrivals.append(arrival)

    def admitted(self) -> list[str]:
        """Names admitted so far, after one more step."""
        self.intake.step(self._now())
        return sorted(str(photo.source.relative) for photo in self._ledger.in_state(State.READY))

    def rescan(self) -> None:
        """Look at the whole outbox, as when its next look is due."""
        self._ahead_s += 2 * 3600
        self.intake.step(self._now())

    def _now(self) -> float:
        return time.monotonic() + self._ahead_s


@pytest.fixture
def station(tmp_path: Path, ledger: Ledger) -> Iterator[Station]:
    root = tmp_path / "outbox"
    root.mkdir()
    ready = Station(root, ledger)
    ready.watcher.start()
    ready.admitted()  # the first rescan finds an empty folder
    yield ready
    ready.watcher.stop()


def write(path: Path) -> None:
    path.write_bytes(DATA)


def move_in(path: Path) -> None:
    outside = path.parents[1] / "outside.jpg"
    write(outside)
    outside.rename(path)


def hard_link(path: Path) -> None:
    outside = path.parents[1] / "outside.jpg"
    write(outside)
    path.hardlink_to(outside)


def rename_in_place(path: Path) -> None:
    write(path.with_suffix(".jpg.part"))
    path.with_suffix(".jpg.part").rename(path)


def move_directory_in(path: Path) -> None:
    outside = path.parents[1] / "outside"
    (outside / "deep").mkdir(parents=True)
    write(outside / "deep" / "a.jpg")
    outside.rename(path.parent / "trip")


def make_directories_and_write(path: Path) -> None:
    deep = path.parent / "trip" / "deep"
    deep.mkdir(parents=True)
    write(deep / "a.jpg")


def rename_a_directory(path: Path) -> None:
    (path.parent / ".export" / "deep").mkdir(parents=True)
    write(path.parent / ".export" / "deep" / "a.jpg")
    (path.parent / ".export").rename(path.parent / "trip")


@pytest.mark.parametrize(
    ("arrive", "name"),
    [
        (write, "a.jpg"),
        (move_in, "a.jpg"),
        (hard_link, "a.jpg"),
        (rename_in_place, "a.jpg"),
        (move_directory_in, "trip/deep/a.jpg"),
        (make_directories_and_write, "trip/deep/a.jpg"),
        (rename_a_directory, "trip/deep/a.jpg"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_photo_is_heard_of_however_it_arrives(
    station: Station, eventually: Wait, arrive: Callable[[Path], None], name: str
) -> None:
    arrive(station.outbox.root / "a.jpg")

    eventually(lambda: station.admitted() == [name])


def test_an_overwrite_is_a_new_generation(station: Station, ledger: Ledger, eventually: Wait) -> None:
    path = station.outbox.root / "a.jpg"
    write(path)
    eventually(lambda: station.admitted() == ["a.jpg"])
    path.write_bytes(b"another content")

    def generation() -> int:
        station.admitted()
        photo = ledger.latest(Source(station.outbox, Path("a.jpg")))
        assert photo is not None
        return photo.generation

    eventually(lambda: generation() == 2)
    assert ledger.count(State.SUPERSEDED) == 1


def test_reading_a_photo_is_no_event(station: Station, eventually: Wait) -> None:
    path = station.outbox.root / "a.jpg"
    write(path)
    eventually(lambda: station.admitted() == ["a.jpg"])
    last = station.outbox.root / "b.jpg"
    write(last)
    eventually(lambda: last in station.heard)  # and with it, in order, all that was to be heard of the photo
    station.heard.clear()

    path.read_bytes()
    after = station.outbox.root / "c.jpg"
    write(after)
    eventually(lambda: after in station.heard)

    assert path not in station.heard


def test_a_rescan_finds_what_no_event_told_of(station: Station, eventually: Wait) -> None:
    station.watcher.stop()
    write(station.outbox.root / "a.jpg")

    station.rescan()

    eventually(lambda: station.admitted() == ["a.jpg"])


def test_a_replaced_outbox_is_watched_again(station: Station, eventually: Wait) -> None:
    root = station.outbox.root
    root.rename(root.with_name("old"))
    station.rescan()
    root.mkdir()
    station.rescan()
    write(root / "a.jpg")

    eventually(lambda: station.admitted() == ["a.jpg"])


def test_a_held_photo_that_was_removed_is_gone_and_counts_as_new_when_it_is_back(
    station: Station, ledger: Ledger, eventually: Wait
) -> None:
    path = station.outbox.root / "a.jpg"
    write(path)
    eventually(lambda: station.admitted() == ["a.jpg"])
    photo = ledger.in_state(State.READY)[0]
    ledger.move(photo, State.HELD)
    path.rename(path.with_name("a.txt"))
    station.rescan()
    assert ledger.get(photo.id).state is State.GONE

    path.with_name("a.txt").rename(path)

    eventually(lambda: station.admitted() == ["a.jpg"])


def test_symlinks_and_pipes_are_not_photos(station: Station, tmp_path: Path, eventually: Wait) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    write(outside / "secret.jpg")
    (station.outbox.root / "link.jpg").symlink_to(outside / "secret.jpg")
    (station.outbox.root / "folder").symlink_to(outside)
    (station.outbox.root / "loop").symlink_to(station.outbox.root)
    os.mkfifo(station.outbox.root / "pipe.jpg")
    write(station.outbox.root / "z.jpg")
    station.rescan()

    eventually(lambda: station.admitted() == ["z.jpg"])
    assert {path.name for path in walk(station.outbox.root)} == {
        "link.jpg",
        "folder",
        "loop",
        "pipe.jpg",
        "z.jpg",
    }
    eventually(lambda: station.admitted() == ["z.jpg"] and station.intake.unsettled == 0)


@pytest.fixture
def ignoring(tmp_path: Path, ledger: Ledger) -> Iterator[Station]:
    """A station whose user ignores raw/, but for one file, which git does not bring back."""
    root = tmp_path / "outbox"
    root.mkdir()
    ready = Station(root, ledger, "raw/", "!raw/keep.jpg")
    ready.watcher.start()
    ready.admitted()
    yield ready
    ready.watcher.stop()


def test_events_below_an_ignored_folder_are_no_arrivals(ignoring: Station, eventually: Wait) -> None:
    root = ignoring.outbox.root
    (root / "raw" / "deep").mkdir(parents=True)
    eventually(lambda: root / "raw" in ignoring.heard)
    for name in ("raw/deep/a.jpg", "raw/keep.jpg", "z.jpg"):
        write(root / name)

    eventually(lambda: root / "z.jpg" in ignoring.heard)
    ignoring.rescan()

    eventually(lambda: ignoring.admitted() == ["z.jpg"] and ignoring.intake.unsettled == 0)


def test_a_tree_moved_into_an_ignored_folder_is_no_arrival(ignoring: Station, eventually: Wait) -> None:
    root = ignoring.outbox.root
    (root / "raw").mkdir()
    move_directory_in(root / "raw" / "any")
    assert (root / "raw" / "trip" / "deep" / "a.jpg").exists()
    write(root / "z.jpg")

    eventually(lambda: root / "z.jpg" in ignoring.heard)
    eventually(lambda: ignoring.admitted() == ["z.jpg"] and ignoring.intake.unsettled == 0)


@pytest.mark.parametrize("folder", ["Wedding_original", "Scan.part", "BatchTool-2024"])
def test_a_folder_named_like_a_temporary_file_is_watched(
    station: Station, folder: str, eventually: Wait
) -> None:
    (station.outbox.root / folder).mkdir()
    write(station.outbox.root / folder / "a.jpg")

    eventually(lambda: station.admitted() == [f"{folder}/a.jpg"])


def test_photos_that_wait_or_are_held_are_dropped_once_they_are_ignored_and_come_back_with_the_pattern_gone(
    station: Station, ledger: Ledger, eventually: Wait
) -> None:
    for name in ("a_draft.jpg", "b_draft.jpg", "c.jpg"):
        write(station.outbox.root / name)
    eventually(lambda: len(station.admitted()) == 3)
    ledger.move(ledger.in_state(State.READY)[0], State.HELD)

    assert Station(station.outbox.root, ledger, "*_draft.jpg").admitted() == ["c.jpg"]

    assert ledger.in_state(State.HELD) == []
    assert {photo.reason for photo in ledger.in_state(State.GONE)} == {"now ignored by *_draft.jpg"}
    again = Station(station.outbox.root, ledger)
    eventually(lambda: again.admitted() == ["a_draft.jpg", "b_draft.jpg", "c.jpg"])
