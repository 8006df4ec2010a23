"""Preflight checks of a systemd service, with readable reasons.

systemd itself reports a missing right or mount only as 226/NAMESPACE, at every restart.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from daemon.config.settings import UserSettings
from daemon.fs.absence import unmounted
from daemon.fs.mounts import mount_of
from daemon.install.units import Scope, Service, parent_of_both
from daemon.text import printable
from fawkes_engine.weights import catalog

# Too broad to be made writable. So is the home of the service's account.
_TOO_BROAD = frozenset(map(Path, ("/", "/home", "/mnt", "/media", "/srv", "/var", "/run", "/usr")))


def objections(service: Service) -> Iterator[str]:
    """Yield every reason why the service would not start or not publish."""
    yield from _wrong_account(service)
    if service.scope is Scope.SYSTEM:
        yield from _too_broad(service)
    missing = list(_missing(service))
    yield from missing
    if missing:
        return  # mounts and rights can be judged only of folders that are there
    for user in service.settings.users:
        yield from _two_mounts(user)
    yield from _no_access(service)


def _wrong_account(service: Service) -> Iterator[str]:
    if service.scope is Scope.USER:
        if os.geteuid() == 0:
            yield "root cannot install a user service; use --system, or leave out sudo"
    elif os.geteuid() != 0:
        yield "only root can install a system service; use sudo, or --user for a service in your own session"
    elif service.account.pw_uid == 0:
        yield (
            f"the service would run as root, which owns {printable(service.config)} and the photos; "
            "make the person whose photos they are the owner of either"
        )


def _too_broad(service: Service) -> Iterator[str]:
    for user in service.settings.users:
        parent = parent_of_both(user)
        if parent in _TOO_BROAD or parent == Path(service.account.pw_dir):
            yield (
                f"the staging and sync folders of {user.name} share only {printable(parent)}, all of which "
                "would become writable; put both below one folder for photos, as in ~/Pictures/sync and its neighbour"
            )


def _two_mounts(user: UserSettings) -> Iterator[str]:
    existing = _nearest(user.staging_dir)
    if mount_of(existing) != mount_of(user.sync):
        yield (
            f"{printable(existing)} and {printable(user.sync)} are on different mounts, so finished photos cannot "
            f"be moved from one to the other; set `staging` of {user.name} to a folder on the mount of the sync folder"
        )


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest above it that exists."""
    return next(path for path in (folder, *folder.parents) if os.path.lexists(path))


def _missing(service: Service) -> Iterator[str]:
    for folder in dict.fromkeys([*service.outboxes, *service.writable]):
        place = unmounted(folder)
        if place is not None:
            yield f"{printable(folder)} is on {printable(place)}, which is in /etc/fstab but not mounted; mount it"
    for folder in [*service.outboxes, *(user.sync for user in service.settings.users)]:
        # The account may see what root may not, such as a network drive.
        is_there = os.path.lexists(folder) or _has_access(service, folder, "e")
        if not is_there and unmounted(folder) is None:
            yield f"{printable(folder)} does not exist; mount its drive or create it, so that its rights can be checked"


def _no_access(service: Service) -> Iterator[str]:
    name = service.account.pw_name
    for key, made in (
        ("state_dir", service.settings.state_dir),
        ("engine.models_dir", service.settings.engine.models_folder),
    ):
        above = _nearest(made)
        if above != made and not _has_access(service, above, "x"):
            yield (
                f"{name} cannot enter {printable(above)}, below which {printable(made)} would be created; "
                f"set `{key}` to a folder of that account, such as one below {printable(service.account.pw_dir)}"
            )
    folder = service.settings.engine.models_folder
    needed = [
        *((outbox, "rx", "read") for outbox in service.outboxes),
        *((user.sync, "rwx", "write to") for user in service.settings.users),
        *((folder, "rwx", "write to") for folder in service.writable if folder.exists()),
        *((catalog.path(model, folder), "r", "read") for model in catalog.on_disk(folder)),
        (service.config, "r", "read"),
    ]
    if (urls := service.settings.notify.urls_file) is not None:
        needed.append((urls, "r", "read"))
    if (metrics := service.settings.metrics.prometheus_file) is not None:
        needed.append((metrics.parent, "rwx", "write to"))
    for path, rights, verb in needed:
        if not _has_access(service, path, rights):
            yield f"{name} cannot {verb} {printable(path)}; change its owner or mode, or those of the folders above it"
    for path, rights in (
        *((folder, "rx") for folder in service.program.folders),
        (service.program.python, "x"),
    ):
        if not _has_access(service, path, rights):
            yield (
                f"{name} cannot use the Python in {printable(path)}; install fawkesd, and the Python that it runs in, "
                "where that account can read them, such as in /opt"
            )


def _has_access(service: Service, path: Path, rights: str) -> bool:
    account = service.account
    tests = " -a ".join(f'-{right} "$1"' for right in rights)
    ask = ["sh", "-c", f"test {tests}", "sh", str(path)]
    if os.geteuid() != 0:
        return subprocess.run(ask, check=False).returncode == 0
    groups = os.getgrouplist(account.pw_name, account.pw_gid)
    as_them = subprocess.run(
        ask, check=False, user=account.pw_uid, group=account.pw_gid, extra_groups=groups, cwd="/"
    )
    return as_them.returncode == 0
