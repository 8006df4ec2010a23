"""The settings of fawkesd (stand-in with the agreed models; `load` comes with the command line)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from fawkes_engine import Budget, EngineSettings


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _state_dir() -> Path:
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "fawkesd"


class UserSettings(_Model):
    """One person: where photos come from and where cloaked copies go."""

    name: str
    outboxes: tuple[Path, ...]
    sync: Path
    staging: Path | None = None

    @property
    def staging_dir(self) -> Path:
        """Where results are written before they are linked into the sync folder; same mount."""
        return self.staging or self.sync.parent / f".fawkesd-staging-{self.sync.name}"


class WatchSettings(_Model):
    """settle_s: quiet time before a photo is read. rescan_s: seconds between full scans."""

    settle_s: float = 3.0
    rescan_s: float = 300.0


class EngineConfig(_Model):
    """How photos are cloaked."""

    device: str = "auto"
    extractors: tuple[str, ...] = ("dlib",)
    dssim: float = 0.007
    colour_mean: float = 1.0
    colour_p99: float = 3.0
    steps: int = 60
    jpeg_quality: int = 95
    batch_photos: int = 16
    threads: int = 0
    photo_timeout_s: float = 900.0

    def to_engine(self) -> EngineSettings:
        """The engine's own settings."""
        return EngineSettings(
            extractors=self.extractors,
            budget=Budget(dssim=self.dssim, colour_mean=self.colour_mean, colour_p99=self.colour_p99),
            steps=self.steps,
            jpeg_quality=self.jpeg_quality,
            device=self.device,
            threads=self.threads,
        )


class RetrySettings(_Model):
    """Waiting time after a failure: first_s, doubled each time up to longest_s, attempts times."""

    first_s: float = 5.0
    longest_s: float = 3600.0
    attempts: int = 5


class Settings(_Model):
    """Everything the daemon is told."""

    version: Literal[1] = 1
    state_dir: Path = Field(default_factory=_state_dir)
    users: tuple[UserSettings, ...]
    watch: WatchSettings = WatchSettings()
    engine: EngineConfig = EngineConfig()
    retry: RetrySettings = RetrySettings()
