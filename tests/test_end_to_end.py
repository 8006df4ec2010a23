"""The product as installed: `fawkesd run`, the real observer, the real engine, a real face."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from skimage import data

from daemon.state.schema import LEDGER_NAME

Wait = Callable[..., None]
LONG_S = 600.0  # models load and a face is optimised, perhaps on a busy machine


def portrait() -> bytes:
    """A small JPEG of a real face, NASA's astronaut portrait."""
    out = io.BytesIO()
    astronaut: npt.NDArray[np.uint8] = data.astronaut()  # type: ignore[no-untyped-call]
    Image.fromarray(astronaut[0:256, 96:352]).save(out, "JPEG", quality=92)
    return out.getvalue()


@dataclass(frozen=True, slots=True)
class Installed:
    """A user's folders and configuration, as `fawkesd init` leaves them."""

    outbox: Path
    sync: Path
    config: Path
    state: Path

    def states(self) -> list[str]:
        ledger = self.state / "fawkesd" / LEDGER_NAME
        if not ledger.exists():
            return []
        with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as database:
            try:
                return [state for (state,) in database.execute("SELECT state FROM photos ORDER BY id")]
            except sqlite3.OperationalError:
                return []  # the tables are being made

    def output_hashes(self) -> list[str]:
        with closing(sqlite3.connect(self.state / "fawkesd" / LEDGER_NAME)) as database:
            rows = database.execute("SELECT output_sha256 FROM photos WHERE state = 'published'")
            return [sha256 for (sha256,) in rows]


def fawkesd(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "daemon", *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installed:
    here = Installed(tmp_path / "outbox", tmp_path / "sync", tmp_path / "fawkesd.yaml", tmp_path / "state")
    monkeypatch.setenv("XDG_STATE_HOME", str(here.state))
    folders = ("--outbox", str(here.outbox), "--sync", str(here.sync), "--create")
    fawkesd("init", "--user", "ada", *folders, "--config", str(here.config))
    return here


@contextmanager
def running(installed: Installed) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-m", "daemon", "run", "--config", str(installed.config)])
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(LONG_S) == 0
    finally:
        process.kill()
        process.wait()


@dataclass(slots=True)
class SyncReader:
    """Reads the sync folder over and over, as a sync tool would, and keeps the hash of everything it saw."""

    sync: Path
    seen: set[str] = field(default_factory=set)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.stop.wait(0.001):  # the engine needs the processor, too
            for path in self.sync.rglob("*.jpg"):
                self.seen.add(hashlib.sha256(path.read_bytes()).hexdigest())

    @contextmanager
    def reading(self) -> Iterator[None]:
        thread = threading.Thread(target=self.run)
        thread.start()
        try:
            yield
        finally:
            self.stop.set()
            thread.join()


def engine_pid(supervisor: int) -> int:
    """The engine process; the resource tracker of multiprocessing is the supervisor's other child."""
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    return next(int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes())


def test_a_photo_survives_the_engine_and_is_published_once(installed: Installed, eventually: Wait) -> None:
    """One run, since the real models are slow to load: arrival, a killed engine, publication, a restart."""
    original = portrait()
    reader = SyncReader(installed.sync)
    with running(installed) as supervisor, reader.reading():
        (installed.outbox / "trip").mkdir()
        (installed.outbox / "trip" / "me.jpg").write_bytes(original)
        target = installed.state / "fawkesd" / "targets" / "ada.json"
        eventually(target.exists, within_s=LONG_S)  # the faces are found, and the cloak is begun
        assert installed.states() == ["working"]
        os.kill(engine_pid(supervisor.pid), signal.SIGKILL)
        published = installed.sync / "trip" / "me.jpg"
        eventually(published.exists, within_s=LONG_S)
        eventually(lambda: installed.states() == ["published"], within_s=LONG_S)

    data_published = published.read_bytes()
    assert reader.seen == {hashlib.sha256(data_published).hexdigest()}  # never partial, never another picture
    assert installed.output_hashes() == [hashlib.sha256(data_published).hexdigest()]
    assert (installed.outbox / "trip" / "me.jpg").read_bytes() == original
    before, after = (Image.open(io.BytesIO(photo)) for photo in (original, data_published))
    assert before.size == after.size
    assert before.tobytes() != after.tobytes()

    inode = published.stat().st_ino
    with running(installed):
        (installed.outbox / "again.jpg").write_bytes(original)
        eventually(lambda: installed.states() == ["published", "published"], within_s=LONG_S)
    assert published.stat().st_ino == inode
    assert (installed.sync / "again.jpg").read_bytes() == data_published  # same photo, same cloak

    status = json.loads(fawkesd("status", "--json", "--config", str(installed.config)))
    assert status["users"][0]["published"] == 2
    assert status["running"] is False
