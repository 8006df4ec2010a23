"""Soak test with random faults: counts of photos in and out, and counts that must be zero.

    sudo python -m tests.benchmarks.soak --minutes 5

The real daemon with the tiny engine, on small disks of its own (tmpfs, hence root): photos arrive, are
overwritten and touched, processes are killed or stopped, disks fill up and are unplugged. A reader polls the sync
folder all the time. At the end every photo must be published with its last content, or held with a reason.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import random
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' own modules, as pytest finds them

from conftest import DaemonProcess
from faulty import fill, mount, small_disk, unmount
from twins import Deed, is_cloaked, make_photo

from daemon.config.settings import EngineConfig, RetrySettings, Settings, UserSettings, WatchSettings
from daemon.state.schema import LEDGER_NAME

BAD_DEEDS = (Deed.REFUSE, Deed.DIE, Deed.RAISE, Deed.HANG, Deed.NEED_TOO_MUCH, Deed.TAKE_A_SECOND)
LATEST = "SELECT max(id) FROM photos GROUP BY path"
CALM_S = 120.0


class Reader(threading.Thread):
    """Reads whatever appears in the sync folder, as soon as it does."""

    def __init__(self, sync: Path) -> None:
        super().__init__(daemon=True)
        self._sync = sync
        self._seen: set[tuple[int, int]] = set()
        self.leaked: set[str] = set()
        self.stop = threading.Event()

    def run(self) -> None:
        while not self.stop.wait(0.05):
            self.look()

    def look(self) -> None:
        for path in published(self._sync):
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                if (status.st_ino, status.st_ctime_ns) not in self._seen:
                    if not is_cloaked(path.read_bytes()):
                        self.leaked.add(str(path))
                    self._seen.add((status.st_ino, status.st_ctime_ns))


class Soak:
    """One home on its own disks, and all events that happen to it."""

    def __init__(self, root: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.root = root
        self.outbox_drive, self.sync_drive = root / "outbox drive", root / "sync drive"
        self.outbox, self.usb = root / "outbox", root / "usb"
        self.done: Counter[str] = Counter()
        self.contents: dict[str, str] = {}
        self.serial = 0
        self.daemon: DaemonProcess | None = None

    def settings(self) -> Settings:
        """Short delays everywhere, so that much happens within minutes."""
        return Settings(
            state_dir=self.root / "state disk" / "state",
            users=(UserSettings(name="ada", outboxes=(self.outbox,), sync=self.usb / "sync"),),
            watch=WatchSettings(settle_s=0.2, rescan_s=5.0),
            engine=EngineConfig(photo_timeout_s=3.0),
            retry=RetrySettings(first_s=0.2, longest_s=2.0, attempts=10),
        )

    @contextlib.contextmanager
    def disks(self, minutes: float) -> Iterator[None]:
        """Mount everything; what arrives within an hour needs more than 64 MiB."""
        size = f"{64 + round(4 * minutes)}m"
        for place in (self.outbox, self.usb / "sync"):
            place.mkdir(parents=True)  # below the drives: what shows when they are away
        with (
            small_disk(self.outbox_drive, "256m"),
            small_disk(self.sync_drive, size),
            small_disk(self.root / "state disk", size),
        ):
            (self.sync_drive / "sync").mkdir()
            mount("--bind", self.outbox_drive, self.outbox)
            mount("--bind", self.sync_drive, self.usb)
            try:
                yield
            finally:
                unmount(self.outbox)
                unmount(self.usb)

    def start(self) -> None:
        """Start the daemon if it does not run."""
        if self.daemon is None or self.daemon.process.poll() is not None:
            self.daemon = DaemonProcess(self.settings(), self.root / "log")

    def arrive(self) -> None:
        """New photos, one in thirty of them a bad one."""
        for _ in range(self.random.randint(1, 6)):
            self.serial += 1
            deed = self.random.choice(BAD_DEEDS) if self.random.random() < 0.03 else Deed.PROTECT
            folder = self.random.choice(["", "trip/", f"day {self.serial % 7}/"])
            self.put(f"{folder}{self.serial}.jpg", make_photo(deed, seed=self.serial))

    def overwrite(self) -> None:
        """Overwrite an existing photo with other content."""
        if self.contents:
            self.serial += 1
            self.put(self.random.choice(list(self.contents)), make_photo(seed=self.serial))

    def touch(self) -> None:
        """Touch an existing photo: new timestamp, same content."""
        if self.contents:
            os.utime(self.outbox_drive / self.random.choice(list(self.contents)))

    def put(self, name: str, data: bytes) -> None:
        """Write a photo at once, in two halves, or by a rename."""
        path = self.outbox_drive / name
        path.parent.mkdir(parents=True, exist_ok=True)
        match self.random.randrange(3):
            case 0:
                path.write_bytes(data)
            case 1:
                with path.open("wb", buffering=0) as file:
                    file.write(data[: len(data) // 2])
                    time.sleep(0.05)
                    file.write(data[len(data) // 2 :])
            case _:
                path.with_name(f"{path.name}.part").write_bytes(data)
                path.with_name(f"{path.name}.part").rename(path)
        self.contents[name] = hashlib.sha256(data).hexdigest()
        self.done["contents"] += 1

    def kill_daemon(self) -> None:
        """SIGKILL, then restart."""
        if self.daemon is not None:
            self.daemon.stop(signal.SIGKILL)
        self.start()

    def kill_engine(self) -> None:
        """SIGKILL for the engine process alone."""
        with contextlib.suppress(StopIteration, FileNotFoundError, ProcessLookupError):
            assert self.daemon is not None
            os.kill(self.daemon.engine_pid, signal.SIGKILL)

    def stop_daemon(self) -> None:
        """The whole supervisor stands still for a while."""
        assert self.daemon is not None
        self.stopped(self.daemon.process.pid)

    def stop_engine(self) -> None:
        """The engine process stands still, at times for longer than a photo may take."""
        with contextlib.suppress(StopIteration, FileNotFoundError, ProcessLookupError):
            assert self.daemon is not None
            self.stopped(self.daemon.engine_pid)

    def stopped(self, pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)
        self.arrive()
        self.overwrite()
        time.sleep(self.random.uniform(0.2, 4))
        os.kill(pid, signal.SIGCONT)

    def fill_sync(self) -> None:
        """The disk of the sync folder is full for a while."""
        self.full(self.sync_drive)

    def fill_state(self) -> None:
        """The disk of the ledger is full for a while."""
        self.full(self.root / "state disk")

    def full(self, disk: Path) -> None:
        filler = fill(disk)
        self.arrive()
        time.sleep(self.random.uniform(0.2, 2))
        filler.unlink()

    def unplug_sync(self) -> None:
        """The drive of the sync folder is away for a while."""
        self.away(self.usb, self.sync_drive)

    def unplug_outbox(self) -> None:
        """The drive of the outbox is away for a while, and comes back with more on it."""
        self.away(self.outbox, self.outbox_drive)

    def away(self, place: Path, content: Path) -> None:
        unmount(place)
        self.arrive()
        time.sleep(self.random.uniform(0.2, 2))
        mount("--bind", content, place)

    def act(self) -> None:
        """Trigger one random event."""
        actions: dict[Callable[[], None], int] = {
            self.arrive: 60,
            self.overwrite: 15,
            self.touch: 8,
            self.kill_daemon: 4,
            self.kill_engine: 4,
            self.stop_daemon: 2,
            self.stop_engine: 2,
            self.fill_sync: 2,
            self.fill_state: 2,
            self.unplug_sync: 2,
            self.unplug_outbox: 2,
        }
        (action,) = self.random.choices(list(actions), list(actions.values()))
        action()
        self.done[action.__name__] += 1
        self.start()
        time.sleep(self.random.uniform(0, 0.4))

    def latest(self) -> dict[str, sqlite3.Row]:
        """The newest row of each photo."""
        ledger = self.settings().state_dir / LEDGER_NAME
        with contextlib.closing(sqlite3.connect(ledger)) as database:
            database.row_factory = sqlite3.Row
            rows = database.execute(f"SELECT * FROM photos WHERE id IN ({LATEST})").fetchall()
        return {os.fsdecode(row["path"]): row for row in rows}

    def lost(self) -> list[str]:
        """Photos that are neither published with their last content nor held with a reason."""
        rows = self.latest()
        return [name for name in self.contents if not self.has_ended(rows.get(name), self.contents[name])]

    def calm_down(self) -> None:
        """Let the daemon finish what waits; give up when nothing has finished for long."""
        left, end_s = len(self.lost()), time.monotonic() + CALM_S
        while left and time.monotonic() < end_s:
            time.sleep(0.5)
            if len(self.lost()) < left:
                left, end_s = len(self.lost()), time.monotonic() + CALM_S

    def has_ended(self, row: sqlite3.Row | None, content: str) -> bool:
        """Whether a photo's newest row is the correct final state."""
        if row is None or row["state"] not in {"published", "held"}:
            return False
        if row["state"] == "held":
            return bool(row["reason"])
        output = self.sync_drive / "sync" / os.fsdecode(row["output_path"])
        is_there = output.exists() and hashlib.sha256(output.read_bytes()).hexdigest() == row["output_sha256"]
        return is_there and row["input_sha256"] == content

    def duplicated(self) -> int:
        """Files in the sync folder beyond one per published photo (held ones may keep an earlier content)."""
        files = {
            str(path.relative_to(self.sync_drive / "sync")) for path in published(self.sync_drive / "sync")
        }
        return len(files - set(self.contents))


def published(sync: Path) -> list[Path]:
    """Every file below the sync folder except the marker."""
    return [path for path in sync.rglob("*.jpg") if path.is_file()]


def soak(minutes: float, seed: int) -> int:
    """Run it, print the figures; returns how many of them should have been zero."""
    with tempfile.TemporaryDirectory() as folder:
        one = Soak(Path(folder), seed)
        with one.disks(minutes):
            reader = Reader(one.sync_drive / "sync")
            reader.start()
            one.start()
            end_s = time.monotonic() + 60 * minutes
            while time.monotonic() < end_s:
                one.act()
            one.calm_down()
            reader.stop.set()
            reader.join()
            reader.look()
            assert one.daemon is not None
            one.daemon.stop()
            return report(one, reader)


def report(one: Soak, reader: Reader) -> int:
    """Print the figures; returns the sum of those that must be zero."""
    states = Counter(row["state"] for row in one.latest().values())
    lost, leaked, duplicated = one.lost(), len(reader.leaked), one.duplicated()
    print(", ".join(f"{name} {count}" for name, count in sorted(one.done.items())))
    print(f"photos in: {len(one.contents)}, contents in: {one.done['contents']}")
    print(f"published: {states['published']}, held: {states['held']}")
    print(f"lost: {len(lost)}, leaked: {leaked}, duplicated: {duplicated}")
    for name in lost[:10]:
        row = one.latest().get(name)
        print(f"lost: {name}: {dict(row) if row else 'no row'}", file=sys.stderr)
    if lost or leaked or duplicated:
        print((one.root / "log").read_text()[-5000:], file=sys.stderr)
    return len(lost) + leaked + duplicated


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("the soak mounts disks of its own: run it as root")
    sys.exit(min(1, soak(arguments.minutes, arguments.seed)))


if __name__ == "__main__":
    main()
