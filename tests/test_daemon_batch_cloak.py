import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

import pytest
from own_photos import record

from daemon.batch import cloak, output_folder
from daemon.batch.cloak import CloakJob
from daemon.batch.output_folder import NotWritten, Written
from daemon.cli.main import run_command
from daemon.errors import ConfigError, InputError, OutputError
from fawkes_engine import (
    EngineSettings,
    FaceReport,
    ModeName,
    NoFace,
    Protected,
    Refusal,
    Report,
    Request,
    Step,
    unseen,
)

FACE = FaceReport(
    box=(1.0, 2.0, 3.0, 4.0),
    height_px=120,
    person="ada",
    target="mix-7",
    dssim=0.006,
    dssim_224=0.005,
    colour_mean=0.5,
    colour_p99=2.0,
    moved=0.01,
    cosine_own=MappingProxyType({"dlib": 0.1}),
    cosine_target=MappingProxyType({"dlib": 0.6}),
    steps=41,
)


class ReversingEngine:
    """Reverses the bytes of a photo; refuses an empty one; calls what ends in "png" a JPEG."""

    fingerprint = "reversing"
    device_name = "paper"

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.users: set[str] = set()
        self.strengths: list[int] = []

    def warm_up(self) -> None:
        return

    def protect(
        self, requests: Sequence[Request], *, on_step: Callable[[Step], None] | None = None
    ) -> list[Protected | Refusal]:
        self.batches.append(len(requests))
        self.users |= {request.user for request in requests}
        self.strengths += [request.strength for request in requests]
        return [self._one(request.data) for request in requests]

    def _one(self, data: bytes) -> Protected | Refusal:
        if not data:
            return NoFace("no face was found")
        out = data[::-1]
        report = Report(faces=(FACE,), seconds=1.5, fingerprint="f00d", mode="quick")
        suffix = ".jpg" if not data.endswith(b"keep") else ".png"
        return Protected(data=out, sha256=hashlib.sha256(out).hexdigest(), suffix=suffix, report=report)


@pytest.fixture
def engine() -> ReversingEngine:
    return ReversingEngine()


def photo(path: Path, data: bytes = b"photo") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def job(out: Path, *photos: Path) -> CloakJob:
    return CloakJob(photos, partial(Request, user="alice"), lambda _sha256: None, out, force=False)


def run(
    wanted: CloakJob, engine: ReversingEngine, batch_photos: int = 16
) -> list[Written[Protected] | NotWritten]:
    output_folder.check(wanted.photos, wanted.out, force=wanted.force)
    return list(cloak.cloak(wanted, engine, batch_photos))


def names(outcomes: list[Written[Protected] | NotWritten]) -> list[str | None]:
    return [outcome.output.name if isinstance(outcome, Written) else None for outcome in outcomes]


def test_a_photo_keeps_its_name_and_nothing_else_is_left(tmp_path: Path, engine: ReversingEngine) -> None:
    source = photo(tmp_path / "in" / "IMG.JPEG")
    assert names(run(job(tmp_path / "a" / "b", source), engine)) == ["IMG.JPEG"]
    assert [path.read_bytes() for path in (tmp_path / "a" / "b").iterdir()] == [b"otohp"]
    assert source.read_bytes() == b"photo"


def test_photos_are_passed_on_in_groups_for_the_named_user(tmp_path: Path, engine: ReversingEngine) -> None:
    photos = [photo(tmp_path / f"{n}.jpg") for n in range(7)]
    assert len(run(job(tmp_path / "out", *photos), engine, batch_photos=3)) == 7
    assert engine.batches == [3, 3, 1]
    assert engine.users == {"alice"}


def test_namesakes_get_numbers_also_if_they_differ_in_case_only(
    tmp_path: Path, engine: ReversingEngine
) -> None:
    photos = [
        photo(tmp_path / folder / name) for folder, name in (("a", "x.jpg"), ("b", "x.jpg"), ("c", "X.jpg"))
    ]
    assert names(run(job(tmp_path / "out", *photos), engine)) == ["x.jpg", "x~2.jpg", "X~3.jpg"]


def test_the_extension_follows_the_format(tmp_path: Path, engine: ReversingEngine) -> None:
    photos = [photo(tmp_path / "x.heic"), photo(tmp_path / "x.jpg"), photo(tmp_path / "y.png", b"keep")]
    assert names(run(job(tmp_path / "out", *photos), engine)) == ["x.jpg", "x~2.jpg", "y.png"]


def test_a_refusal_holds_one_photo_and_moves_no_other_name(tmp_path: Path, engine: ReversingEngine) -> None:
    photos = [photo(tmp_path / "a" / "x.jpg", b""), photo(tmp_path / "b" / "x.jpg")]
    outcomes = run(job(tmp_path / "out", *photos), engine)
    assert outcomes[0] == NotWritten(photos[0], "no face was found")
    assert names(outcomes) == [None, "x~2.jpg"]


def test_a_missing_photo_stops_everything_before_it_begins(tmp_path: Path, engine: ReversingEngine) -> None:
    wanted = job(tmp_path / "out", photo(tmp_path / "a.jpg"), tmp_path / "gone.jpg")
    with pytest.raises(InputError, match=r"gone\.jpg is not a readable file"):
        run(wanted, engine)
    assert not engine.batches


def test_an_existing_file_stops_everything_unless_forced(tmp_path: Path, engine: ReversingEngine) -> None:
    source, existing = photo(tmp_path / "a.jpg"), photo(tmp_path / "out" / "a.jpg", b"mine")
    wanted = job(tmp_path / "out", source)
    with pytest.raises(OutputError, match="exists already"):
        run(wanted, engine)
    assert existing.read_bytes() == b"mine"
    run(replace(wanted, force=True), engine)
    assert existing.read_bytes() == b"otohp"


@pytest.mark.parametrize("force", [False, True])
def test_an_original_is_never_written_over(tmp_path: Path, engine: ReversingEngine, force: bool) -> None:
    source = photo(tmp_path / "a.jpg")
    with pytest.raises(OutputError, match="originals stay"):
        run(replace(job(tmp_path, source), force=force), engine)
    assert source.read_bytes() == b"photo"


def test_an_existing_file_met_only_after_a_change_of_format_holds_the_photo(
    tmp_path: Path, engine: ReversingEngine
) -> None:
    existing = photo(tmp_path / "out" / "a.jpg", b"mine")
    outcomes = run(job(tmp_path / "out", photo(tmp_path / "a.heic"), photo(tmp_path / "b.jpg")), engine)
    assert isinstance(outcomes[0], NotWritten)
    assert isinstance(outcomes[1], Written)
    assert existing.read_bytes() == b"mine"


def test_an_output_folder_that_cannot_be_made_is_told(tmp_path: Path, engine: ReversingEngine) -> None:
    with pytest.raises(OutputError, match="cannot be created"):
        run(job(photo(tmp_path / "file") / "out", photo(tmp_path / "a.jpg")), engine)


def test_names_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    line = cloak.as_line(NotWritten(tmp_path / "a\x1b[2J\n.jpg", "bad\x07"))
    assert line.isprintable()
    assert "\\x1b[2J\\n.jpg" in line


def test_the_report_has_the_promised_keys(tmp_path: Path, engine: ReversingEngine) -> None:
    source = photo(tmp_path / "a.jpg")
    report = json.loads(cloak.as_json(run(job(tmp_path / "out", source), engine)[0]))
    face = report.pop("faces")[0]
    assert report == {
        "input": str(source),
        "output": str(tmp_path / "out" / "a.jpg"),
        "sha256": hashlib.sha256(b"otohp").hexdigest(),
        "against_others": unseen.in_words({"dlib": 0.1}),
        "seconds": 1.5,
        "mode": "quick",
        "strength": 100,
        "engine": "f00d",
    }
    assert face["box"] == [1.0, 2.0, 3.0, 4.0]
    assert face["cosine_target"] == {"dlib": 0.6}
    assert set(face) == set(FaceReport.__dataclass_fields__)


@pytest.fixture
def homeless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with nothing in it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    return tmp_path


def written_config(home: Path) -> Path:
    path = home / ".config/fawkesd/fawkesd.yaml"
    for name in ("in", "sync"):
        (home / name).mkdir()
    path.parent.mkdir(parents=True)
    users = "users: [{name: alice, outboxes: [~/in], sync: ~/sync}]\n"
    path.write_text(users + "state_dir: ~/state\nengine: {mode: quick, batch_photos: 2}\n")
    return path


def test_without_a_configuration_the_defaults_serve(homeless: Path) -> None:
    setup = cloak.setup(None, "anyone")
    assert setup.engine.to_engine() == EngineSettings()
    assert setup.targets_dir == homeless / ".local/state/fawkesd/targets"


def test_a_configuration_in_its_place_is_used(homeless: Path) -> None:
    written_config(homeless)
    setup = cloak.setup(None, "alice")
    assert setup.engine.mode == "quick"
    assert setup.targets_dir == homeless / "state/targets"


def test_a_slip_in_the_name_makes_no_second_identity(homeless: Path) -> None:
    path = written_config(homeless)
    with pytest.raises(ConfigError, match="has no user alise; did you mean alice"):
        cloak.setup(path, "alise")


def test_a_named_configuration_must_exist(homeless: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        cloak.setup(homeless / "none.yaml", "alice")


@pytest.fixture
def command(homeless: Path, monkeypatch: pytest.MonkeyPatch, engine: ReversingEngine) -> list[str]:
    """The start of a command line whose engine is the reversing one."""
    monkeypatch.setattr(cloak, "load_engine", lambda _settings, _targets_dir: engine)
    return ["cloak", "--user", "alice", "--out", str(homeless / "out")]


def test_the_command_prints_one_json_object_per_photo_and_exits_1_if_one_is_held(
    homeless: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = photo(homeless / "a.jpg"), photo(homeless / "b.jpg", b"")
    assert run_command([*command, "--json", str(good), str(bad)]) == 1
    reports = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [report["input"] for report in reports] == [str(good), str(bad)]
    assert reports[1]["held"] == "no face was found"


def test_the_command_exits_0_when_all_is_done(
    homeless: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command([*command, str(photo(homeless / "a.jpg"))]) == 0
    said = capsys.readouterr()
    assert "1 face, 1.5 s; " in said.out
    assert said.err == ""


def test_a_strength_is_a_part_of_what_the_strongest_mode_computes(
    homeless: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], engine: ReversingEngine
) -> None:
    made: list[EngineSettings] = []

    def load(settings: EngineSettings, _targets_dir: Path) -> ReversingEngine:
        made.append(settings)
        return engine

    monkeypatch.setattr(cloak, "load_engine", load)

    for arguments in (["--strength", "60"], ["--mode", "quick"], ["--mode", "quick", "--strength", "0"], []):
        assert run_command([*command, "--force", str(photo(homeless / "a.jpg")), *arguments]) == 0

    modes: tuple[ModeName, ...] = ("strong", "quick", "quick", "standard")
    assert made == [EngineSettings.of_mode(mode) for mode in modes]
    assert engine.strengths == [60, 100, 0, 100]


def test_the_command_exits_66_for_a_missing_photo_and_73_for_an_existing_result(
    homeless: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command([*command, str(homeless / "none.jpg")]) == 66
    photo(homeless / "out" / "a.jpg")
    assert run_command([*command, str(photo(homeless / "a.jpg"))]) == 73
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("configured", [False, True])
def test_a_copy_that_the_service_published_is_held_unless_forced(
    homeless: Path,
    command: list[str],
    engine: ReversingEngine,
    capsys: pytest.CaptureFixture[str],
    configured: bool,
) -> None:
    if configured:
        written_config(homeless)
    state_dir = homeless / ("state" if configured else ".local/state/fawkesd")
    original = photo(homeless / "a.jpg", b"clean")
    record(state_dir, original, b"cloaked")
    copy, other = photo(homeless / "from the cloud.jpg", b"cloaked"), photo(homeless / "b.jpg")

    assert run_command([*command, str(copy), str(other), str(original)]) == 1
    said = capsys.readouterr().out.splitlines()
    assert (
        f"held: already cloaked: this is the published copy of {original}; give that one, or use --force"
        in said[0]
    )
    assert sorted(path.name for path in (homeless / "out").iterdir()) == ["a.jpg", "b.jpg"]
    assert sum(engine.batches) == 2

    assert run_command([*command, "--force", str(copy)]) == 0
    assert (homeless / "out" / copy.name).read_bytes() == b"dekaolc"


def test_a_user_name_that_names_a_path_is_a_usage_error(homeless: Path) -> None:
    target = photo(homeless / "a.jpg")
    assert run_command(["cloak", str(target), "--user", "../x", "--out", str(homeless / "o")]) == 64
