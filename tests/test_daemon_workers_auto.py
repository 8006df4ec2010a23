"""How many engines `device: auto` runs: two by a file of `fawkesd bench` that fits, else one."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from conftest import Home
from faulty import FACTORY, Counter
from twins import make_photo

from daemon.config.settings import EngineConfig
from daemon.fs.kernel import has_nvidia_driver
from daemon.service.run import once
from daemon.timing import DEFAULT_TIMING
from daemon.workers import auto, limits
from daemon.workers.pool import EnginePool
from fawkes_engine.weights import catalog


@pytest.fixture
def kept(home: Home) -> Path:
    """The file that tells the service of this configuration, on this machine, to run two engines."""
    home.state_dir.mkdir(mode=0o700)
    return auto.keep(home.state_dir, home.settings.engine, 2)


def engines(home: Home, **changed: object) -> int:
    """How many engines the service runs, after changes to the configuration's `engine`."""
    engine = home.settings.engine.model_copy(update=changed)
    settings = home.settings.model_copy(update={"engine": engine})
    return len(EnginePool.of(settings, FACTORY, DEFAULT_TIMING).engines)


def test_a_file_that_fits_means_two_engines(home: Home, kept: Path) -> None:
    assert engines(home) == 2
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert [path.name for path in home.state_dir.iterdir()] == [auto.NAME], "no part of it is left"


def test_one_engine_may_be_what_was_found(home: Home, kept: Path) -> None:
    auto.keep(home.state_dir, home.settings.engine, 1)

    assert engines(home) == 1


def test_without_a_file_it_is_one_engine(home: Home) -> None:
    assert engines(home) == 1


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"null", b"2", b"[]", b"{}", b'{"engines": 2}', b"\xff\xfe", b"\0" * 300]
)
def test_a_damaged_file_means_one_engine(home: Home, kept: Path, damage: bytes) -> None:
    kept.write_bytes(damage)

    assert engines(home) == 1


def test_a_file_that_cannot_be_read_means_one_engine(home: Home, kept: Path) -> None:
    kept.unlink()
    kept.mkdir()

    assert engines(home) == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"mode": "quick"},
        {"threads": 1},
        {"batch_photos": 4},
        {"extractors": ("dlib", "sface")},
        {"max_gpu_memory_gib": 2.0},
        {"device": "cpu"},
    ],
)
def test_it_holds_for_the_settings_it_was_measured_with(
    home: Home, kept: Path, changed: dict[str, object]
) -> None:
    assert engines(home, **changed) == 1


@pytest.mark.parametrize(
    ("place", "elsewhere"),
    [
        ("os.sched_getaffinity", set(range(1000))),
        ("daemon.workers.auto.memory_mib", 1),
        ("daemon.workers.auto.has_nvidia_driver", not has_nvidia_driver()),
    ],
)
def test_it_holds_for_the_machine_it_was_measured_on(
    home: Home, kept: Path, monkeypatch: pytest.MonkeyPatch, place: str, elsewhere: object
) -> None:
    monkeypatch.setattr(place, lambda *_: elsewhere)

    assert engines(home) == 1


def test_another_recogniser_on_disk_means_one_engine(home: Home, kept: Path, tmp_path: Path) -> None:
    with_models = home.settings.engine.model_copy(update={"models_dir": tmp_path})
    auto.keep(home.state_dir, with_models, 2)
    assert engines(home, models_dir=tmp_path) == 2

    catalog.path("sface", tmp_path).write_bytes(b"weights")

    assert engines(home, models_dir=tmp_path) == 1


def test_on_the_processor_two_are_what_cpu_cpu_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.workers.auto.has_nvidia_driver", lambda: False)
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(5)))

    assert auto.pair(EngineConfig()) == EngineConfig(device="cpu,cpu").to_engines()
    assert [engine.threads for engine in auto.pair(EngineConfig())] == [2, 2]
    assert [engine.threads for engine in auto.pair(EngineConfig(threads=3))] == [3, 3]


def test_on_a_card_two_fall_back_to_the_processor_as_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.workers.auto.has_nvidia_driver", lambda: True)

    assert auto.pair(EngineConfig()) == [EngineConfig().to_engine()] * 2
    assert {engine.device for engine in auto.pair(EngineConfig())} == {"auto"}


def test_the_two_engines_share_what_waits(home: Home, kept: Path) -> None:
    for number in range(5):
        (home.outbox / f"{number}.jpg").write_bytes(make_photo(seed=number))

    assert once(home.settings, Counter(), FACTORY).published == 5


def test_a_container_has_the_memory_it_may_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(limits, "_CONTAINER_LIMIT", limit)
    machine = limits.memory_mib()

    limit.write_text("max\n")
    assert limits.memory_mib() == machine > 64
    limit.write_text(f"{64 << 20}\n")
    assert limits.memory_mib() == 64
