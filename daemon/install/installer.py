"""Installs and removes the systemd units, and runs systemctl."""

from __future__ import annotations

import contextlib
import os
import pwd
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from daemon.config.settings import default_config_path
from daemon.errors import OutputError, ServiceError
from daemon.fs import atomic
from daemon.fs.private import make_private
from daemon.install import preflight
from daemon.install.units import (
    ALL_UNITS,
    CATALOG,
    OPTIONAL_UNITS,
    Scope,
    Service,
    configured,
    template,
    text_of,
)

_SYSTEM_UNITS = Path("/etc/systemd/system")
_BOOTED = Path("/run/systemd/system")  # is there if systemd runs: see sd_booted(3)
_CATALOGS = Path("/usr/local/lib/systemd/catalog")


def account_of(path: Path) -> pwd.struct_passwd:
    """The account that a file belongs to. Raises ServiceError."""
    try:
        return pwd.getpwuid(path.stat().st_uid)
    except OSError as exc:
        raise ServiceError(
            f"{path} cannot be accessed ({exc.strerror}); name the file with --config"
        ) from exc
    except KeyError as exc:
        raise ServiceError(f"{path} belongs to an account that does not exist; change its owner") from exc


def install(service: Service, *, enable: bool) -> list[Path]:
    """Write the unit files and return their paths; enable: also start the service.

    Raises ServiceError, before anything is written, with everything that would fail.
    """
    faults = list(preflight.objections(service))
    texts = {unit: text_of(service, unit) for unit in service.units}
    others = [unit for unit in installed(service.scope) if unit not in texts]
    foreign = [unit for unit in others if unit not in OPTIONAL_UNITS]
    if foreign:
        faults.append(
            f"{', '.join(foreign)} is installed; run `fawkesd service uninstall` first: both would take the same photos"
        )
    faults += _other_configuration(service)
    if not _BOOTED.is_dir():
        faults.append("this machine does not run systemd; start `fawkesd run` in another way")
    if faults:
        raise ServiceError(
            "the service would not work, and nothing was installed:\n"
            + "\n".join(f"- {fault}" for fault in faults)
        )
    _make_folders(service)
    folder = _folder(service.scope)
    if others:  # their keys were set before
        systemctl(service.scope, "disable", "--now", *others)
        for unit in others:
            _remove(folder / unit)
    with _readable_by_all():
        atomic.make_folder(folder)
        for unit, text in texts.items():
            atomic.write(folder / unit, text.encode(), replace=True, mode=0o644)
        _install_catalog(service.scope)
    systemctl(service.scope, "daemon-reload")
    if enable:
        systemctl(service.scope, "enable", *service.enabled_units)
        # One that runs takes up the new folders. Not by `restart`, which makes a job of each unit: that of the page's
        # socket would fail where the service, started by the other job, is active already.
        systemctl(service.scope, "stop", *reversed(service.enabled_units))
        systemctl(service.scope, "start", *service.enabled_units)
    return [folder / unit for unit in texts]


def uninstall(scope: Scope) -> list[Path]:
    """Stop the service, remove its unit files and return them. Photos and state stay. Raises ServiceError."""
    units = installed(scope)
    if not units:
        return []
    systemctl(scope, "disable", "--now", *units)
    files = [_folder(scope) / unit for unit in units]
    if scope is Scope.SYSTEM:
        files.append(_CATALOGS / CATALOG)
    for file in files:
        _remove(file)
    if scope is Scope.SYSTEM:
        _run_quietly(["journalctl", "--update-catalog"])
    systemctl(scope, "daemon-reload")
    return files


def installed(scope: Scope) -> list[str]:
    """The installed units of fawkesd."""
    return [unit for unit in ALL_UNITS if (_folder(scope) / unit).exists()]


def systemctl(scope: Scope, *words: str) -> None:
    """Run systemctl, which prints to the terminal. Raises ServiceError if it fails."""
    if status := ask_systemctl(scope, *words):
        raise ServiceError(f"`systemctl {' '.join(words)}` failed with status {status}; its output says why")


def ask_systemctl(scope: Scope, *words: str) -> int:
    """Run systemctl, which prints to the terminal; returns its exit status. Raises ServiceError if it is missing."""
    command = ["systemctl", f"--{scope.value}", "--no-pager", *words]
    try:
        return subprocess.run(command, check=False).returncode
    except OSError as exc:
        raise ServiceError(
            "systemctl is missing: this machine does not run systemd; use `fawkesd run` instead"
        ) from exc


def _folder(scope: Scope) -> Path:
    # units of a user lie beside the user's configuration: $XDG_CONFIG_HOME/systemd/user
    return _SYSTEM_UNITS if scope is Scope.SYSTEM else default_config_path().parents[1] / "systemd" / "user"


def _other_configuration(service: Service) -> Iterator[str]:
    """The objection to taking the place of a service that runs with another configuration."""
    unit = service.units[0]
    try:
        text = (_folder(service.scope) / unit).read_text()
    except OSError:
        return  # none is installed
    if f"{configured(service)}\n" not in text:
        yield (
            f"{unit} is installed with another configuration; one service does the work for several people (list them "
            "all under `users`). To replace it, run `fawkesd service uninstall` first"
        )


@contextlib.contextmanager
def _readable_by_all() -> Iterator[None]:
    """Whatever the umask: the folders are shared with other programs' units."""
    umask = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(umask)


def _make_folders(service: Service) -> None:
    # The sandbox can open only folders that exist when the service starts.
    state, models = service.settings.state_dir, service.settings.engine.models_folder
    wanted = [state, models] if service.scope is Scope.SYSTEM else [state]
    parts = [part for folder in wanted for part in (folder, *folder.parents)]
    missing = [part for part in parts if not part.exists()]
    try:
        make_private(state)
        for folder in wanted:
            folder.mkdir(parents=True, exist_ok=True)
        for part in missing:
            os.chown(part, service.account.pw_uid, service.account.pw_gid)
    except OSError as exc:
        raise OutputError(
            f"the folder {exc.filename} cannot be created ({exc.strerror}); check the folders above it"
        ) from exc


def _install_catalog(scope: Scope) -> None:
    """Install the journal catalog, for the whole machine only, since journald has no other place."""
    if scope is Scope.SYSTEM:
        atomic.make_folder(_CATALOGS)
        atomic.write(_CATALOGS / CATALOG, template(CATALOG).encode(), replace=True, mode=0o644)
        _run_quietly(["journalctl", "--update-catalog"])


def _remove(file: Path) -> None:
    try:
        file.unlink(missing_ok=True)
    except OSError as exc:
        raise OutputError(f"{file} cannot be removed ({exc.strerror}); remove it by hand") from exc


def _run_quietly(command: Sequence[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as exc:
        raise ServiceError(f"`{' '.join(command)}` failed") from exc
