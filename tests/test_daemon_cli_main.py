import errno
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import WITHIN_S

from daemon import exits
from daemon.batch import cloak
from daemon.cli.help import GROUPS
from daemon.cli.main import run_command
from daemon.config import loader
from daemon.errors import AlreadyRunning, DaemonError, OutputError
from daemon.fs import atomic
from fawkes_engine import EngineError, WeightsError

ROOT = Path(__file__).parents[1]
COMMANDS = [
    *("init", "check-config", "run", "once", "status", "cloak", "preview"),
    *("why", "history", "held", "retry", "redo", "pause", "resume", "reload", "doctor", "evaluate", "bench"),
    *("sybil", "audit", "notify"),
]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    for name in ("in", "sync"):
        (tmp_path / name).mkdir()
    path = tmp_path / "fawkesd.yaml"
    path.write_text("state_dir: state\nusers: [{name: alice, outboxes: [in], sync: sync}]\n")
    return path


def fawkesd(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "daemon", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )


def test_the_installed_command_reports_a_config_error_in_one_line_with_78(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_text("user: []\n")
    done = fawkesd("check-config", "--config", str(path))
    assert done.returncode == 78
    assert f"{path}:1: user: is not a known key; did you mean users?" in done.stderr
    assert "Traceback" not in done.stderr


HEAVY = {"torch", "numpy", "PIL", "watchdog", "onnx", "rich", "jpeglib", "asyncio", "ssl"}
READS_A_CONFIGURATION = {"pydantic", "yaml", "sqlite3"}
OF_OTHER_COMMANDS = {"daemon.state.ledger", "daemon.fs.atomic", "daemon.status.prometheus"}


def loaded_by(*arguments: str) -> set[str]:
    """The modules that a command has imported when it is done, and the files whose source text was read."""
    code = "import linecache, sys; from daemon.cli.main import run_command; sys.stdout = sys.stderr"
    code += f"; code = run_command({arguments}); print(*sys.modules, *linecache.cache, file=sys.__stdout__)"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; sys.exit(code)"],
        cwd=ROOT,
        timeout=WITHIN_S,
        check=True,
        capture_output=True,
        text=True,
    )
    return set(done.stdout.split())


def test_help_starts_without_heavy_modules() -> None:
    loaded = loaded_by("--help")
    assert "daemon.cli.models" in loaded
    assert not (HEAVY | READS_A_CONFIGURATION | {"daemon.config.settings"}) & loaded


def test_status_starts_without_heavy_modules(tmp_path: Path) -> None:
    path = tmp_path / "fawkesd.yaml"
    for name in ("outbox", "sync"):
        (tmp_path / name).mkdir()
    path.write_text("users: [{name: alice, outboxes: [outbox], sync: sync}]\nstate_dir: state\n")
    loaded = loaded_by("status", "--config", str(path))
    assert "daemon.status.status" in loaded
    assert not (HEAVY | OF_OTHER_COMMANDS | {"ctypes", "logging"}) & loaded
    assert not [name for name in loaded if name.endswith("settings.py")]  # to find docstrings, 0.05 s


def test_a_foreign_package_of_our_name_is_told(tmp_path: Path) -> None:
    # python-daemon installed over ours: its __init__ wins, our modules stay beside it
    shutil.copytree(ROOT / "daemon", tmp_path / "daemon", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "daemon" / "__init__.py").write_text("class DaemonContext: pass\n")
    done = fawkesd("--version", cwd=tmp_path)
    assert done.returncode == 78
    assert "python-daemon" in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_answers_help_with_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command([command, "--help"]) == 0
    said = capsys.readouterr().out
    assert "--config" in said
    assert f"Examples:\n    fawkesd {command}" in said


def test_help_shows_every_command_in_one_group(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["--help"]) == 0
    said = capsys.readouterr().out
    named = [name for names in GROUPS.values() for name in names.split()]

    assert len(named) == len(set(named))
    assert re.findall(r"^  ([a-z][a-z-]*)  +[A-Z]", said, re.MULTILINE) == named
    assert "Others:" not in said
    assert (
        said.index("Every day:")
        < said.index("  status ")
        < said.index("Is it enough?:")
        < said.index("  bench ")
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_no_type_of_the_program(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command([command, "--help"]) == 0
    said = capsys.readouterr().out

    assert not re.search(r"<(path|str|int|float|list)\b|\.\.\.\.|\]\.\.\.\]", said)
    assert "...}..." not in said


@pytest.mark.parametrize("command", ["held", "history", "people"])
def test_an_empty_answer_is_said_and_prints_nothing(
    config: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command([command, "-c", str(config)]) == 0
    said = capsys.readouterr()

    assert said.out == ""
    assert said.err.endswith(".\n")


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["--version"]) == 0
    assert capsys.readouterr().out.startswith("fawkesd ")


@pytest.mark.parametrize("arguments", [["--wrong"], ["fly"], ["cloak"], ["status", "extra"], []])
def test_a_wrong_command_line_exits_64(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(arguments) == 64
    assert "Usage" in "".join(capsys.readouterr())


def test_a_right_configuration_is_confirmed(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["check-config", "-c", str(config)]) == 0
    assert "alice" in capsys.readouterr().out


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_root_is_warned_of_the_configuration_of_somebody_else(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.chown(config, 1, 1)
    assert run_command(["check-config", "-c", str(config)]) == 0
    assert "belongs to daemon, but this is run by root" in capsys.readouterr().err


def test_the_schema_is_printed_without_a_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["check-config", "--schema"]) == 0
    assert capsys.readouterr().out == (ROOT / "config/fawkesd.schema.json").read_text()


@pytest.mark.parametrize("command", ["check-config", "run", "once", "status"])
def test_the_default_configuration_is_looked_for_in_the_xdg_folder(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert run_command([command]) == 78
    assert f"{tmp_path}/fawkesd/fawkesd.yaml: no such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (AlreadyRunning(Path("/state"), 7), exits.Exit.TEMP_FAIL),
        (WeightsError("no weights"), exits.Exit.CONFIG),
        (EngineError("broken"), exits.Exit.INTERNAL),
        (DaemonError("broken"), exits.Exit.INTERNAL),
    ],
)
def test_an_error_on_purpose_is_one_line_and_its_code(
    error: DaemonError | EngineError,
    code: exits.Exit,
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert _cloak_ending_with(error, config, monkeypatch) == code
    assert capsys.readouterr().err == f"fawkesd: {error}\n"


def test_a_message_cannot_steer_the_terminal(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(config.read_text().replace("[in]", '["in\\e[2J"]'))
    assert run_command(["check-config", "-c", str(config)]) == 0
    assert r"in\x1b[2J does not exist" in capsys.readouterr().err


def test_an_unexpected_error_keeps_its_traceback_and_exits_70(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _cloak_ending_with(RuntimeError("surprise"), config, monkeypatch) == 70
    assert "Traceback" in capsys.readouterr().err


def _cloak_ending_with(error: Exception, config: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(cloak, "load_engine", fail)
    target = config.with_name("a.jpg")
    target.write_bytes(b"photo")
    where = ["-c", str(config), "--user", "alice", "--out", str(config.with_name("out"))]
    return run_command(["cloak", str(target), *where])


def _read_all(terminal: int) -> None:
    while os.read(terminal, 4096):
        pass


def test_init_asks_on_a_terminal_and_offers_to_make_the_folders(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    typed = f"alice\n{tmp_path}/a\n{tmp_path}/s\ny\ny\n"
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "daemon", "init", "-c", str(path)],
        cwd=ROOT,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    os.write(ours, typed.encode())
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):  # Linux's way to say the terminal was closed
        _read_all(ours)
    os.close(ours)
    assert process.wait(timeout=WITHIN_S) == 0
    assert loader.load(path).users[0].sync == tmp_path / "s"


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        atomic.write(tmp_path / "a", b"1", replace=True)
    assert list(tmp_path.iterdir()) == []
