"""What the tests of faults share: a look into the ledger, disks that fail, and strace."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from conftest import DaemonProcess, Home

from daemon.config.settings import Settings
from daemon.state.schema import LEDGER_NAME

Start = Callable[..., DaemonProcess]
Wait = Callable[..., None]
FACTORY = "twins:make_engine"

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount and set kernel limits")
NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")
needs_namespace = pytest.mark.skipif(
    shutil.which("unshare") is None
    or shutil.which("nsenter") is None
    or subprocess.run([*NAMESPACE, "true"], check=False, capture_output=True).returncode != 0,
    reason="user namespaces are not allowed here, or there is no util-linux",
)
needs_bindfs = pytest.mark.skipif(
    shutil.which("bindfs") is None, reason="bindfs, which stands for a share, is not installed"
)
needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


@dataclass(slots=True)
class Counter:
    """A Progress that counts."""

    totals: list[int] = field(default_factory=list)
    advanced: int = 0
    done: list[str] = field(default_factory=list)

    def total(self, n: int) -> None:
        self.totals.append(n)

    def advance(self, n: int = 1) -> None:
        self.advanced += n

    def doing(self, words: str) -> None:
        self.done.append(words)


def column(home: Home, name: str, where: str = "1") -> list[Any]:
    """One column of all rows, oldest first."""
    if not (home.state_dir / LEDGER_NAME).exists():
        return []
    with contextlib.closing(sqlite3.connect(home.state_dir / LEDGER_NAME)) as database:
        try:
            return [v for (v,) in database.execute(f"SELECT {name} FROM photos WHERE {where} ORDER BY id")]
        except sqlite3.OperationalError:
            return []  # the tables are being made


def states(home: Home) -> list[str]:
    """The states of all rows, oldest first."""
    return column(home, "state")


def reasons(home: Home) -> list[str]:
    """Why photos are held."""
    return column(home, "reason", "state = 'held'")


def fact(home: Home, key: str) -> str | None:
    """A fact of the running service."""
    with contextlib.closing(sqlite3.connect(home.state_dir / LEDGER_NAME)) as database:
        row = database.execute("SELECT value FROM facts WHERE key = ?", (key,)).fetchone()
    return row[0] if row else None


def engine_works(daemon: DaemonProcess) -> int:
    """How often the tiny engine was asked."""
    return daemon.log.count("the tiny engine works")


def having(home: Home, **watch: float) -> Settings:
    """The settings with other values in their group `watch`."""
    return home.settings.model_copy(update={"watch": home.settings.watch.model_copy(update=watch)})


def mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True, capture_output=True)


def unmount(place: Path) -> None:
    subprocess.run(["umount", "-l", str(place)], check=True, capture_output=True)


def limited(what: str, count: int) -> tuple[str, ...]:
    """A command that runs another one where inotify has at most so many "instances" or "watches"."""
    limit = f'echo {count} > /proc/sys/user/max_inotify_{what} && exec "$@"'
    return (*NAMESPACE, "sh", "-c", limit, "sh")


def inside(daemon: DaemonProcess, *command: str | Path) -> None:
    """Run a command where a daemon `under=NAMESPACE` runs, with root's rights there."""
    enter = ["nsenter", f"--target={daemon.process.pid}", "--user", "--mount", "--preserve-credentials"]
    subprocess.run([*enter, *map(str, command)], check=True, capture_output=True)


def make_disk(image: Path, kind: str, size: int, *options: str) -> None:
    """Write a fresh file system of so many bytes into a file; skips the test where the tool for it is missing."""
    make = shutil.which(f"mkfs.{kind}")
    if make is None:
        pytest.skip(f"mkfs.{kind} is not installed")
    with image.open("wb") as file:
        file.truncate(size)
    subprocess.run([make, *options, str(image)], check=True, capture_output=True)


@contextlib.contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    """A file system of its own at a new directory."""
    place.mkdir()
    mount("-t", "tmpfs", "-o", f"size={size}", "none", place)
    try:
        yield place
    finally:
        unmount(place)


@contextlib.contextmanager
def drive(place: Path) -> Iterator[Path]:
    """A file system that keeps its files while it is not plugged in at `place` (by a bind mount)."""
    with small_disk(place.with_name(f"drive of {place.name}"), "8m") as content:
        yield content
        with contextlib.suppress(subprocess.CalledProcessError):
            unmount(place)


def fill(disk: Path) -> Path:
    """Leave no byte free; removing the returned file frees all of it."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return filler
