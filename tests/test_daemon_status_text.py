import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from daemon.cli.common import echo_state
from daemon.cli.main import run_command
from daemon.config.settings import Settings
from daemon.model import HeldPhoto, Progress, Snapshot
from daemon.service import run
from daemon.service.run import OnceResult
from daemon.state.history import PausedFolder
from daemon.state.unfinished import UnfinishedFile
from daemon.status import status_text
from daemon.status.status import AwayFolder, Batch, Status, UserStatus
from daemon.text import as_html, duration, figure, moment, printable

HELD = HeldPhoto("bob", Path("/in/[red]a\x1b[2J\n.jpg"), "no face was found")
PAUSED = PausedFolder(Path("/in\n"), "paused by hand", None, 1)
CUT = UnfinishedFile(
    "alice", Path("/in/b\n.tif"), Snapshot(1, 2, 3, 4, 5), "its end is missing", 1e9, 1e9 + 600
)
GROWS = UnfinishedFile("bob", Path("/in/c.tif"), Snapshot(1, 2, 3, 4, 5), "it is still changing", None, None)
STATUS = Status(
    running=True,
    pid=7,
    engine="dlib on cpu",
    watching="natively",
    quiet_until=None,
    waits_for=(),
    users=(
        UserStatus("alice", 40, 3, 11, (), (), (CUT,), seconds_per_photo=2.0, eta_s=500.0, target="mix-7"),
        UserStatus(
            "bob", 0, 0, 1, (HELD,), (PAUSED,), (GROWS,), seconds_per_photo=None, eta_s=40.0, target=None
        ),
    ),
)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    for name in ("in", "sync"):
        (tmp_path / name).mkdir()
    path = tmp_path / "fawkesd.yaml"
    path.write_text(
        "state_dir: state\nusers: [{name: alice, outboxes: [in], sync: sync}]\nengine: {extractors: [dlib]}\n"
    )
    return path


def test_the_first_line_sums_up_and_each_person_follows() -> None:
    assert list(status_text.status_lines(STATUS)) == [
        "3 published today, 12 waiting (about 9 min), 2 not finished by their writers, 1 held, "
        "engine: dlib on cpu",
        "alice: 40 published, 11 waiting (about 8 min), 0 held",
        rf"  not finished by its writer: /in/b\n.tif: its end is missing; taken as it is at {moment(1e9 + 600)}",
        "bob: 0 published, 1 waiting (about 40 s), 1 held",
        r"  paused: /in\n: paused by hand (1 waiting)",
        "  not finished by its writer: /in/c.tif: it is still changing",
        r"  held: /in/[red]a\x1b[2J\n.jpg: no face was found",
    ]


def test_the_first_line_names_what_is_waited_for_and_the_reason_is_told_once() -> None:
    away = (AwayFolder("/drive/out", "does not exist"), AwayFolder("/in\n", "paused by hand"))
    lines = list(status_text.status_lines(replace(STATUS, waits_for=away)))
    assert lines[0].endswith(r"engine: dlib on cpu, waits for /drive/out, /in\n")
    assert lines[1] == "  waits for /drive/out: does not exist"
    assert lines[2:] == list(status_text.status_lines(STATUS))[1:]


def test_what_is_in_work_follows_the_first_line_with_how_far_it_is() -> None:
    four = tuple(Path(f"/in/{name}\n.jpg") for name in "abcd")
    batches = (Batch(four, "cloaking", 0.426), Batch((Path("/in/e.jpg"),), "checking", None))
    lines = list(status_text.status_lines(replace(STATUS, in_work=batches)))
    assert lines[1:3] == [
        r"  in work: a\n.jpg, b\n.jpg, c\n.jpg and 1 more (cloaking, 43%)",
        "  in work: e.jpg (checking)",
    ]
    assert [lines[0], *lines[3:]] == list(status_text.status_lines(STATUS))


def test_the_json_has_everything_and_no_raw_control_character() -> None:
    text = status_text.status_json(STATUS)
    assert text.replace("\n", "").isprintable()
    data = json.loads(text)
    assert data["users"][1]["held"][0]["path"] == str(HELD.path)
    assert (data["pid"], data["engine"]) == (7, "dlib on cpu")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (89, "89 s"), (91, "2 min"), (5300, "88 min"), (5500, "2 h"), (2e5, "2 days")],
)
def test_durations_are_rough(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_status_answers_before_anything_was_ever_done(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["status", "-c", str(config)]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first == "0 published today, 0 waiting, 0 held, engine: not running"
    assert run_command(["status", "-c", str(config), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["running"] is False


@pytest.mark.parametrize(
    ("held", "away", "code"),
    [((), (), 0), ((HELD,), (), 1), ((), ("the outbox /x\n does not exist",), 69), ((HELD,), ("x",), 69)],
)
def test_once_tells_held_photos_and_missing_folders_by_its_exit_code(
    held: tuple[HeldPhoto, ...],
    away: tuple[str, ...],
    code: int,
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def once(_settings: Settings, progress: Progress) -> OnceResult:
        progress.total(5)
        progress.advance()
        progress.advance(4)
        return OnceResult(published=5 - len(held), held=held, unavailable=away)

    monkeypatch.setattr(run, "once", once)
    assert run_command(["once", "-c", str(config)]) == code
    said = capsys.readouterr()
    assert said.out.startswith(f"{5 - len(held)} published, {len(held)} held\n")
    assert ("no face was found" in said.out) == bool(held)
    assert said.err == "".join(f"fawkesd: {printable(line)}\n" for line in away)


def test_once_ended_early_says_what_is_left(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "once", lambda *_settings: OnceResult(2, (), (), left=3))
    assert run_command(["once", "-c", str(config)]) == 0
    assert "ended early: 3 photos left for the next run\n" in capsys.readouterr().out


@pytest.mark.parametrize("code", [0, 75])
def test_run_ends_with_the_code_of_the_service(
    code: int, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "run", lambda _settings, _reread, page, level: code if page else level)
    assert run_command(["run", "-c", str(config)]) == code


@pytest.mark.parametrize("command", ["run", "once"])
@pytest.mark.parametrize(("extractors", "is_told"), [("[]", True), ("[dlib]", False)])
def test_who_has_fetched_no_recogniser_is_told_at_each_start(
    command: str,
    extractors: str,
    is_told: bool,
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("FAWKESD_MODELS", "/nonexistent")
    config.write_text(config.read_text().replace("[dlib]", extractors))
    monkeypatch.setattr(run, "run", lambda *_settings, page, level: 0)
    monkeypatch.setattr(run, "once", lambda *_settings: OnceResult(0, (), ()))
    assert run_command([command, "-c", str(config)]) == 0
    assert ("fawkesd models fetch" in capsys.readouterr().err) == is_told


def test_a_quiet_run_logs_only_what_needs_attention(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "run", lambda *_settings, page, level: level)
    assert run_command(["run", "--quiet", "-c", str(config)]) == logging.WARNING
    assert run_command(["run", "-c", str(config)]) == logging.INFO


def test_what_waits_for_a_person_is_coloured_on_a_terminal_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["3 published today, 1 held, engine: cpu", "ada: 0 published, 0 held", "  held: /1 held.jpg: why"]
    for is_terminal in (False, True):
        monkeypatch.setattr("sys.stdout.isatty", lambda value=is_terminal: value)
        for line in lines:
            echo_state(line)
    assert capsys.readouterr().out.splitlines() == [
        *lines,
        "\x1b[32m3 published today\x1b[0m, \x1b[33m1 held\x1b[0m, engine: cpu",
        "ada: 0 published, 0 held",
        "\x1b[33m  held\x1b[0m: /1 held.jpg: why",
    ]


def test_a_message_on_a_page_is_escaped_and_its_commands_are_code() -> None:
    assert as_html("see `fawkesd why` & <b>") == "see <code>fawkesd why</code> &amp; &lt;b&gt;"
    assert as_html("one ` alone") == "one ` alone"


@pytest.mark.parametrize(
    ("value", "digits", "sign", "text"),
    [
        (-0.001, 2, "+", "0.00"),
        (0.0, 2, "+", "0.00"),
        (-0.006, 2, "", "-0.01"),
        (0.4, 1, "+", "+0.4"),
    ],
)
def test_a_figure_that_is_zero_has_no_sign(value: float, digits: int, sign: str, text: str) -> None:
    assert figure(value, digits, sign) == text
