import io
import stat
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daemon.cli import wizard
from daemon.cli.main import run_command
from daemon.cli.wizard import Answers
from daemon.config.loader import load
from daemon.config.settings import Settings
from daemon.errors import ConfigError, OutputError
from daemon.exits import Exit
from daemon.fs import absence


@pytest.fixture
def answers(tmp_path: Path) -> Answers:
    return Answers("alice", (tmp_path / "in",), tmp_path / "out")


def test_what_is_written_can_be_loaded_and_says_what_was_answered(tmp_path: Path, answers: Answers) -> None:
    path = tmp_path / "conf" / "fawkesd.yaml"
    wizard.create_folders(answers)
    wizard.write(path, answers, force=False)
    user = load(path).users[0]
    assert (user.name, user.outboxes, user.sync) == ("alice", (tmp_path / "in",), tmp_path / "out")


def test_only_the_owner_can_read_the_file_and_nothing_else_is_left(tmp_path: Path, answers: Answers) -> None:
    path = tmp_path / "conf" / "fawkesd.yaml"
    wizard.create_folders(answers)
    wizard.write(path, answers, force=False)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_every_key_is_written_with_a_comment(tmp_path: Path, answers: Answers) -> None:
    path = tmp_path / "fawkesd.yaml"
    wizard.create_folders(answers)
    wizard.write(path, answers, force=False)
    lines = path.read_text().splitlines()
    assert set(yaml.safe_load(path.read_text())) == set(Settings.model_fields)
    keys = [n for n, line in enumerate(lines) if ":" in line and "#" not in line]
    assert all("#" in lines[n - 1] for n in keys)


def test_answers_that_make_no_right_configuration_leave_no_file(tmp_path: Path, answers: Answers) -> None:
    path = tmp_path / "conf" / "fawkesd.yaml"
    (tmp_path / "in").touch()
    with pytest.raises(ConfigError, match="is not a folder"):
        wizard.write(path, answers, force=False)
    assert not path.parent.exists()


def test_an_existing_file_is_replaced_only_by_force(tmp_path: Path, answers: Answers) -> None:
    path = tmp_path / "fawkesd.yaml"
    path.write_text("mine")
    wizard.create_folders(answers)
    with pytest.raises(OutputError, match="exists already"):
        wizard.write(path, answers, force=False)
    assert path.read_text() == "mine"
    wizard.write(path, answers, force=True)
    assert load(path).users[0].name == "alice"


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be created"):
        wizard.create_folders(Answers("alice", (tmp_path / "file" / "in",), tmp_path / "out"))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(name=st.text(st.characters(exclude_characters="/\0", exclude_categories=()), min_size=1, max_size=20))
def test_any_folder_name_survives_the_round_trip(name: str, tmp_path: Path) -> None:
    try:
        folder = tmp_path / "x" / name / "in"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, UnicodeEncodeError):
        return  # no name on this file system
    path = tmp_path / "fawkesd.yaml"
    sync = tmp_path / "sync"
    sync.mkdir(exist_ok=True)
    wizard.write(path, Answers("alice", (folder,), sync), force=True)
    assert load(path).users[0].outboxes == (folder.resolve(),)


def test_flags_alone_write_a_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, first, second = tmp_path / "f.yaml", tmp_path / "a", tmp_path / "b"
    where = ["--outbox", str(first), "--outbox", str(second), "--sync", str(tmp_path / "s")]
    assert run_command(["init", "-c", str(path), "--user", "alice", *where, "--create"]) == 0
    assert load(path).users[0].outboxes == (first, second)
    said = capsys.readouterr()
    assert "fawkesd once" in said.out
    assert "`fawkesd models fetch`" in said.err  # tests see no models


def test_flags_without_create_do_not_make_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "outbox").mkdir()
    where = ["--outbox", str(tmp_path / "outbix"), "--sync", str(tmp_path / "s")]
    assert run_command(["init", "-c", str(tmp_path / "f.yaml"), "--user", "alice", *where]) == 0
    assert capsys.readouterr().err.splitlines() == [
        f"warning: users[0].outboxes[0]: {tmp_path}/outbix does not exist; did you mean {tmp_path}/outbox? "
        "Or mount its drive or create it",
        f"warning: users[0].sync: {tmp_path}/s does not exist; mount its drive or create it",
        "warning: `fawkesd init --force --create` with the same options creates them",
        "warning: cloaks are computed against one face recogniser alone and protect much less; fetch more with "
        "`fawkesd models fetch`",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f.yaml", "outbox"]


def test_without_a_terminal_what_is_missing_is_to_be_given_as_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for stdin in (io.StringIO("alice\n"), None):  # a pipe, and closed
        monkeypatch.setattr("sys.stdin", stdin)
        assert run_command(["init", "-c", str(tmp_path / "f.yaml")]) == Exit.USAGE
        assert "give --user, --outbox and --sync" in capsys.readouterr().err
        assert not list(tmp_path.iterdir())


def test_a_name_that_only_looks_the_same_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    decomposed = tmp_path / "Bilder gro\u0308ßer"
    decomposed.mkdir()
    where = ["--outbox", str(tmp_path / "Bilder gr\u00f6ßer"), "--sync", str(tmp_path / "sync")]
    assert run_command(["init", "-c", str(tmp_path / "f.yaml"), "--user", "alice", *where]) == 0
    assert f"did you mean {decomposed}? Its case differs, or its umlauts are as" in capsys.readouterr().err


def test_the_mount_point_of_a_drive_that_is_away_is_not_filled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "fstab").write_text(f"/dev/sdb1 {tmp_path}/drive ext4 nofail 0 2\n")
    monkeypatch.setattr(absence, "_FSTAB", tmp_path / "fstab")
    (tmp_path / "drive").mkdir()
    where = ["--outbox", str(tmp_path / "a"), "--sync", str(tmp_path / "drive" / "sync")]
    assert run_command(["init", "-c", str(tmp_path / "f.yaml"), "--user", "alice", *where, "--create"]) == 0
    assert f"drive is not mounted; mount {tmp_path}/drive" in capsys.readouterr().err
    assert (tmp_path / "a").is_dir()
    assert list((tmp_path / "drive").iterdir()) == []


def test_an_answer_that_cannot_be_used_is_asked_again_before_any_folder_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    (tmp_path / "file").touch()
    names = ["Zoë", "alice"]
    folders = [r"C:\Users\alice", "~/file", "~/in", "~/in/sync", "~", "~/sync", "~/in", "~/sync"]
    typed = "\n".join([*names, *folders, "y", "y", ""])
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    assert run_command(["init", "-c", str(tmp_path / "f.yaml")]) == 0
    user = load(tmp_path / "f.yaml").users[0]
    assert (user.name, user.outboxes, user.sync) == ("alice", (tmp_path / "in",), tmp_path / "sync")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f.yaml", "file", "in", "sync"]
    said = capsys.readouterr()
    problems = [
        "'Zoë' cannot be used",
        "is not a path on this machine",
        "is not a folder",
        "is inside the outbox",
        "/state/fawkesd is inside the outbox",
    ]
    places = [(said.out + said.err).index(problem) for problem in problems]
    assert len(set(places)) == len(problems)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--user", "Zoë"], "'Zoë' cannot be used; write letters"),
        (["--user", "alice", "--outbox", r"D:\in"], "is not a path on this machine"),
        (["--user", "alice", "--outbox", "in", "--sync", "in/sync"], "is inside the outbox"),
    ],
)
def test_an_option_that_cannot_be_used_is_told_before_any_folder_is_made(
    options: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert run_command(["init", "-c", str(tmp_path / "f.yaml"), *options, "--create"]) == 78
    assert says in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_an_existing_file_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text("mine")
    assert run_command(["init", "-c", str(tmp_path / "f.yaml")]) == 73
    assert (tmp_path / "f.yaml").read_text() == "mine"
