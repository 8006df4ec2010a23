"""Whether a service would start as it is about to be installed: asked before, answered in words.

systemd says of a missing right or mount only 226/NAMESPACE, again at every restart.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from daemon.config.settings import UserSettings
from daemon.install.units import Scope, Service, parent_of_both, program_folders
from daemon.text import printable
from fawkes_engine.weights import catalog

# Too much to open for writing. The home of the service's account counts as well.
_TOO_MUCH = frozenset(map(Path, ("/", "/home", "/mnt", "/media", "/srv", "/var", "/run", "/usr")))
_FSTAB = Path("/etc/fstab")


def objections(service: Service) -> Iterator[str]:
    """Why the service would not start or not publish; nothing if all is well."""
    yield from _who(service)
    if service.scope is Scope.SYSTEM:
        yield from _too_open(service)
    for user in service.settings.users:
        yield from _one_mount(user)
    for folder in [*service.outboxes, *service.writable]:
        yield from _not_mounted(folder)
    yield from _no_access(service)


def _who(service: Service) -> Iterator[str]:
    if service.scope is Scope.USER:
        if os.geteuid() == 0:
            yield "a user service is installed by its user, not by root; use --system, or leave sudo out"
    elif os.geteuid() != 0:
        yield "only root installs a system service: use sudo, or --user for one of your own session"
    elif service.account.pw_uid == 0:
        yield (
            f"the service would be root, which owns {printable(service.config)} and the photos; "
            "let one of them belong to the person whose photos they are"
        )


def _too_open(service: Service) -> Iterator[str]:
    for user in service.settings.users:
        parent = parent_of_both(user)
        if parent in _TOO_MUCH or parent == Path(service.account.pw_dir):
            yield (
                f"staging and sync folder of {user.name} have only {printable(parent)} in common, all of which would "
                "be opened for writing; put both below a folder for photos, as ~/Pictures/sync and its neighbour are"
            )


def _one_mount(user: UserSettings) -> Iterator[str]:
    existing = next(folder for folder in (user.staging_dir, *user.staging_dir.parents) if folder.exists())
    if _mount_of(existing) != _mount_of(user.sync):
        yield (
            f"{printable(existing)} and {printable(user.sync)} are two mounts, between which no finished photo can "
            f"be moved; set `staging` of {user.name} to a folder on the mount of the sync folder"
        )


def _mount_of(folder: Path) -> tuple[int, str]:
    """What tells mounts apart. A device number alone does not: bind mounts share it, links fail all the same."""
    descriptor = os.open(folder, os.O_PATH)
    try:
        info = Path(f"/proc/self/fdinfo/{descriptor}").read_text()
        return os.fstat(descriptor).st_dev, info.partition("mnt_id:")[2].split()[0]
    finally:
        os.close(descriptor)


def _not_mounted(folder: Path) -> Iterator[str]:
    for place in (folder, *folder.parents[:-1]):
        if place in _places_of_fstab() and not place.is_mount():
            yield f"{printable(folder)} lies on {printable(place)}, which /etc/fstab mounts, and which is not mounted"


def _places_of_fstab() -> set[Path]:
    if not _FSTAB.exists():
        return set()
    lines = (line.split() for line in _FSTAB.read_text(errors="surrogateescape").splitlines())
    return {
        Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), words[1]))
        for words in lines
        if len(words) > 2 and not words[0].startswith("#") and words[1].startswith("/")
    }


def _no_access(service: Service) -> Iterator[str]:
    name = service.account.pw_name
    folder = service.settings.engine.models_folder
    wanted = [
        *((outbox, "rx", "read") for outbox in service.outboxes),
        *((user.sync, "rwx", "write to") for user in service.settings.users),
        *((folder, "rwx", "write to") for folder in service.writable if folder.exists()),
        *((folder, "rx", "use Python in") for folder in program_folders()),
        *((catalog.path(model, folder), "r", "read") for model in catalog.on_disk(folder)),
        (service.config, "r", "read"),
        (Path(sys.executable), "x", "run"),
    ]
    for path, rights, verb in wanted:
        if not _may(service, path, rights):
            yield f"{name} may not {verb} {printable(path)}; change its owner or mode, or who may enter its folders"


def _may(service: Service, path: Path, rights: str) -> bool:
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
