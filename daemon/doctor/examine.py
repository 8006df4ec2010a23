"""`fawkesd doctor`: checks everything the service needs from this machine and advises how to fix faults."""

from __future__ import annotations

import math
import os
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, cast

from daemon.config.settings import Settings
from daemon.config.yaml_source import parse, read
from daemon.doctor import cluster, folders, page, published, skipped, state
from daemon.doctor.findings import Finding, fault, fine, warning
from daemon.errors import EngineStartError
from daemon.fs.absence import absence
from daemon.fs.locks import holder
from daemon.state import facts
from daemon.state.history import History, reading
from daemon.text import printable
from daemon.timing import DEFAULT_TIMING, Timing
from daemon.workers.pool import EnginePool
from fawkes_engine import EngineError
from fawkes_engine.weights import catalog

_CLOCK_STEP_S = 60.0  # time servers make corrections of this size routinely
_FIRST_DAY_S = 1_735_689_600.0  # 2025-01-01: a correct clock is not before the first version of this program


def examine(
    settings: Settings, config: Path, factory: str, *, deep: bool, timing: Timing = DEFAULT_TIMING
) -> Iterator[Finding]:
    """Run all checks; `deep` also reads every published file. Raises LedgerError.

    factory: creates the engine, as in the service.
    """
    pid = holder(settings.state_dir)
    yield fine("service", f"is running as process {pid}" if pid else "is not running")
    yield from _links(settings, config)
    yield from _rights(config, settings.engine.models_folder)
    yield from state.folder(settings.state_dir)
    yield _models(settings.engine.models_folder)
    yield from page.findings(settings.web, pid)
    yield from cluster.findings(settings.engine)
    with reading(settings.state_dir) as history:
        yield from folders.outboxes(settings, history, pid)
        yield from skipped.photos(settings)
        yield _clock(history, time.time())
        for user in settings.users:
            yield from state.target(settings, user.name, history)
            yield from state.waiting(settings, user.name, history)
            lost = state.why_lost(settings, user.name, history)
            yield from folders.sync(user, history, pid, known=lost)
        if deep:
            yield _integrity(history, settings.state_dir)
            for user in settings.users:
                if absence(user.sync) is None:  # else everything in it would seem to be deleted
                    yield from published.compare(user, history)
        device = history.facts.all().get(facts.ENGINE)
    yield _running_engine(device) if pid else _fresh_engine(settings, factory, timing)


def _links(settings: Settings, config: Path) -> Iterator[Finding]:
    """Report folders configured through a symlink, which is resolved only once, at the start."""
    written = cast("dict[str, Any]", parse(read(config), config).data)["users"]
    for user, entry in zip(settings.users, written, strict=True):
        for real, name in zip((*user.outboxes, user.sync), (*entry["outboxes"], entry["sync"]), strict=True):
            path = config.absolute().parent / Path(name).expanduser()
            if path != real:
                yield fine(path, f"resolves to {real}, which is used until the next start or reload")


def _rights(config: Path, models: Path) -> Iterator[Finding]:
    """Report what other users could change: the configuration names programs that run with the user's rights.

    Root may look at the configuration of the account that the service runs as.
    """
    trusted = {0, os.geteuid()}
    if os.geteuid() == 0:
        trusted.add(config.stat().st_uid)
    for path in (config, config.absolute().parent, models):
        with suppress(FileNotFoundError):
            status = path.stat()
            if status.st_uid not in trusted:
                yield warning(
                    path, "belongs to another user, who can change it", f"run `chown {os.geteuid()} '{path}'`"
                )
            # A sticky folder, such as /tmp, protects each file from all but its owner.
            elif status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
                yield warning(
                    path, "can be changed by every user of this machine", f"run `chmod o-w '{path}'`"
                )


def _models(folder: Path) -> Finding:
    names = ", ".join(catalog.on_disk(folder))
    if len(catalog.best_on_disk(folder)) > 1:
        return fine(
            folder, f"holds the face recognisers {names}; `fawkesd models verify` checks their hashes"
        )
    message = "holds no fetched face recogniser: cloaks are computed only against dlib, which comes with the package"
    return warning(folder, message, "run `fawkesd models fetch`: cloaks then protect against more trackers")


def _clock(history: History, now: float) -> Finding:
    newest = next(history.newest(), None)
    if now < _FIRST_DAY_S or (newest is not None and newest.updated > now + _CLOCK_STEP_S):
        return warning(
            "clock",
            "is behind the last record of the ledger, or before 2025",
            "set it, for example with `timedatectl set-ntp true`",
        )
    return fine("clock", "is not behind the last record of the ledger")


def _integrity(history: History, state_dir: Path) -> Finding:
    damage = history.damage()
    if damage is None:
        return fine("ledger", "is intact")
    return fault("ledger", f"is damaged: {damage}", f"stop the service and restore {state_dir} from a backup")


def _running_engine(device: str | None) -> Finding:
    if device == facts.UNLOADED:
        return fine("engine", "is unloaded because no photo came for a while; the next one loads it")
    return fine("engine", f"is running on {device}" if device else "is starting")


def _fresh_engine(settings: Settings, factory: str, timing: Timing) -> Finding:
    """Start an engine as the service does, which loads the models and warms them up."""
    pool = EnginePool.of(settings, factory, timing)
    started_s = time.monotonic()
    try:
        pool.start(started_s)
        device = _wait_until_ready(pool)
    except (EngineStartError, EngineError) as exc:
        return fault(
            "engine",
            printable(str(exc)),
            "check `engine` in the configuration, and the installation of fawkesd",
        )
    finally:
        pool.stop()
    return fine("engine", f"is ready on {device} after {time.monotonic() - started_s:.0f} s")


def _wait_until_ready(pool: EnginePool) -> str:
    while not pool.is_complete:
        due_s = math.inf if pool.due_s is None else pool.due_s
        wait(pool.connections, max(due_s - time.monotonic(), 0.0))
        pool.poll(time.monotonic())
    return ", ".join(pool.devices)
