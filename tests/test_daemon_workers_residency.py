"""The engine's place on the machine: unloaded while nothing comes, and giving way to other programs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import DaemonProcess, Home
from faulty import states
from service_manager import Manager
from twins import Deed, make_photo

from daemon.config.settings import Settings
from daemon.doctor import examine
from daemon.state import facts
from daemon.status import status, status_text

Start = Callable[..., DaemonProcess]
Wait = Callable[..., None]


def having(home: Home, **engine: object) -> Settings:
    """The settings with other values in their group `engine`."""
    return home.settings.model_copy(update={"engine": home.settings.engine.model_copy(update=engine)})


def is_unloaded(home: Home) -> bool:
    return status.read(home.settings).engine == facts.UNLOADED


def test_an_idle_engine_is_unloaded_and_the_next_photo_loads_it_again(
    home: Home, start: Start, eventually: Wait, manager: Manager
) -> None:
    settings = having(home, idle_unload_s=0.2)
    (home.outbox / "a.jpg").write_bytes(make_photo())
    with home.engine_held():
        daemon = start(settings)
        eventually(lambda: states(home) == ["working"])
        first = daemon.engine_pid

    eventually(lambda: is_unloaded(home))
    assert home.published() == ["a.jpg"]
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)
    told = status.read(settings)
    assert (told.running, told.engine) == (True, "unloaded, idle")
    assert "engine: unloaded, idle" in next(iter(status_text.status_lines(told)))
    examined = examine.examine(settings, home.write_config(), "twins:make_engine", deep=False)
    assert "is unloaded" in list(examined)[-1].message

    (home.outbox / "b.jpg").write_bytes(make_photo(seed=1))
    eventually(lambda: home.published() == ["a.jpg", "b.jpg"])
    eventually(lambda: is_unloaded(home))
    eventually(lambda: daemon.log.count("engine ready") == daemon.log.count("engine unloaded") >= 2)
    assert daemon.stop() == 0
    assert manager.count("READY=1") == 1, "the service was ready all the time"


def test_an_engine_that_dies_after_it_was_loaded_again_costs_no_photo(
    home: Home, start: Start, eventually: Wait
) -> None:
    daemon = start(having(home, idle_unload_s=0.2))
    eventually(lambda: "engine unloaded" in daemon.log)
    for name, deed in {"bad.jpg": Deed.DIE, "good.jpg": Deed.PROTECT}.items():
        (home.outbox / name).write_bytes(make_photo(deed))

    eventually(lambda: sorted(states(home)) == ["held", "published"])
    eventually(lambda: is_unloaded(home))
    assert home.published() == ["good.jpg"]
    assert daemon.stop() == 0


def test_photos_that_nothing_may_be_begun_for_keep_no_engine(
    home: Home, start: Start, eventually: Wait, tmp_path: Path
) -> None:
    """The drive of the sync folder is away: the photos wait for it, and the engine need not."""
    daemon = start(having(home, idle_unload_s=0.2))
    eventually(lambda: "engine unloaded" in daemon.log)
    home.sync.rename(tmp_path / "drive")
    (home.outbox / "a.jpg").write_bytes(make_photo())

    eventually(lambda: states(home) == ["ready"] and is_unloaded(home))
    (tmp_path / "drive").rename(home.sync)
    eventually(lambda: home.published() == ["a.jpg"])


@pytest.mark.parametrize(("wanted", "given"), [(7, 7), (0, None)])
def test_the_engine_is_nice_and_the_watcher_is_not(
    wanted: int, given: int | None, home: Home, start: Start, eventually: Wait
) -> None:
    """0 leaves it as the service was started; less than that is not even tried."""
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    daemon = start(having(home, nice=wanted))
    eventually(lambda: "engine ready" in daemon.log)

    expected = ours if given is None else max(given, ours)
    assert os.getpriority(os.PRIO_PROCESS, daemon.engine_pid) == expected
    assert os.getpriority(os.PRIO_PROCESS, daemon.process.pid) == ours
