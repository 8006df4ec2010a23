"""What `service install` refuses, on real folders, mounts and rights."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Home

from daemon.config.settings import Settings, UserSettings
from daemon.errors import ServiceError
from daemon.fs import absence
from daemon.install import installer, preflight
from daemon.install.installer import _make_folders, install
from daemon.install.preflight import objections
from daemon.install.units import Program, Scope, Service
from fawkes_engine.weights import catalog

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def service(home: Home, scope: Scope = Scope.SYSTEM, *, name: str = "daemon") -> Service:
    return Service(home.settings, home.write_config(), pwd.getpwnam(name), scope, once=False)


def told(one: Service) -> str:
    return "\n".join(objections(one))


@pytest.fixture
def open_home(home: Home) -> Iterator[Home]:
    """A home whose folders anybody may enter, since pytest's are private to root."""
    home.settings.state_dir.mkdir()
    folders = [
        home.outbox,
        home.sync,
        home.state_dir,
        *[p for p in home.outbox.parents if p.owner() == "root"],
    ]
    private = [folder for folder in folders if folder.stat().st_mode & 0o005 != 0o005]
    modes = {folder: folder.stat().st_mode for folder in private}
    for folder in private:
        folder.chmod(0o755)
    yield home
    for folder, mode in modes.items():
        folder.chmod(mode)


@needs_root
def test_rights_that_are_missing_are_named_with_the_folder(open_home: Home) -> None:
    open_home.outbox.chmod(0o700)

    said = told(service(open_home))

    assert f"daemon cannot read {open_home.outbox}" in said
    assert f"daemon cannot write to {open_home.sync}" in said


@needs_root
def test_a_python_that_the_service_may_not_read_is_to_be_installed_elsewhere(
    open_home: Home,
) -> None:
    closed = open_home.outbox.parent / "home of root"
    closed.mkdir(mode=0o700)

    said = told(replace(service(open_home), program=Program(Path(sys.executable), (closed,))))

    assert (
        f"daemon cannot use the Python in {closed}; install fawkesd, and the Python that it runs in" in said
    )


@needs_root
def test_a_model_that_the_service_may_not_read_is_named(open_home: Home) -> None:
    folder = open_home.outbox.parent / "models"
    folder.mkdir()
    file = catalog.path("sface", folder)
    file.touch(mode=0o600)
    engine = open_home.settings.engine.model_copy(update={"models_dir": folder})
    settings = open_home.settings.model_copy(update={"engine": engine})

    assert f"daemon cannot read {file}" in told(service(replace(open_home, settings=settings)))
    file.chmod(0o644)
    assert str(file) not in told(service(replace(open_home, settings=settings)))


@needs_root
def test_install_makes_the_folders_that_the_sandbox_opens(home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "share" / "models"
    engine = home.settings.engine.model_copy(update={"models_dir": folder})
    settings = home.settings.model_copy(update={"engine": engine})

    _make_folders(service(replace(home, settings=settings)))

    owned = [home.state_dir, folder, folder.parent]
    assert {path.owner() for path in owned} == {"daemon"}
    assert tmp_path.owner() == "root"


@needs_root
def test_a_state_folder_to_be_made_where_the_account_may_not_enter_is_named_with_its_key(
    open_home: Home,
) -> None:
    closed = open_home.outbox.parent / "home of root"
    closed.mkdir(mode=0o700)
    one = service(open_home)
    settings = one.settings.model_copy(update={"state_dir": closed / "state" / "fawkesd"})

    said = told(replace(one, settings=settings))

    assert f"daemon cannot enter {closed}" in said
    assert "set `state_dir` to a folder of that account" in said


@pytest.fixture
def installed_by(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Service], list[tuple[str, ...]]]:
    """Installs a service into folders of the test; the calls of systemctl, which are not made."""
    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr(installer, "_SYSTEM_UNITS", tmp_path / "etc" / "system")
    monkeypatch.setattr(installer, "_CATALOGS", tmp_path / "lib" / "catalog")
    monkeypatch.setattr(installer, "_BOOTED", tmp_path)
    monkeypatch.setattr(installer, "systemctl", lambda _scope, *words: calls.append(words))
    monkeypatch.setattr(installer, "_run_quietly", lambda _command: None)
    monkeypatch.setattr(preflight, "objections", lambda _service: iter(()))

    def run(one: Service) -> list[tuple[str, ...]]:
        install(one, enable=True)
        return calls

    return run


@needs_root
def test_installed_files_can_be_read_by_all_whatever_the_umask(
    home: Home, tmp_path: Path, installed_by: Callable[[Service], list[tuple[str, ...]]]
) -> None:
    umask = os.umask(0o077)
    try:
        installed_by(service(home))
    finally:
        os.umask(umask)

    made = {
        path.name: path.stat().st_mode & 0o777
        for top in ("etc", "lib")
        for path in (tmp_path / top).rglob("*")
    }
    assert made == {"system": 0o755, "fawkesd.service": 0o644, "catalog": 0o755, "fawkesd.catalog": 0o644}
    assert home.state_dir.stat().st_mode & 0o777 == 0o700


@needs_root
def test_where_systemd_does_not_run_nothing_is_written(
    home: Home,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    installed_by: Callable[[Service], list[tuple[str, ...]]],
) -> None:
    monkeypatch.setattr(installer, "_BOOTED", tmp_path / "run" / "systemd")

    with pytest.raises(ServiceError, match="this machine does not run systemd"):
        installed_by(service(home))

    assert not (tmp_path / "etc").exists()


@needs_root
def test_installing_again_restarts_what_runs(
    home: Home, installed_by: Callable[[Service], list[tuple[str, ...]]]
) -> None:
    installed_by(service(home))
    calls = installed_by(service(home))

    assert calls[-2:] == [("stop", "fawkesd.service"), ("start", "fawkesd.service")]


@needs_root
def test_the_service_of_another_configuration_is_not_replaced(
    home: Home, tmp_path: Path, installed_by: Callable[[Service], list[tuple[str, ...]]]
) -> None:
    one = service(home)
    installed_by(one)
    unit = tmp_path / "etc" / "system" / "fawkesd.service"
    before = unit.read_text()

    with pytest.raises(ServiceError, match="is installed with another configuration"):
        installed_by(replace(one, config=one.config.with_name("bob.yaml")))

    assert unit.read_text() == before


@needs_root
def test_a_user_with_every_right_is_not_complained_about(open_home: Home) -> None:
    account = pwd.getpwnam("daemon")
    for folder in (open_home.sync, open_home.state_dir, open_home.sync.parent):
        os.chown(folder, account.pw_uid, account.pw_gid)

    assert not [
        line for line in told(service(open_home)).splitlines() if "Python" not in line and "run" not in line
    ]


@needs_root
def test_a_service_of_root_is_refused(home: Home) -> None:
    assert "the service would run as root" in told(service(home, name="root"))
    assert "root cannot install a user service" in told(service(home, Scope.USER))


@needs_root
def test_staging_on_another_mount_of_the_same_disk_is_refused(home: Home, tmp_path: Path) -> None:
    other = tmp_path / "bound"
    other.mkdir()
    subprocess.run(["mount", "--bind", tmp_path, other], check=True)
    try:
        (user,) = home.settings.users
        moved = user.model_copy(update={"staging": other / "staging"})
        settings = home.settings.model_copy(update={"users": (moved,)})
        said = "\n".join(
            objections(Service(settings, home.write_config(), pwd.getpwnam("daemon"), Scope.SYSTEM, False))
        )
    finally:
        subprocess.run(["umount", other], check=True)

    assert "are on different mounts" in said


def test_a_common_folder_that_is_a_whole_home_is_refused(tmp_path: Path) -> None:
    account = pwd.struct_passwd(("ada", "x", os.getuid(), os.getgid(), "", str(tmp_path), "/bin/sh"))
    for name in ("outbox", "sync"):
        (tmp_path / name).mkdir()
    user = UserSettings(name="ada", outboxes=(tmp_path / "outbox",), sync=tmp_path / "sync")
    settings = Settings(state_dir=tmp_path / "state", users=(user,))

    said = told(Service(settings, tmp_path / "fawkesd.yaml", account, Scope.SYSTEM, once=False))

    assert "all of which would become writable" in said


def test_a_place_of_fstab_that_is_not_mounted_is_refused(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = str(home.outbox).replace(" ", "\\040")
    (tmp_path / "fstab").write_text(
        f"# /dev/sda1 / ext4\nUUID=1 {place} ext4 defaults 0 2\nUUID=2 none swap sw 0 0\n"
    )
    monkeypatch.setattr(absence, "_FSTAB", tmp_path / "fstab")

    assert f"{home.outbox} is on {home.outbox}, which is in /etc/fstab but not mounted" in told(service(home))


def test_folders_that_are_missing_are_named_since_their_rights_cannot_be_judged(home: Home) -> None:
    home.outbox.rmdir()
    home.sync.rmdir()

    said = told(service(home))

    for folder in (home.outbox, home.sync):
        assert f"{folder} does not exist; mount its drive or create it" in said
    assert "cannot read" not in said


def test_a_refused_install_writes_nothing_and_tells_every_reason(home: Home, tmp_path: Path) -> None:
    scope = Scope.USER if os.geteuid() == 0 else Scope.SYSTEM

    with pytest.raises(ServiceError, match="would not work"):
        install(service(home, scope), enable=True)

    assert not home.state_dir.exists()


def test_without_systemd_the_command_says_so(home: Home, tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    units = tmp_path / "config" / "systemd" / "user"
    units.mkdir(parents=True)
    (units / "fawkesd.service").touch()

    done = subprocess.run(
        [sys.executable, "-m", "daemon", "service", "status"],
        env=environment,
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 69
    assert "does not run systemd" in done.stderr
