"""How many engines `device: auto` runs: two on its device where `fawkesd bench` has shown that they gain, else one.

What it has shown is a small file of the state folder, which counts only for the settings and the machine that it was
measured with: a damaged one, or one from elsewhere, means one engine.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from daemon.config.settings import EngineConfig
from daemon.fs import atomic
from daemon.fs.kernel import has_nvidia_driver
from daemon.workers.limits import memory_mib
from fawkes_engine import EngineSettings

NAME = "auto-engines.json"  # below the state folder


def engines_of(engine: EngineConfig, state_dir: Path) -> list[EngineSettings]:
    """Return the settings of each engine that the service runs on this machine."""
    if engine.device == "auto" and _kept(state_dir) == _record(engine, 2):
        return pair(engine)
    return engine.to_engines()


def pair(engine: EngineConfig) -> list[EngineSettings]:
    """Return the settings of two engines on the device of `auto`; on the processor they share its cores."""
    if has_nvidia_driver():
        return [engine.to_engine()] * 2
    return engine.model_copy(update={"device": "cpu,cpu"}).to_engines()


def keep(state_dir: Path, engine: EngineConfig, engines: int) -> Path:
    """Keep how many engines `auto` is to run, 1 or 2, with these settings. Returns the file. Raises OutputError."""
    path = state_dir / NAME
    atomic.write(path, json.dumps(_record(engine, engines), indent=2).encode(), replace=True, mode=0o600)
    return path


def _kept(state_dir: Path) -> object:
    with contextlib.suppress(OSError, ValueError):
        return json.loads((state_dir / NAME).read_bytes())
    return None


def _record(engine: EngineConfig, engines: int) -> Mapping[str, object]:
    """The file's content: the number, and all that it hangs on and that is known without torch."""
    return {
        "engines": engines,
        "mode": engine.mode,
        "extractors": list(engine.ensemble),
        "batch_photos": engine.batch_photos,
        "threads": engine.threads,
        "max_gpu_memory_gib": engine.max_gpu_memory_gib,
        "cores": len(os.sched_getaffinity(0)),
        "nvidia_driver": has_nvidia_driver(),
        "memory_gib": round(memory_mib() / 1024),
    }
