"""`fawkesd doctor` on real folders, each with one thing wrong."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import CONFIG_NAME, DaemonProcess, Home
from faulty import FACTORY, NAMESPACE, Counter, limited, needs_bindfs, needs_namespace, needs_strace
from twins import any_target, make_photo

from daemon.cli.main import run_command
from daemon.doctor.examine import examine
from daemon.doctor.findings import Finding, Level
from daemon.doctor.folders import limits
from daemon.fs import noreplace
from daemon.fs.locks import DirectoryLock
from daemon.fs.mounts import kind_of
from daemon.publish.marker import MARKER_NAME
from daemon.service.run import once
from daemon.state.schema import LEDGER_NAME
from daemon.state.targets import FileTargetStore
from daemon.status.status import read
from daemon.status.status_text import status_lines
from daemon.timing import Timing
from daemon.workers import protocol
from fawkes_engine.weights import catalog

SHM = Path("/dev/shm")

QUICK = Timing(respawn_first_s=0.01)


@pytest.fixture(autouse=True)
def models_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one fetched model, whose content nobody reads here."""
    folder = tmp_path / "models"
    folder.mkdir()
    catalog.path("sface", folder).touch()
    monkeypatch.setenv("FAWKESD_MODELS", str(folder))
    return folder


def bad(home: Home, *, deep: bool = False, factory: str = FACTORY) -> list[Finding]:
    """The findings that are not fine."""
    found = examine(home.settings, home.write_config(), factory, deep=deep, timing=QUICK)
    return [finding for finding in found if finding.level is not Level.FINE]


def published(home: Home, *names: str) -> None:
    for seed, name in enumerate(names):
        (home.outbox / name).write_bytes(make_photo(seed=seed))
    once(home.settings, Counter(), FACTORY)
    assert home.published() == sorted(names)


def with_staging(home: Home, staging: Path) -> Home:
    (user,) = home.settings.users
    users = (user.model_copy(update={"staging": staging}),)
    return replace(home, settings=home.settings.model_copy(update={"users": users}))


def test_a_machine_where_all_is_well_has_no_finding_and_stays_as_it_was(home: Home) -> None:
    assert bad(home, deep=True) == []
    assert list(home.sync.iterdir()) == list(home.outbox.iterdir()) == []
    assert not home.state_dir.exists()
    published(home, "a.jpg")
    assert bad(home, deep=True) == []


def test_the_command_tells_all_as_text_and_as_json(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(protocol, "DEFAULT_FACTORY", FACTORY)
    config = str(home.write_config())

    assert run_command(["doctor", "-c", config]) == 0
    assert "ok       engine: is ready on abacus" in capsys.readouterr().out
    assert run_command(["doctor", "--json", "-c", config]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is True
    assert {"level", "subject", "message", "advice"} == set(found["findings"][0])


def test_a_fault_is_told_by_the_exit_code(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(protocol, "DEFAULT_FACTORY", FACTORY)
    published(home, "a.jpg")
    (home.sync / MARKER_NAME).unlink()

    assert run_command(["doctor", "-c", str(home.write_config())]) == 1
    assert "fault" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "another\n"])
def test_a_sync_folder_that_is_not_the_one_used_before_is_a_fault(home: Home, text: str) -> None:
    published(home, "a.jpg")
    (home.sync / MARKER_NAME).write_text(text)

    (finding,) = bad(home)

    assert (finding.level, finding.subject) == (Level.FAULT, str(home.sync))
    assert MARKER_NAME in finding.message


@pytest.mark.skipif(
    not SHM.is_dir() or SHM.stat().st_dev == Path("/tmp").stat().st_dev, reason="there is no second mount"
)
def test_a_staging_folder_on_another_mount_is_a_fault(home: Home) -> None:
    (finding,) = bad(with_staging(home, SHM / "nothing-of-this-name"))

    assert finding.level is Level.FAULT
    assert "from /dev/shm" in finding.message
    assert "not on the same mount" in finding.message
    assert "staging" in finding.advice


def refusing(number: int) -> Callable[..., None]:
    def call(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return call


def test_a_sync_folder_without_hard_links_is_told_with_the_way_that_is_used(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", refusing(errno.EPERM))
    found = examine(home.settings, home.write_config(), FACTORY, deep=False, timing=QUICK)

    told = [finding.message for finding in found if finding.subject == str(home.sync)]
    assert "photos are moved in by renaming: this file system has no hard links" in told
    assert list(home.sync.iterdir()) == []
    assert not (home.sync.parent / ".fawkesd-staging-sync").exists()


def test_a_sync_folder_with_no_way_in_is_a_fault_that_names_the_file_system(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", refusing(errno.EPERM))
    monkeypatch.setattr(noreplace, "rename", refusing(errno.EINVAL))

    (finding,) = bad(home)

    assert finding.level is Level.FAULT
    assert f"({kind_of(home.sync.stat().st_dev) or 'of an unknown kind'})" in finding.message
    assert "choose a sync folder on" in finding.advice


def test_a_staging_folder_that_another_service_uses_is_a_fault(home: Home, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    lock = DirectoryLock(tmp_path / "taken")

    (finding,) = bad(with_staging(home, tmp_path / "taken"))

    assert finding.message == f"is in use by another fawkesd, process {os.getpid()}"
    lock.release()


@pytest.mark.parametrize(
    ("mark", "ignore_file"),
    [(".stfolder", ".stignore"), (".sync_0f3a.db", ".sync-exclude.lst"), (".maestral.cache", ".mignore")],
)
def test_a_sync_tool_that_uploads_the_staging_folder_gets_its_line(
    home: Home, mark: str, ignore_file: str
) -> None:
    top = home.sync.parent
    (top / mark).touch()

    (finding,) = bad(home)

    line = f"/{home.settings.users[0].staging_dir.name}"
    assert f"add the line {line} to {top / ignore_file}" in finding.advice
    (top / ignore_file).write_text(f"{line}\n")
    assert bad(home) == []


def test_a_sync_tool_that_uploads_the_sync_folder_alone_is_fine(home: Home) -> None:
    (home.sync / ".stfolder").mkdir()

    assert bad(home) == []


def test_low_limits_of_the_kernel_get_their_sysctl_line(tmp_path: Path) -> None:
    (tmp_path / "max_user_watches").write_text("8192\n")
    (tmp_path / "max_queued_events").write_text("64\n")

    watches, queue = limits(5000, tmp_path, used_up=False)

    assert watches.advice.startswith("run `sudo sysctl -w fs.inotify.max_user_watches=16384`;")
    assert queue.advice.startswith("run `sudo sysctl -w fs.inotify.max_queued_events=16384`;")


def test_a_limit_that_others_have_used_up_is_told(tmp_path: Path) -> None:
    (tmp_path / "max_user_watches").write_text("8192\n")
    (tmp_path / "max_queued_events").write_text("16384\n")

    watches, queue = limits(5, tmp_path, used_up=True)

    assert (watches.level, queue.level) == (Level.WARNING, Level.FINE)
    assert "used up" in watches.message


FOLDERS = """
import sys
from daemon.config.settings import Settings
from daemon.doctor.findings import as_line
from daemon.doctor.folders import outboxes
from daemon.state.history import reading
settings = Settings.model_validate_json(sys.argv[1])
with reading(settings.state_dir) as history:
    for finding in outboxes(settings, history, None):
        print(as_line(finding))
"""


def folders_told(home: Home, under: Sequence[str]) -> str:
    """What is told of the outboxes where another command runs it."""
    return subprocess.run(
        [*under, sys.executable, "-c", FOLDERS, home.settings.model_dump_json()],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@needs_namespace
def test_a_user_without_inotify_instances_gets_the_sysctl_line(home: Home) -> None:
    told = folders_told(home, limited("instances", 0))

    assert f"ok       {home.outbox}: is on a local disk, but polled every 0.5 s" in told
    assert "warning  user.max_inotify_instances: is 0 and used up" in told
    assert "run `sudo sysctl -w user.max_inotify_instances=256`; to keep it," in told
    assert "at once" not in told


@needs_strace
def test_a_sandbox_without_inotify_is_told(home: Home) -> None:
    refusing = ("strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=inotify_init1:error=ENOSYS")

    told = folders_told(home, refusing)

    assert "warning  inotify: sends no change events: this system has no inotify" in told
    assert "the outboxes are polled every 0.5 s instead" in told


@needs_bindfs
@needs_namespace
def test_a_share_mounted_below_an_outbox_is_named(home: Home, tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    (home.outbox / "my share").mkdir()
    mounting = f"bindfs -f '{tmp_path}/server' '{home.outbox}/my share' & until mountpoint -q '{home.outbox}/my share';"
    mounting += ' do sleep 0.1; done; "$@"; kill $!'

    told = folders_told(home, (*NAMESPACE, "sh", "-c", mounting, "sh"))

    assert f"warning  {home.outbox}: holds {home.outbox}/my share, which is on fuse" in told
    assert "it is polled every 0.5 s instead" in told


def test_a_machine_without_a_fetched_model_is_told_how_to_get_one(home: Home, models_dir: Path) -> None:
    catalog.path("sface", models_dir).unlink()

    (finding,) = bad(home)

    assert (finding.level, finding.subject) == (Level.WARNING, str(models_dir))
    assert "`fawkesd models fetch`" in finding.advice


@pytest.mark.parametrize("name", [".", LEDGER_NAME, "targets", "targets/ada.json"])
def test_what_others_can_read_of_the_state_folder_is_told(home: Home, name: str) -> None:
    home.state_dir.mkdir(mode=0o700)
    FileTargetStore(home.settings.targets_dir).add("ada", any_target())
    published(home, "a.jpg")
    path = home.state_dir / name
    path.chmod(path.stat().st_mode | 0o004)

    (finding,) = bad(home)

    assert (finding.level, finding.subject) == (Level.WARNING, str(path))
    assert finding.advice.startswith(f"run `chmod -R go= '{home.state_dir}'`")


@pytest.mark.parametrize("which", ["file", "folder"])
def test_a_configuration_that_others_can_change_is_told(home: Home, which: str) -> None:
    config = home.write_config()
    path = config if which == "file" else config.parent
    path.chmod(0o777)

    (finding,) = bad(home)

    assert finding.advice == f"run `chmod o-w '{path}'`"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_is_not_told_to_take_the_configuration_of_the_account_away(home: Home) -> None:
    os.chown(home.write_config(), 4711, -1)

    found = examine(home.settings, home.state_dir.with_name(CONFIG_NAME), FACTORY, deep=False)

    assert not [finding for finding in found if "chown" in finding.advice]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_a_command_of_root_left_in_the_state_folder_of_an_account_is_told(home: Home) -> None:
    published(home, "a.jpg")
    os.chown(home.state_dir, 4711, -1)

    (finding, *_) = [one for one in bad(home) if one.level is Level.FAULT]

    assert "belongs to root, not to 4711 as the state folder does" in finding.message
    assert f"`sudo chown -R 4711 '{home.state_dir}'`" in finding.advice


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_weights_of_another_user_are_told(home: Home, tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    os.chown(tmp_path / "weights", 4711, -1)
    engine = home.settings.engine.model_copy(update={"models_dir": tmp_path / "weights"})
    home = replace(home, settings=home.settings.model_copy(update={"engine": engine}))

    told = [finding.message for finding in bad(home) if finding.subject == str(tmp_path / "weights")]

    assert "belongs to another user, who can change it" in told


def test_a_clock_behind_the_last_record_is_told(home: Home) -> None:
    published(home, "a.jpg")
    database = sqlite3.connect(home.state_dir / LEDGER_NAME)
    with database:
        database.execute("UPDATE photos SET updated = updated + 1000")
    database.close()

    (finding,) = bad(home)

    assert finding.subject == "clock"


def test_an_engine_that_cannot_be_started_is_a_fault(home: Home) -> None:
    (finding,) = bad(home, factory="twins:make_broken_engine")

    assert (finding.level, finding.subject) == (Level.FAULT, "engine")
    assert "the weights are missing" in finding.message


def test_the_engine_of_a_running_service_is_left_alone(
    home: Home, start: Callable[..., DaemonProcess], eventually: Callable[[Callable[[], object]], None]
) -> None:
    daemon = start(home.settings)
    eventually(lambda: "engine ready" in daemon.log)

    found = list(
        examine(home.settings, home.write_config(), "twins:make_broken_engine", deep=False, timing=QUICK)
    )

    assert found[0].message == f"is running as process {daemon.process.pid}"
    assert (found[-1].subject, found[-1].message) == ("engine", "is running on abacus")
    assert all(finding.level is Level.FINE for finding in found)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_in_an_outbox_that_cannot_be_read_is_told(home: Home) -> None:
    closed = home.outbox / "closed"
    closed.mkdir(mode=0)

    (finding,) = bad(home)

    assert (finding.level, finding.subject) == (Level.WARNING, str(closed))
    assert "Permission denied" in finding.message


def test_a_folder_named_by_a_symlink_is_told(home: Home) -> None:
    link = home.outbox.with_name("link")
    link.symlink_to(home.outbox)
    config = home.write_config()
    config.write_text(config.read_text().replace(f'"{home.outbox}"', '"link"'))

    found = list(examine(home.settings, config, FACTORY, deep=False, timing=QUICK))

    assert f"{link}: resolves to {home.outbox}" in [
        f"{one.subject}: {one.message}".split(",")[0] for one in found
    ]


def test_deep_finds_an_uncloaked_original_under_any_name(home: Home) -> None:
    published(home, "a.jpg", "b.jpg")
    (home.sync / "a.jpg").write_bytes((home.outbox / "a.jpg").read_bytes())
    (home.sync / "trip").mkdir()
    (home.sync / "trip" / "c.jpg").write_bytes((home.outbox / "b.jpg").read_bytes())

    (finding,) = bad(home, deep=True)

    assert finding.level is Level.FAULT
    assert finding.message == "2 file(s) are uncloaked originals: a.jpg, trip/c.jpg"
    assert bad(home) == []


def test_deep_tells_changed_foreign_and_removed_files_apart(home: Home) -> None:
    published(home, "a.jpg", "b.jpg", "c.jpg")
    (home.sync / "a.jpg").write_bytes(b"edited")
    (home.sync / "b.jpg").unlink()
    for number in range(7):
        (home.sync / f"z{number}.jpg").write_bytes(b"theirs")

    changed, foreign = bad(home, deep=True)

    assert changed.message == "1 file(s) changed after they were published: a.jpg"
    assert foreign.message == (
        "7 file(s) did not come from fawkesd: z0.jpg, z1.jpg, z2.jpg, z3.jpg, z4.jpg, ..."
    )
    last = [
        one.message for one in examine(home.settings, home.write_config(), FACTORY, deep=True, timing=QUICK)
    ]
    assert "2 published, 1 deleted by their owner" in last


def test_deep_finds_a_damaged_ledger(home: Home) -> None:
    published(home, "a.jpg")
    database = sqlite3.connect(home.state_dir / LEDGER_NAME)
    with database:
        database.execute("PRAGMA writable_schema = ON")
        other = "CREATE INDEX photos_by_state ON photos (size, user, mtime_ns)"
        database.execute("UPDATE sqlite_schema SET sql = ? WHERE name = 'photos_by_state'", (other,))
    database.close()

    (finding,) = bad(home, deep=True)

    assert (finding.level, finding.subject) == (Level.FAULT, "ledger")
    assert "from a backup" in finding.advice


def test_symbolic_links_in_an_outbox_are_counted(home: Home, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.jpg").write_bytes(make_photo())
    (home.outbox / "2022").symlink_to(tmp_path / "elsewhere")
    (home.outbox / "notes.txt").symlink_to("/etc/hostname")

    (finding,) = bad(home)

    assert (finding.level, finding.subject) == (Level.WARNING, str(home.outbox))
    assert finding.message.startswith("has a symbolic link 2022, which is not followed")
    (home.outbox / "s2.jpg").symlink_to(tmp_path / "elsewhere" / "a.jpg")
    (finding,) = bad(home)
    assert finding.message.startswith("has 2 symbolic links, the first 2022, which")


def test_videos_are_counted_in_doctor_and_status(home: Home) -> None:
    for name in ("VID_1.mp4", "trip/IMG_2.MOV", ".thumbnails/VID_3.mp4"):
        (home.outbox / name).parent.mkdir(exist_ok=True)
        (home.outbox / name).write_bytes(b"video")
    once(home.settings, Counter(), FACTORY)
    found = examine(home.settings, home.write_config(), FACTORY, deep=False, timing=QUICK)
    (words,) = [one.message for one in found if "not protected" in one.message]
    assert words.startswith("has 2 videos not protected, never published: ")
    assert {"VID_1.mp4", "trip/IMG_2.MOV"} == set(words.partition(": ")[2].split(", "))
    (line,) = [line for line in status_lines(read(home.settings)) if "not protected" in line]
    assert line == f"  in {home.outbox}, {words.removeprefix('has ')}"


def test_photos_ignored_by_name_are_told_and_are_no_fault(home: Home) -> None:
    ignoring = home.ignoring("raw/")
    (home.outbox / "raw").mkdir()
    (home.outbox / "raw" / "a.jpg").write_bytes(make_photo())

    found = list(examine(ignoring.settings, ignoring.write_config(), FACTORY, deep=False, timing=QUICK))

    assert "has 1 photo ignored by name: raw/ (pattern raw/, users[0].ignore[0])" in [
        one.message for one in found if one.level is Level.FINE
    ]
    assert bad(ignoring) == []
