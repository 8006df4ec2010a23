"""The command `bench`: with the real engine what it measures, without one which photos it takes."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import Home
from engine_pictures import encoded, portrait
from faulty import FACTORY, Counter
from PIL import Image
from twins import Deed, make_photo

from daemon.cli.main import run_command
from daemon.errors import InputError
from daemon.exits import Exit
from daemon.measure import bench, bench_photos, bench_text
from daemon.measure.bench import Auto, Bench, BenchJob
from daemon.measure.bench_worker import Measured
from daemon.service.run import once
from daemon.workers.auto import NAME, engines_of
from fawkes_engine import EngineError, EngineSettings, HeicAs, ModeName, Request


def on_one_thread(home: Home, device: str = "cpu") -> Path:
    """The configuration's file; tests share their cores with others."""
    engine = home.settings.engine.model_copy(update={"threads": 1, "device": device})
    path = home.write_config()
    path.write_text(home.settings.model_copy(update={"engine": engine}).model_dump_json())
    return path


def everything_below(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_mode_is_measured_and_nothing_is_left_behind(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home.outbox / "me.jpg").write_bytes(encoded(portrait(), "JPEG"))
    config = on_one_thread(home)
    before = everything_below(tmp_path)

    assert run_command(["bench", "--mode", "quick", "--seconds", "1", "--json", "-c", str(config)]) == 0

    assert everything_below(tmp_path) == before
    assert not home.state_dir.exists()
    told = json.loads(capsys.readouterr().out)
    (quick,) = told["modes"].values()
    assert list(told["modes"]) == [told["waiting_mode"]] == ["quick"]
    assert (told["extractors"], told["sample"], told["waiting"]) == (["dlib"], 1, 1)
    assert told["waiting_s"] == quick["seconds_per_photo"] == quick["first_s"], "there was time for no more"
    assert (quick["device"], quick["threads"]) == ("cpu", 1)
    assert (quick["photos"], quick["held"], quick["faces"]) == (1, 0, 1)
    assert quick["start_s"] > 0
    assert 100 < quick["rest_mib"] <= quick["peak_mib"] < 4096
    assert sum(quick["stages"].values()) == pytest.approx(1)
    assert all(0 < share < 1 for share in quick["stages"].values())


@pytest.mark.slow
def test_engines_on_several_devices_are_measured_at_work_together(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    (home.outbox / "me.jpg").write_bytes(encoded(portrait(), "JPEG"))
    config = on_one_thread(home, device="cpu,cpu")

    assert run_command(["bench", "--mode", "quick", "--seconds", "1", "--json", "-c", str(config)]) == 0

    told = json.loads(capsys.readouterr().out)
    quick = told["modes"]["quick"]
    assert (quick["device"], quick["threads"]) == ("cpu, cpu", 2)
    assert (quick["photos"], quick["faces"]) == (2, 2), "each has cloaked the photo that waits"
    assert told["waiting_s"] == quick["seconds_per_photo"] <= quick["first_s"]
    assert sum(quick["stages"].values()) == pytest.approx(1)


def test_photos_without_a_face_measure_nothing_and_it_says_so(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photos").mkdir()
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "photos" / "black.png")

    arguments = ("--data", str(tmp_path / "photos"), "--seconds", "1", "-c", str(on_one_thread(home)))
    assert run_command(["bench", *arguments]) == Exit.NO_INPUT
    assert "no face could be cloaked in" in (said := capsys.readouterr().err)
    assert "no face was found" in said
    assert "with --data" in said


def test_the_sample_is_what_waits_newest_first_and_as_the_service_would_ask_for_it(home: Home) -> None:
    photos = {
        "published.jpg": make_photo(seed=1),
        "held.jpg": make_photo(Deed.REFUSE, seed=2),
        "old.jpg": make_photo(seed=3),
        "new.jpg": make_photo(seed=4),
        "clip.mov": b"no photo",
    }
    for age, name in enumerate(photos):
        (home.outbox / name).write_bytes(photos[name])
        os.utime(home.outbox / name, (age, age))
        if name == "held.jpg":
            once(home.settings, Counter(), FACTORY)

    sample = bench_photos.of_outboxes(home.settings)

    assert [one.data for one in sample.photos] == [
        photos[name] for name in ("new.jpg", "old.jpg", "held.jpg", "published.jpg")
    ]
    assert {one.user for one in sample.photos} == {"ada"}
    assert sample.waiting == 2
    (user,) = home.settings.users
    heic = home.settings.model_copy(update={"users": (user.model_copy(update={"heic": "heic"}),)})
    assert bench_photos.of_outboxes(heic).photos[0].heic is HeicAs.HEIC


def test_no_more_photos_are_read_than_the_service_works_on_together(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        (home.outbox / f"{number}.jpg").write_bytes(make_photo(seed=number))
    assert len(bench_photos.of_folder(home.outbox, 3).photos) == 3
    monkeypatch.setattr("daemon.measure.bench_photos._SAMPLE_BYTES", 2 * len(make_photo()) + 200)
    assert len(bench_photos.of_folder(home.outbox, 3).photos) == 2
    assert bench_photos.of_folder(home.outbox, 3).waiting == 5


def test_without_photos_it_says_what_to_do(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file.txt").write_text("")
    for place, complaint in {
        home.outbox: f"there are no photos in {home.outbox}; name a folder of photos with --data",
        tmp_path / "file.txt": f"{tmp_path}/file.txt is not a folder; name a folder of photos with --data",
    }.items():
        with pytest.raises(InputError) as caught:
            bench_photos.of_folder(place, 16)
        assert str(caught.value) == complaint
    assert run_command(["bench", "-c", str(home.write_config())]) == Exit.NO_INPUT
    assert f"there are no photos in {home.outbox}; name" in capsys.readouterr().err
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    assert run_command(["bench"]) == Exit.NO_INPUT
    assert "no configuration names an outbox; name a folder" in capsys.readouterr().err


MEASURED = Measured(
    device="cpu",
    threads=2,
    start_s=6.25,
    first_s=3.1,
    photos=14,
    held=1,
    faces=21,
    seconds_per_photo=2.5,
    by_size={1: 3.1, 2: 2.6, 4: 2.5},
    stages={"decode": 0.01, "optimise": 0.9, "other": 0.09},
    rest_mib=800,
    peak_mib=1500,
    peak_gpu_mib=0,
    gpu_mib=0,
)


def test_the_table_has_a_column_for_each_mode_and_ends_with_the_estimate() -> None:
    modes: dict[ModeName, Measured] = {"quick": MEASURED, "standard": MEASURED}
    bench = Bench(("dlib", "sface"), 7, modes, waiting=412, waiting_mode="standard", waiting_s=412 * 2.5)
    lines = list(bench_text.bench_lines(bench, what="photos that wait"))

    assert lines[0] == "dlib+sface on cpu, 2 threads; 7 different photo(s)"
    assert [line.split() for line in lines[1:6]] == [
        ["quick", "standard"],
        ["seconds", "per", "photo,", "in", "batches", "2.50", "2.50"],
        ["photos", "/", "held", "/", "faces", *["14", "/", "1", "/", "21"] * 2],
        ["faces", "per", "second", "0.60", "0.60"],
        ["first", "photo,", "alone,", "s", "3.1", "3.1"],
    ]
    assert [line.split() for line in lines[-4:-1]] == [
        ["decode", "1%", "1%"],
        ["optimise", "90%", "90%"],
        ["other", "9%", "9%"],
    ]
    assert lines[-1] == "412 photos that wait: about 17 min (standard)"
    assert len({len(line) for line in lines[1:-1]}) == 1, "the columns stand below one another"
    assert not any("GPU" in line for line in lines)


REALLY = bench._measure


class Machine:
    """What `bench` finds: with one engine `MEASURED`, with two `two`, and whatever else a test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.one = MEASURED
        self.two: Measured | Exception = replace(MEASURED, by_size={1: 3.0, 2: 2.4, 4: 2.0}, peak_mib=3000)
        self.memory_mib = 8000
        self.cores = 2
        self.has_driver = False
        self.tried: list[int] = []
        monkeypatch.setattr("daemon.measure.bench._measure", self.measure)
        monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(self.cores)))
        for room in ("measure.bench", "workers.auto"):
            monkeypatch.setattr(f"daemon.{room}.memory_mib", lambda: self.memory_mib)
            monkeypatch.setattr(f"daemon.{room}.has_nvidia_driver", lambda: self.has_driver)

    def measure(self, _job: BenchJob, engines: Sequence[EngineSettings], _until_s: float) -> Measured:
        self.tried.append(len(engines))
        if len(engines) == 1:
            return self.one
        if isinstance(self.two, Exception):
            raise self.two
        return self.two


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def decided(home: Home, mode: ModeName | None = None) -> Auto:
    """The outcome of `bench` with the engine of the configuration, which says `device: auto`."""
    sample = bench_photos.Sample((Request(b"", user="ada"),), waiting=10)
    engine = home.settings.engine
    job = BenchJob(engine, [mode or engine.mode], sample, 1.0, home.state_dir)
    auto = bench.run(job, lambda: None).auto
    assert auto is not None
    return auto


def engines(home: Home) -> int:
    """How many engines the service runs."""
    return len(engines_of(home.settings.engine, home.state_dir))


def test_two_engines_that_gain_are_what_auto_will_be(home: Home, machine: Machine) -> None:
    home.state_dir.mkdir()

    auto = decided(home)

    assert (auto.engines, auto.kept) == (2, str(home.state_dir / NAME))
    assert auto.why == "two took 2.00 s a photo, one 2.50 (batches of 4), 20% less"
    assert engines(home) == 2


def test_a_card_runs_two_engines_as_well(home: Home, machine: Machine) -> None:
    home.state_dir.mkdir()
    machine.has_driver = True
    machine.one = replace(MEASURED, peak_gpu_mib=2000, gpu_mib=24000)
    machine.two = replace(machine.one, by_size={4: 2.0}, peak_gpu_mib=4000, peak_mib=3000)

    assert decided(home).engines == 2
    assert engines(home) == 2


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ({"two": replace(MEASURED, by_size={4: 2.3})}, "8% less; two need twice the memory"),
        ({"two": replace(MEASURED, by_size={4: 3.0})}, "20% more"),
        (
            {"two": replace(MEASURED, by_size={4: 1.0}, peak_mib=3001)},
            "3001 MiB of memory, and may have 3000",
        ),
        ({"two": EngineError("no memory")}, "of two, one failed: no memory"),
    ],
)
def test_two_engines_that_gain_too_little_or_need_too_much_are_not(
    home: Home, machine: Machine, found: dict[str, object], why: str
) -> None:
    home.state_dir.mkdir()
    assert decided(home).engines == 2

    vars(machine).update(found)
    auto = decided(home)

    assert auto.engines == engines(home) == 1
    assert why in auto.why
    assert auto.kept


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ({"cores": 1}, "there is one core"),
        ({"memory_mib": 7999}, "two need 3000 MiB of memory, and may have 3000 of 7999"),
        ({"has_driver": True}, "of a machine without a graphics card"),
        (
            {"has_driver": True, "one": replace(MEASURED, peak_gpu_mib=2000, gpu_mib=8000)},
            "two need 4000 MiB of the card's memory, and may have 3000 of 8000",
        ),
    ],
)
def test_two_engines_are_not_tried_where_they_cannot_be_used(
    home: Home, machine: Machine, found: dict[str, object], why: str
) -> None:
    home.state_dir.mkdir()
    vars(machine).update(found)

    auto = decided(home)

    assert (auto.engines, auto.two) == (1, None)
    assert why in auto.why
    assert machine.tried == [1]


def test_what_was_kept_stays_where_nothing_can_be_told_of_it(home: Home, machine: Machine) -> None:
    home.state_dir.mkdir()
    assert decided(home).engines == 2

    other = decided(home, "quick")
    assert (other.engines, other.kept) == (2, None)
    assert other.obstacle == "this is quick, and the configuration has standard"

    machine.two = replace(MEASURED, by_size={1: 1.0, 2: 1.0})
    short = decided(home)
    assert (short.engines, short.kept, short.obstacle) == (2, None, None)
    assert "give more time with --seconds" in short.why
    assert engines(home) == 2


def test_without_a_state_folder_nothing_is_kept_and_it_says_so(home: Home, machine: Machine) -> None:
    auto = decided(home)

    assert (auto.engines, auto.kept) == (1, None)
    assert auto.obstacle == "there is no state folder yet; measure again after the service has run once"
    assert "20% less" in auto.why
    assert not home.state_dir.exists()


def test_nothing_is_kept_that_the_service_could_not_read(
    home: Home, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.state_dir.mkdir()
    monkeypatch.setattr("os.geteuid", lambda: home.state_dir.stat().st_uid + 1)

    auto = decided(home)

    assert (auto.engines, auto.obstacle) == (
        1,
        f"{home.state_dir} is another account's; run this as that one",
    )
    assert not (home.state_dir / NAME).exists()


def test_the_text_tells_both_figures_and_what_auto_will_be() -> None:
    two = replace(MEASURED, seconds_per_photo=2.0)
    modes: dict[ModeName, Measured] = {"quick": MEASURED, "standard": MEASURED, "strong": MEASURED}
    told = Bench(("dlib",), 7, modes, 0, "standard", 0.0, Auto(2, "20% less", two, kept="/state/file"))
    lines = list(bench_text.bench_lines(told, what="photos that wait"))

    assert lines[1].split() == ["quick", "standard", "two", "engines", "strong"]
    assert lines[2].split()[-4:] == ["2.50", "2.50", "2.00", "2.50"]
    assert lines[-2:] == [
        "`device: auto` will be two engines (standard: 20% less)",
        "kept in /state/file; a running service goes by it after `fawkesd reload`",
    ]
    assert json.loads(bench_text.bench_json(told))["auto"]["two"]["seconds_per_photo"] == 2.0
    not_kept = replace(told, auto=Auto(1, "20% less", two, obstacle="there is no state folder"))
    assert list(bench_text.bench_lines(not_kept, what="photos that wait"))[-2:] == [
        "`device: auto` will be one engine, as before (standard: 20% less)",
        "not kept: there is no state folder",
    ]


@pytest.mark.slow
def test_with_auto_two_engines_are_measured_as_well(
    home: Home, machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("daemon.measure.bench._measure", REALLY)
    machine.memory_mib = 1 << 20
    (home.outbox / "me.jpg").write_bytes(encoded(portrait(), "JPEG"))
    config = on_one_thread(home, device="auto")

    assert run_command(["bench", "--mode", "quick", "--seconds", "1", "--json", "-c", str(config)]) == 0

    told = json.loads(capsys.readouterr().out)
    if told["modes"]["quick"]["peak_gpu_mib"]:
        pytest.skip("the machine of this test has no graphics card")
    assert told["modes"]["quick"]["threads"] == 1
    assert (told["auto"]["two"]["device"], told["auto"]["two"]["threads"]) == ("cpu, cpu", 2)
    assert told["auto"]["engines"] == 1
    assert "4 photos together" in told["auto"]["why"]
