import json
import os
import re
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.cli.main import run_command
from daemon.config import extras, reference
from daemon.config.cross_checks import objection
from daemon.config.loader import load, parse
from daemon.config.settings import EngineConfig, Settings, default_state_dir
from daemon.config.validators import photo_folder
from daemon.errors import ConfigError
from daemon.exits import Exit
from daemon.fs.absence import absence
from fawkes_engine import MODES, EngineSettings

ROOT = Path(__file__).parents[1]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with the folders the reference configuration names."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    for name in ("outbox", "outbox2", "sync", "sync2"):
        (tmp_path / "Pictures" / name).mkdir(parents=True)
    (tmp_path / "file.txt").write_text("")
    return tmp_path


def faults(text: str, folder: Path) -> list[str]:
    """What is said about a configuration, line by line, without the file's name."""
    path = folder / "fawkesd.yaml"
    with pytest.raises(ConfigError) as caught:
        parse(text, path)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{path}:") for line in lines)
    return [line.removeprefix(f"{path}:") for line in lines]


GOOD = """\
users:
  - name: alice
    outboxes:
      - ~/Pictures/outbox
    sync: ~/Pictures/sync
"""
SECOND = """\
  - name: bob
    outboxes: [~/Pictures/outbox2]
    sync: ~/Pictures/sync2
"""


class Case(NamedTuple):
    text: str
    line: int
    says: str


WRONG = {
    "unknown key with a near one": Case(
        GOOD + "engin: {}\n", 6, "engin: is not a known key; did you mean engine?"
    ),
    "unknown key in a user": Case(
        GOOD + "    outbox: x\n", 6, "users[0].outbox: is not a known key; did you mean outboxes?"
    ),
    "unknown key in a group": Case(
        GOOD + "watch:\n  settle: 3\n", 7, "watch.settle: is not a known key; did you mean settle_s?"
    ),
    "unknown key like no other": Case(
        GOOD + "retry:\n  zzz: 3\n",
        7,
        "retry.zzz: is not a known key; known keys: first_s, longest_s, attempts",
    ),
    "key that is no text": Case(GOOD + "7: 3\n", 6, "7: is not text"),
    "wrong type": Case(
        GOOD + "watch:\n  settle_s: soon\n", 7, "watch.settle_s: must be a number, not 'soon'; write"
    ),
    "yes for a number": Case(GOOD + "engine:\n  threads: yes\n", 7, "engine.threads: must be a whole number"),
    "number in quotes": Case(GOOD + "watch:\n  poll_s: '0.01'\n", 7, "watch.poll_s: must be a number"),
    "no number": Case(GOOD + "watch:\n  poll_s: .nan\n", 7, "watch.poll_s: must be "),
    "too small": Case(
        GOOD + "engine:\n  jpeg_quality: 80\n",
        7,
        "engine.jpeg_quality: must be at least 90, not 80; choose a l",
    ),
    "too large": Case(
        GOOD + "hooks:\n  limit_s: 5000\n", 7, "hooks.limit_s: must be at most 3600.0, not 5000; choose a s"
    ),
    "nothing above zero": Case(GOOD + "watch:\n  rescan_s: 0\n", 7, "watch.rescan_s: must be more than 0"),
    "unknown device": Case(
        GOOD + "engine:\n  device: gpu\n", 7, "engine.device: 'gpu' is not a device; write auto"
    ),
    "too little of a graphics card": Case(
        GOOD + "engine:\n  max_gpu_memory_gib: 0.2\n", 7, "engine.max_gpu_memory_gib: must be at least 1"
    ),
    "quiet hours that are none": Case(
        GOOD + "engine:\n  quiet_hours: 23-7\n",
        7,
        "engine.quiet_hours: '23-7' is not a range of hours; write it",
    ),
    "quiet hours without an end": Case(
        GOOD + "engine:\n  quiet_hours: 07:00-07:00\n", 7, "engine.quiet_hours: '07:00-07:00' begins and ends"
    ),
    "ignore pattern that is a comment": Case(
        GOOD + "    ignore:\n    - raw/\n    - '#recycle/'\n",
        8,
        "users[0].ignore[1]: '#recycle/' is a comment in a .gitignore; begin it with \\#",
    ),
    "ignore pattern that matches nothing": Case(
        GOOD + "    ignore: [\n      ./private/]\n",
        7,
        "users[0].ignore[0]: './private/' matches nothing, since",
    ),
    "ignore pattern with an unknown class": Case(
        GOOD + "    ignore: ['[[:number:]].jpg']\n",
        6,
        "users[0].ignore[0]: '[[:number:]].jpg' has the unknown class [:number:]; git knows alnum, ",
    ),
    "number for never": Case(
        GOOD + "engine:\n  idle_unload_s: 0\n", 7, "engine.idle_unload_s: must be more than 0"
    ),
    "name that YAML takes for no": Case(
        GOOD.replace("alice", "no"), 2, "users[0].name: must be text, not false; "
    ),
    "name with a slash": Case(
        GOOD.replace("alice", "../a"), 2, "users[0].name: '../a' cannot be used; write"
    ),
    "name too long": Case(GOOD.replace("alice", "a" * 65), 2, "users[0].name: is longer than 64 characters"),
    "empty name": Case(GOOD.replace("alice", "''"), 2, "users[0].name: is empty"),
    "unknown mode": Case(GOOD + "engine:\n  mode: high\n", 7, "engine.mode: "),
    "waits the wrong way round": Case(
        GOOD + "retry:\n  longest_s: 1\n", 6, "retry: longest_s is below first_s"
    ),
    "group without keys": Case(GOOD + "watch:\n", 6, "watch: must be a group of keys"),
    "list that is none": Case("users: alice\n", 1, "users: must be a list, not 'alice'; write each entry"),
    "no users": Case("version: 1\n", 1, "users: is missing; add it"),
    "empty users": Case("users: []\n", 1, "users: is empty"),
    "empty file": Case(
        "", 1, "the file: must have keys, such as users: at the beginning of a line; `fawkesd init`"
    ),
    "entries without users": Case("- name: alice\n", 1, "the file: must have keys, such as users:"),
    "entry without a dash": Case(
        "users:\n  name: alice\n", 1, "users: must be a list; write a dash before the first key of each entry"
    ),
    "lone ~ for a folder": Case(
        GOOD.replace("~/Pictures/sync", "~"), 5, "users[0].sync: is empty (a lone ~, too); write the path"
    ),
    "nothing for a list": Case(
        GOOD.replace("\n      - ~/Pictures/outbox", ""), 3, "users[0].outboxes: is empty; write each entry"
    ),
    "folder with a colon": Case(
        GOOD.replace("~/Pictures/sync", "{Sync: me}"),
        5,
        "users[0].sync: must be the path of a folder, not keys",
    ),
    "yes for a choice": Case(
        GOOD + "    no_face: yes\n", 6, "users[0].no_face: must be 'hold' or 'publish', not true"
    ),
    "folder of Windows": Case(
        GOOD.replace("~/Pictures/sync", r"C:\Users\alice\sync"),
        5,
        r"users[0].sync: C:\Users\alice\sync is not a path on this machine; write the folder as it is here",
    ),
    "folder of Windows with slashes": Case(
        GOOD.replace("~/Pictures/sync", "D:/sync"), 5, "users[0].sync: D:/sync is not a path on this machine"
    ),
    "share of Windows": Case(
        GOOD.replace("~/Pictures/sync", r"\\nas\photos"),
        5,
        r"users[0].sync: \\nas\photos is not a path on this",
    ),
    "address of a share": Case(
        GOOD.replace("~/Pictures/sync", "smb://nas/photos"),
        5,
        "users[0].sync: smb:/nas/photos is not a path on",
    ),
    "variable in a folder": Case(
        GOOD.replace("~/Pictures/sync", "$HOME/sync"), 5, "users[0].sync: $HOME/sync is not a path on this"
    ),
    "curly quotes around a folder": Case(
        GOOD.replace("~/Pictures/sync", "“~/Pictures/sync”"),
        5,
        "users[0].sync: “~/Pictures/sync” has quotes in",
    ),
    "future version": Case("version: 2\n" + GOOD, 1, "version: must be 1, not 2"),
    "folder below a file": Case(
        GOOD.replace("Pictures/outbox", "file.txt/in"),
        4,
        "users[0].outboxes[0]: {home}/file.txt/in cannot be a folder (Not a directory)",
    ),
    "file for a folder": Case(
        GOOD.replace("Pictures/sync", "file.txt"), 5, "users[0].sync: {home}/file.txt is not a folder"
    ),
    "folder that is no text": Case(
        GOOD.replace("~/Pictures/sync", "3"), 5, "users[0].sync: must be the path of"
    ),
    "home of nobody": Case(
        GOOD.replace("~/Pictures/sync", "~nobody-here/x"), 5, "users[0].sync: ~nobody-here/x canno"
    ),
    "state that is a file": Case(
        GOOD + "state_dir: ~/file.txt\n", 6, "state_dir: {home}/file.txt is not a folder"
    ),
    "key twice": Case(
        GOOD + "    name: bob\n", 6, "users[0].name: is written twice (first on line 2); remove one"
    ),
    "user twice": Case(
        GOOD + SECOND.replace("bob", "Alice"), 6, "users[1].name: 'Alice' is also the name of users[0]"
    ),
    "group twice": Case(
        GOOD + GOOD.replace("alice", "bob"),
        6,
        "users: is written twice (first on line 1); put the entries of both below one of them",
    ),
    "tabs": Case(
        "users:\n\t- x\n",
        2,
        "is not valid YAML: found character '\\t' that cannot start any token; indent wi",
    ),
    "quote that is not closed": Case(
        GOOD.replace("alice", '"alice'),
        2,
        "is not valid YAML: found unexpected end of stream; close the quote",
    ),
    "backslash in double quotes": Case(
        GOOD.replace("~/Pictures/sync", '"C:\\Users"'),
        5,
        "is not valid YAML: expected escape sequence of 8 hexadec",
    ),
    "no space after a colon": Case(
        GOOD + "version:1\nengine: {}\n",
        6,
        "is not valid YAML: could not find expected ':'; write a colon and a",
    ),
    "key that is indented too far": Case(
        GOOD + "     faces: mine\n",
        6,
        "is not valid YAML: mapping values are not allowed here; begin keys of the",
    ),
    "key that is indented too little": Case(
        GOOD.replace("    sync", "  sync"),
        5,
        "is not valid YAML: expected <block end>, but found '?'; begin the keys",
    ),
    "# in brackets": Case(
        GOOD + "    ignore: [a #1]\n",
        7,
        "is not valid YAML: expected ',' or ']', but got '<stream end>'; close the br",
    ),
    "open bracket": Case("users: [\n", 2, "is not valid YAML"),
    "object of a language": Case("users: !!python/name:os.system x\n", 1, "is not valid YAML"),
    "date that does not exist": Case(GOOD + "version: 2026-99-99\n", 1, "is not valid YAML"),
    "control character": Case("version: 1\nusers: \x07\n", 2, "is not valid YAML"),
    "entry that holds itself": Case("users: &a [*a]\n", 1, "users[0]: must be a group of keys"),
    "outbox as sync": Case(
        GOOD.replace("/sync", "/outbox"),
        5,
        "users[0].sync: {home}/Pictures/outbox is the same folder as the outbox users[0].outboxes[0]",
    ),
    "sync around an outbox": Case(
        GOOD.replace("Pictures/sync", "Pictures"),
        5,
        "users[0].sync: {home}/Pictures contains the outbox users[0]",
    ),
    "sync inside an outbox": Case(
        GOOD.replace("Pictures/outbox", "Pictures"),
        5,
        "users[0].sync: {home}/Pictures/sync is inside the outbox users[0].outboxes[0] ({home}/Pictures)",
    ),
    "outbox of one user inside the sync folder of another": Case(
        GOOD.replace("/sync", "/sync2")
        + SECOND.replace("outbox2", "sync2/in").replace("/sync2\n", "/sync\n"),
        7,
        "users[1].outboxes[0]: {home}/Pictures/sync2/in is inside the sync folder users[0].sync",
    ),
    "one sync folder for two": Case(
        GOOD + SECOND.replace("sync2", "sync"),
        8,
        "users[1].sync: {home}/Pictures/sync is the same folder as the sync",
    ),
    "nested sync folders": Case(
        GOOD + SECOND.replace("sync2", "sync/deep"),
        8,
        "users[1].sync: {home}/Pictures/sync/deep is inside the sync",
    ),
    "outbox twice": Case(
        GOOD.replace("    sync", "      - ~/Pictures/../Pictures/outbox\n    sync"),
        5,
        "users[0].outboxes[1]: {home}/Pictures/outbox is the same folder as the outbox users[0].outboxes[0]",
    ),
    "outbox of two users": Case(
        GOOD + SECOND.replace("outbox2", "outbox"),
        7,
        "users[1].outboxes[0]: {home}/Pictures/outbox is the same folder",
    ),
    "staging in the sync folder": Case(
        GOOD + "    staging: ~/Pictures/sync/tmp\n",
        6,
        "users[0].staging: {home}/Pictures/sync/tmp is inside the sync",
    ),
    "outbox in the implied staging folder": Case(
        GOOD.replace("/outbox", "/.fawkesd-staging-sync/in"),
        2,
        "users[0].staging: {home}/Pictures/.fawkesd-staging-sync contains the outbox users[0].outboxes[0]",
    ),
    "models in the sync folder": Case(
        GOOD + "engine:\n  models_dir: ~/Pictures/sync/models\n",
        7,
        "engine.models_dir: {home}/Pictures/sync/models is inside the sync folder",
    ),
    "models that are the outbox": Case(
        GOOD + "engine:\n  models_dir: ~/Pictures/outbox\n",
        7,
        "engine.models_dir: {home}/Pictures/outbox is the same folder as the outbox",
    ),
    "state in the outbox": Case(
        GOOD + "state_dir: ~/Pictures/outbox/state\n",
        6,
        "state_dir: {home}/Pictures/outbox/state is inside the outbox",
    ),
    "state in the sync folder": Case(
        GOOD + "state_dir: ~/Pictures/sync\n",
        6,
        "state_dir: {home}/Pictures/sync is the same folder as the sync",
    ),
}


@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG.keys())
def test_a_fault_is_told_with_line_key_and_advice(case: Case, home: Path) -> None:
    for name in ("sync2/in", "sync/deep", ".fawkesd-staging-sync/in"):
        (home / "Pictures" / name).mkdir(parents=True)
    said = faults(case.text, home)
    assert len(said) == 1, said
    assert said[0].startswith(f"{case.line}: {case.says.replace('{home}', str(home))}"), said
    assert ";" in said[0]


def test_all_faults_are_told_at_once_in_the_order_of_the_file(home: Path) -> None:
    text = (
        GOOD.replace("Pictures/outbox\n", "file.txt\n").replace("alice", "''")
        + "engine:\n  threads: -1\n  treads: 1\n  threads: 2\n"
    )
    assert [line.split(":")[0] for line in faults(text, home)] == ["2", "4", "8", "9"]


def test_a_missing_folder_is_no_fault_of_the_configuration(home: Path) -> None:
    text = GOOD.replace("Pictures/", "drive/") + "    staging: ~/drive/staging\n"
    user = parse(text, home / "f.yaml").users[0]
    assert (user.outboxes, user.sync) == ((home / "drive/outbox",), home / "drive/sync")
    assert not (home / "drive").exists()


def test_a_folder_that_may_not_be_looked_at_now_is_no_fault_of_the_configuration(home: Path) -> None:
    """As on a server that does not answer, or a drive whose owner is logged out."""
    closed = home / "closed"
    (closed / "in").mkdir(parents=True)
    closed.chmod(0)
    owner = os.geteuid()
    os.seteuid(owner or 65534)  # root may look everywhere
    try:
        assert photo_folder(closed / "in") == closed / "in"
        assert absence(closed / "in") == "cannot be opened (Permission denied)"
    finally:
        os.seteuid(owner)
        closed.chmod(0o700)


def test_missing_folders_may_not_overlap_by_name(home: Path) -> None:
    said = faults(GOOD.replace("Pictures/outbox", "drive/photos").replace("Pictures", "drive/photos"), home)
    assert "is inside the outbox users[0].outboxes[0]" in said[0]


def test_an_overlap_that_shows_only_later_is_an_objection(home: Path) -> None:
    """A folder that appears may be one that is configured already, under another name."""
    settings = parse(GOOD.replace("Pictures/sync", "drive/sync"), home / "f.yaml")
    outbox, sync = settings.users[0].outboxes[0], settings.users[0].sync
    assert objection(settings, outbox) is objection(settings, sync) is None
    sync.parent.symlink_to(home / "Pictures")  # as a bind mount does
    sync.rmdir()
    sync.symlink_to(outbox)
    assert "is the same folder as the sync folder users[0].sync" in str(objection(settings, outbox))
    assert "is the same folder as the outbox users[0].outboxes[0]" in str(objection(settings, sync))


def test_links_do_not_hide_an_overlap(home: Path) -> None:
    (home / "link").symlink_to(home / "Pictures")
    said = faults(GOOD.replace("~/Pictures/sync", "~/link/outbox"), home)
    assert "is the same folder as the outbox" in said[0]


def test_a_circle_of_links_is_a_fault(home: Path) -> None:
    (home / "loop").symlink_to(home / "loop")
    assert "cannot be resolved" in faults(GOOD.replace("~/Pictures/sync", "~/loop"), home)[0]


def test_staging_and_models_may_lie_in_the_state_folder(home: Path) -> None:
    text = GOOD + "    staging: ~/state/staging\nstate_dir: ~/state\nengine: {models_dir: ~/state/models}\n"
    settings = parse(text, home / "f.yaml")
    assert settings.users[0].staging_dir == home / "state/staging"
    assert settings.engine.models_folder == settings.engine.to_engine().models_dir == home / "state/models"


def test_the_usual_folder_of_models_is_the_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAWKESD_MODELS", "/srv/models")
    assert EngineConfig().models_folder == Path("/srv/models")
    assert EngineConfig().to_engine().models_dir is None


def test_folders_are_stored_absolute_and_relative_ones_begin_at_the_file(home: Path) -> None:
    (home / "link").symlink_to(home / "Pictures")
    text = GOOD.replace("~/Pictures/sync", "link/sync")
    user = parse(text, home / "f.yaml").users[0]
    assert user.outboxes == (home / "Pictures/outbox",)
    assert user.sync == home / "Pictures/sync"
    assert user.staging_dir == home / "Pictures/.fawkesd-staging-sync"


def test_a_relative_file_name_is_resolved_before_its_folder_is_used(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    Path("f.yaml").write_text(GOOD.replace("~/", ""))
    assert load(Path("f.yaml")).users[0].sync == home / "Pictures/sync"


def test_a_missing_file_names_the_command_that_writes_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file; create one with `fawkesd init`"):
        load(tmp_path / "none.yaml")


def test_a_file_that_is_not_utf8_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(b"users: \xff")
    with pytest.raises(ConfigError, match=r"not UTF-8 text \(byte 7\)"):
        load(path)


def test_a_folder_for_a_file_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path)


def test_the_engine_gets_its_own_defaults() -> None:
    assert EngineConfig().to_engine() == EngineSettings()


def test_engine_settings_arrive(home: Path) -> None:
    text = (
        GOOD
        + "engine: {mode: strong, threads: 2, device: 'cuda:1', jpeg_quality: 97, max_gpu_memory_gib: 4}\n"
    )
    engine = parse(text, home / "f.yaml").engine.to_engine()
    strong = MODES["strong"]
    wanted = (strong.budget, strong.steps, strong.second_turns)
    assert (engine.budget, engine.steps, engine.second_turns) == wanted
    assert (engine.threads, engine.device, engine.jpeg_quality) == (2, "cuda:1", 97)
    assert engine.max_gpu_memory_gib == 4.0


@pytest.mark.parametrize(("value", "expected"), [("/s", "/s/fawkesd"), ("rel", None), ("", None)])
def test_the_state_folder_follows_xdg_and_ignores_a_relative_one(
    value: str, expected: str | None, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", value)
    assert default_state_dir() == Path(expected or home / ".local/state/fawkesd")


def test_each_device_has_an_engine() -> None:
    engines = EngineConfig(device="cuda:0,cuda:1,cpu").to_engines()
    assert [(engine.device, engine.threads) for engine in engines] == [
        ("cuda:0", 0),
        ("cuda:1", 0),
        ("cpu", 0),
    ]
    assert EngineConfig(device="cuda:0,cuda:1").to_engine().device == "cuda:0"


def test_an_engine_that_is_alone_has_all_cores() -> None:
    assert EngineConfig(device="cpu,cpu").to_engine() == EngineConfig(device="cpu").to_engine()


def test_engines_on_the_processor_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(5)))
    for device, threads, each in (("cpu", 0, [0]), ("cpu,cpu", 0, [2, 2]), ("cpu,cpu", 3, [3, 3])):
        engines = EngineConfig(device=device, threads=threads).to_engines()
        assert [engine.threads for engine in engines] == each


def test_a_cluster_is_beside_the_engines_of_this_machine() -> None:
    pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
    both = EngineConfig(device="cpu,cluster:tls://desktop.local:8786")
    assert [engine.device for engine in both.to_engines()] == ["cpu"]
    assert both.scheduler == "tls://desktop.local:8786"

    alone = EngineConfig(device="cluster:tls://[fd00::1]:8786")
    assert not alone.to_engines()
    assert alone.to_engine().device == "auto"  # for commands that cloak by themselves
    assert EngineConfig(device="cluster:tcp://127.0.0.1:8786").scheduler == "tcp://127.0.0.1:8786"


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("cluster:tcp://192.168.1.20:8786", "unencrypted; write tls://192.168.1.20:8786"),
        ("cluster:tls://192.168.1.20", "not the address of a scheduler"),
        ("cluster:192.168.1.20:8786", "not the address of a scheduler"),
        ("cluster:tls://desktop:0", "there is no port 0"),
        ("cluster:tls://a:1,cluster:tls://b:1", "names 2 clusters"),
    ],
)
def test_what_is_no_cluster(device: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EngineConfig(device=device)


def test_without_its_packages_there_is_no_cluster(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda _name: None)

    with pytest.raises(ValueError, match=re.escape("pip install 'fawkesd[cluster]'")):
        EngineConfig(device="cluster:tls://desktop:8786")
    for command in (["node", "--scheduler", "tls://desktop:8786"], ["cluster", "certs", "/nonexistent/keys"]):
        assert run_command(command) == Exit.CONFIG
        assert "pip install 'fawkesd[cluster]'" in capsys.readouterr().err


def test_a_scheduler_is_reached_only_encrypted(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
    for command in (["node", "--scheduler"], ["cluster", "scheduler", "--listen"]):
        assert run_command([*command, "tcp://192.168.1.20:8786"]) == Exit.CONFIG
        assert "write tls://192.168.1.20:8786" in capsys.readouterr().err


@pytest.mark.parametrize("device", ["", "cpu,", "cpu;cpu", "cpu, cpu", "cuda:x", "cuda:0,gpu"])
def test_what_is_no_device(device: str) -> None:
    with pytest.raises(ValueError, match="device"):
        EngineConfig(device=device)


def test_the_reference_file_has_every_key_at_its_default(home: Path) -> None:
    settings = load(ROOT / "config/fawkesd.yaml")
    minimal = parse(GOOD, home / "f.yaml")
    assert settings == minimal
    assert settings.model_fields_set == set(Settings.model_fields)
    assert settings.engine.model_fields_set == set(EngineConfig.model_fields)


def test_the_files_under_config_are_those_the_model_makes() -> None:
    # after a change: python -m daemon.config.reference > config/fawkesd.yaml
    #                 fawkesd check-config --schema > config/fawkesd.schema.json
    assert (ROOT / "config/fawkesd.yaml").read_text() == reference.render(reference.EXAMPLE)
    assert json.loads((ROOT / "config/fawkesd.schema.json").read_text()) == json.loads(reference.schema())


def test_every_key_is_described() -> None:
    def undescribed(node: object) -> list[object]:
        if not isinstance(node, dict):
            return []
        bare = [
            key
            for key, field in node.get("properties", {}).items()
            if not field.keys() & {"description", "$ref"}
        ]
        return bare + [key for child in node.values() for key in undescribed(child)]

    assert undescribed(json.loads(reference.schema())) == []


@given(text=st.text(alphabet="users:[]{}-&*!|>#'\"%@, \n\tab1.~\x00\x85é", max_size=60))
def test_any_text_is_settings_or_a_config_error(text: str) -> None:
    with pytest.raises(ConfigError):  # no such short text names two folders that exist
        parse(text, Path(os.devnull))
