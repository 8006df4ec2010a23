"""Fixtures shared by the tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from daemon.ledger import LEDGER_NAME, Ledger
from daemon.settings import EngineConfig, RetrySettings, Settings, UserSettings, WatchSettings


@dataclass(frozen=True, slots=True)
class Home:
    """One user's folders in a temporary directory, and settings that make the daemon quick."""

    outbox: Path
    sync: Path
    settings: Settings

    @property
    def state_dir(self) -> Path:
        return self.settings.state_dir

    def published(self) -> list[str]:
        """Names below the sync folder, without the marker."""
        files = [path for path in self.sync.rglob("*") if path.is_file()]
        return sorted(str(path.relative_to(self.sync)) for path in files if not path.name.startswith("."))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    outbox, sync = tmp_path / "outbox", tmp_path / "sync"
    outbox.mkdir()
    sync.mkdir()
    settings = Settings(
        state_dir=tmp_path / "state",
        users=(UserSettings(name="ada", outboxes=(outbox,), sync=sync),),
        watch=WatchSettings(settle_s=0.1, rescan_s=60.0),
        engine=EngineConfig(photo_timeout_s=20.0),
        retry=RetrySettings(first_s=0.1, longest_s=1.0, attempts=3),
    )
    return Home(outbox, sync, settings)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / LEDGER_NAME)
    yield opened
    opened.close()


@pytest.fixture
def eventually() -> Callable[[Callable[[], object]], None]:
    """Wait until a condition holds; fail after half a minute."""

    def wait(condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline, "the condition never came true"
            time.sleep(0.02)

    return wait
