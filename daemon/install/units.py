"""Renders the systemd units from the templates in service/ and the paths of a configuration."""

from __future__ import annotations

import os
import pwd
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from importlib import resources
from pathlib import Path

import daemon
from daemon.config.address import Address
from daemon.config.settings import Settings, UserSettings
from daemon.errors import ServiceError
from daemon.fs.kernel import has_nvidia_driver
from daemon.state.folder import FOLDERS_OF_PHOTOS
from daemon.text import printable

CATALOG = "fawkesd.catalog"
_RUN_UNITS = ("fawkesd.service",)
_ONCE_UNITS = ("fawkesd-once.service", "fawkesd-once.path", "fawkesd-once.timer")
PAGE_UNIT = "fawkesd-web.socket"
_NOTIFY_UNITS = ("fawkesd-notify.service", "fawkesd-notify.timer")
_METRICS_UNITS = ("fawkesd-metrics.service", "fawkesd-metrics.timer")
# whether they are installed hangs on keys of the configuration
OPTIONAL_UNITS = (PAGE_UNIT, *_NOTIFY_UNITS, *_METRICS_UNITS)
ALL_UNITS = (*_RUN_UNITS, *_ONCE_UNITS, *OPTIONAL_UNITS)
_STARTED_BY_OTHERS = ("fawkesd-once.service", _NOTIFY_UNITS[0], _METRICS_UNITS[0])

_WATCHDOG_LEAST_S = 120
_WATCHDOG_MARGIN_S = 60
# Characters that end or escape words somewhere in a unit file; no folder of photos needs them.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\"'\\:$]")
_PLACEHOLDER = re.compile(r"@([A-Z_]+)@")


class Scope(Enum):
    """Which systemd runs the service: the machine's, with the full sandbox, or that of a user's session."""

    SYSTEM = "system"
    USER = "user"


@dataclass(frozen=True, slots=True)
class Program:
    """The Python that runs fawkesd, and the folders that hold it, its packages and fawkesd itself."""

    python: Path
    places: tuple[Path, ...]

    @classmethod
    def of_this_process(cls) -> Program:
        """Return the one that runs this."""
        package = Path(daemon.__file__).resolve().parents[1]
        return cls(Path(sys.executable), (Path(sys.prefix), Path(sys.base_prefix), package))

    @property
    def folders(self) -> list[Path]:
        """The folders that the sandbox would otherwise hide."""
        return [folder for folder in _outermost(self.places) if not folder.is_relative_to("/usr")]


@dataclass(frozen=True, slots=True)
class Service:
    """The service that the units run. config: the configuration file. account: the account it runs as.

    once: run `fawkesd once` when photos arrive, instead of a daemon.
    """

    settings: Settings
    config: Path
    account: pwd.struct_passwd
    scope: Scope
    once: bool
    program: Program = field(default_factory=Program.of_this_process)

    @property
    def units(self) -> Sequence[str]:
        """The names of the unit files."""
        units = list(_ONCE_UNITS if self.once else _RUN_UNITS)
        if self.settings.web.listen is not None and not self.once:
            units.append(PAGE_UNIT)
        if self.settings.notify.urls_file is not None:
            units += _NOTIFY_UNITS
        if self.settings.metrics.prometheus_file is not None:
            units += _METRICS_UNITS
        return units

    @property
    def enabled_units(self) -> Sequence[str]:
        """The units that are started with the system or the session."""
        return [unit for unit in self.units if unit not in _STARTED_BY_OTHERS]

    @property
    def outboxes(self) -> list[Path]:
        """Every outbox."""
        return [outbox for user in self.settings.users for outbox in user.outboxes]

    @property
    def writable(self) -> list[Path]:
        """The folders that the service writes to; none is inside another."""
        return _outermost([self.settings.state_dir, *map(parent_of_both, self.settings.users)])

    def hidden(self, unit: str) -> Sequence[Path]:
        """The folders with photos that a unit has nothing to do with."""
        if unit not in (*_NOTIFY_UNITS, *_METRICS_UNITS):
            return []
        photos = [
            place for user in self.settings.users for place in (*user.outboxes, user.sync, user.staging_dir)
        ]
        return _outermost([*photos, *(self.settings.state_dir / name for name in FOLDERS_OF_PHOTOS)])

    def folders(self, unit: str) -> tuple[Sequence[Path], Sequence[Path]]:
        """The folders that a unit may write to, and what else it may read. Where nothing is cloaked, no photo is."""
        settings = self.settings
        visible = {self.config.parent, *self.program.folders}
        if unit in _NOTIFY_UNITS and settings.notify.urls_file is not None:
            writable = [settings.state_dir]
            visible.add(settings.notify.urls_file)
        elif unit in _METRICS_UNITS and settings.metrics.prometheus_file is not None:
            writable = _outermost([settings.state_dir, settings.metrics.prometheus_file.parent])
        else:
            writable = self.writable
            visible |= {settings.engine.models_folder, *self.outboxes}
            if settings.engine.scheduler is not None:
                visible.add(settings.certificates)
        return writable, sorted(visible.difference(writable))


def text_of(service: Service, unit: str) -> str:
    """Render one unit file. Raises ServiceError for a path that a unit file cannot hold."""
    settings = service.settings
    devices = [engine.device for engine in settings.engine.to_engines()]
    has_card = any(map(_uses_nvidia, devices)) and unit not in OPTIONAL_UNITS
    writable, readable = service.folders(unit)
    values = {
        "CONFIG": _words([service.config]),
        "MOUNTS": _words([settings.state_dir, service.config.parent]),
        "PATHS_CHANGED": "\n".join(f"PathChanged={_path(outbox)}" for outbox in service.outboxes),
        "PROGRAM": f"{_words([service.program.python])} -P -m daemon",
        "READABLE": _words(readable, before="-"),
        "TARGET": "multi-user.target" if service.scope is Scope.SYSTEM else "default.target",
        "USER": service.account.pw_name,
        "WATCHDOG_S": str(
            max(_WATCHDOG_LEAST_S, round(settings.engine.photo_timeout_s) + _WATCHDOG_MARGIN_S)
        ),
        "WRITABLE": _words(writable, before="-"),
        "HIDDEN": _words(service.hidden(unit), before="-"),
        "AFTER_DEVICES": " nvidia-persistenced.service" if has_card else "",
        "DEVICES": template(f"devices-{'nvidia' if has_card else 'cpu'}.in"),
        "METRICS": _words(filter(None, [settings.metrics.prometheus_file])),
        "NETWORK": template(f"network-{_network(service, unit)}.in"),
        "LISTEN": _listen(settings.web.address),
        "SOCKETS": f"Sockets={PAGE_UNIT}" if PAGE_UNIT in service.units else "",
        "SOCKET_RIGHTS": "\n".join(_socket_rights(service)),
        "SANDBOX": template(f"sandbox-{service.scope.value}.in"),
    }
    text = template(f"{unit}.in")
    while _PLACEHOLDER.search(text):  # values may contain placeholders themselves
        text = _PLACEHOLDER.sub(lambda found: values[found[1]].rstrip("\n"), text)
    return text


def configured(service: Service) -> str:
    """The end of the line that starts the service, by which its configuration is known."""
    return f" --config {_words([service.config])}"


def template(name: str) -> str:
    """Return the text of a file of service/."""
    return (resources.files("daemon") / "templates" / name).read_text()


def parent_of_both(user: UserSettings) -> Path:
    """The common parent of the sync and the staging folder: files can be linked only inside one mount."""
    return Path(os.path.commonpath([user.sync.parent, user.staging_dir.parent]))


def _listen(address: Address) -> str:
    return _path(address.path) if address.path else str(address)


def _socket_rights(service: Service) -> Iterator[str]:
    """Yield what only the machine's systemd can set: whose socket it is, and who may connect."""
    if service.scope is Scope.SYSTEM:
        yield f"SocketUser={service.account.pw_name}"
        if service.settings.web.address.is_loopback:
            yield "IPAddressDeny=any"
            yield "IPAddressAllow=localhost"


def _outermost(folders: Iterable[Path]) -> list[Path]:
    kept: list[Path] = []
    for folder in sorted(set(folders)):
        if not any(folder.is_relative_to(one) for one in kept):
            kept.append(folder)
    return kept


def _network(service: Service, unit: str) -> str:
    if unit in _NOTIFY_UNITS:
        return "notify"
    is_optional = unit in OPTIONAL_UNITS
    return "cluster" if service.settings.engine.scheduler and not is_optional else service.scope.value


def _uses_nvidia(device: str) -> bool:
    return device.startswith("cuda") or (device == "auto" and has_nvidia_driver())


def _words(paths: Iterable[Path], before: str = "") -> str:
    words = (f"{before}{_path(path)}" for path in paths)
    return " ".join(f'"{word}"' if " " in word else word for word in words)


def _path(path: Path) -> str:
    text = str(path)
    if _UNSAFE.search(text) or not text.isprintable():
        raise ServiceError(
            f"{printable(path)} has a character that a unit file cannot hold; rename the folder"
        )
    return text.replace("%", "%%")
