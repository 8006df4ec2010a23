"""The units as text, judged by systemd's own tools."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Home

from daemon.config.settings import EngineConfig, MetricsSettings, NotifySettings, WebSettings
from daemon.errors import ServiceError
from daemon.install.units import ALL_UNITS, Scope, Service, parent_of_both, text_of

ROOT = Path(__file__).parents[1]
WORST_SCORE = 1.3
URLS, METRICS = Path("/home/daemon/notify-urls"), Path("/var/lib/prometheus/node-exporter/fawkesd.prom")
KINDS = [(scope, once) for scope in Scope for once in (False, True)]
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def account() -> pwd.struct_passwd:
    """Some account that is neither root nor nobody, as a photographer's is."""
    return pwd.getpwnam("daemon")


def service(
    home: Home,
    scope: Scope = Scope.SYSTEM,
    *,
    once: bool = False,
    device: str = "cpu",
    listen: str | None = None,
    extras: bool = False,
) -> Service:
    """extras: notifications and metrics are configured."""
    changes = {"engine": EngineConfig(device=device), "web": WebSettings(listen=listen)}
    if extras:
        changes |= {
            "notify": NotifySettings(urls_file=URLS),
            "metrics": MetricsSettings(prometheus_file=METRICS),
        }
    settings = home.settings.model_copy(update=changes)
    return Service(settings, home.write_config(), account(), scope, once)


def values(text: str, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", text, re.MULTILINE)


def faults(one: Service, tmp_path: Path) -> str:
    """What systemd says against a service's units; nothing if they are right."""
    folder = tmp_path / "Units with a blank"
    folder.mkdir()
    for unit in one.units:
        (folder / unit).write_text(text_of(one, unit))

    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=yes", f"--{one.scope.value}"]
        + [str(folder / unit) for unit in one.units],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode == 0) == (not done.stderr)
    return done.stderr


@pytest.mark.parametrize(("scope", "once"), KINDS)
@pytest.mark.parametrize("listen", [None, "127.0.0.1:8377", "unix:/run/me 2/page.sock"])
@needs_systemd
def test_systemd_finds_no_fault_in_any_unit(
    home: Home, tmp_path: Path, scope: Scope, once: bool, listen: str | None
) -> None:
    assert not faults(service(home, scope, once=once, listen=listen, extras=True), tmp_path)


@pytest.mark.parametrize(("scope", "once"), KINDS)
@needs_systemd
def test_systemd_finds_no_fault_in_the_units_of_a_cluster(
    home: Home, tmp_path: Path, scope: Scope, once: bool
) -> None:
    pytest.importorskip("distributed", reason="the extra `cluster` is not installed")

    assert not faults(
        service(home, scope, once=once, device="cluster:tls://cuda-box:8786", extras=True), tmp_path
    )


@pytest.mark.parametrize("unit", ["fawkesd-notify.service", "fawkesd-metrics.service"])
@needs_systemd
def test_the_sandboxes_of_what_the_timers_start_score_well(home: Home, tmp_path: Path, unit: str) -> None:
    file = tmp_path / unit
    file.write_text(text_of(service(home, extras=True), unit))

    command = [
        "systemd-analyze",
        "security",
        "--offline=true",
        f"--threshold={round(10 * WORST_SCORE)}",
        str(file),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout.splitlines()[-1]


@pytest.mark.parametrize("scope", Scope)
@pytest.mark.parametrize("once", [False, True])
def test_only_what_hands_work_to_a_cluster_has_a_network(home: Home, scope: Scope, once: bool) -> None:
    pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
    unit = "fawkesd-once.service" if once else "fawkesd.service"
    alone = service(home, scope, once=once, extras=True)
    with_cluster = service(home, scope, once=once, device="cpu,cluster:tls://cuda-box:8786", extras=True)

    assert values(text_of(alone, unit), "RestrictAddressFamilies") == ["AF_UNIX"]
    assert values(text_of(with_cluster, unit), "RestrictAddressFamilies") == [
        "AF_UNIX AF_INET AF_INET6 AF_NETLINK"
    ]
    assert not values(text_of(with_cluster, unit), "PrivateNetwork")
    metrics = text_of(with_cluster, "fawkesd-metrics.service")
    assert values(metrics, "RestrictAddressFamilies") == ["AF_UNIX"]


@pytest.mark.parametrize("once", [False, True])
def test_timers_are_installed_for_what_is_configured(home: Home, once: bool) -> None:
    plain, full = service(home, once=once), service(home, once=once, extras=True)

    assert set(full.units) - set(plain.units) == {
        f"fawkesd-{name}.{kind}" for name in ("notify", "metrics") for kind in ("service", "timer")
    }
    assert set(full.enabled_units) - set(plain.enabled_units) == {
        "fawkesd-notify.timer",
        "fawkesd-metrics.timer",
    }


@pytest.mark.parametrize("scope", Scope)
def test_only_notifications_have_a_network_and_they_and_metrics_no_photo(home: Home, scope: Scope) -> None:
    one = service(home, scope, extras=True)
    for unit in (unit for unit in one.units if unit.endswith(".service")):
        text = text_of(one, unit)
        has_network = unit == "fawkesd-notify.service"
        assert ("AF_INET" in values(text, "RestrictAddressFamilies")[0].split()) == has_network
        if scope is Scope.SYSTEM:
            assert (values(text, "PrivateNetwork") == []) == has_network
            bound = [*values(text, "BindPaths"), *values(text, "BindReadOnlyPaths")]
            sees_photos = any(str(home.outbox) in line for line in bound)
            assert sees_photos == (unit == "fawkesd.service")
            hidden = {place.removeprefix("-") for place in values(text, "InaccessiblePaths")[0].split()}
            photos = {
                str(place)
                for place in (home.outbox, home.sync, home.state_dir / "results", home.state_dir / "web")
            }
            assert (photos <= hidden) != sees_photos


@pytest.mark.parametrize("scope", Scope)
@pytest.mark.parametrize("once", [False, True])
def test_the_service_starts_without_the_drives_of_the_photos(home: Home, scope: Scope, once: bool) -> None:
    one = service(home, scope, once=once)
    text = text_of(one, one.units[0])

    assert values(text, "RequiresMountsFor") == [f"{home.state_dir} {home.state_dir.parent}"]
    assert "remote-fs.target" in values(text, "After")[0]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("once", [False, True])
@pytest.mark.parametrize("listen", [None, "127.0.0.1:8377"])
@needs_systemd
def test_the_sandbox_of_a_system_service_scores_well(
    home: Home, tmp_path: Path, device: str, once: bool, listen: str | None
) -> None:
    one = service(home, once=once, device=device, listen=listen)
    file = tmp_path / one.units[0]
    file.write_text(text_of(one, one.units[0]))

    done = subprocess.run(
        [
            "systemd-analyze",
            "security",
            "--offline=true",
            f"--threshold={round(10 * WORST_SCORE)}",
            str(file),
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout.splitlines()[-1]


@pytest.mark.parametrize("scope", Scope)
def test_the_page_is_at_a_socket_of_systemd_and_the_service_has_no_network(home: Home, scope: Scope) -> None:
    one = service(home, scope, listen="[::1]:8377")
    text, socket = text_of(one, "fawkesd.service"), text_of(one, "fawkesd-web.socket")

    assert values(text, "Sockets") == ["fawkesd-web.socket"]
    assert values(text, "RestrictAddressFamilies") == ["AF_UNIX"]
    assert values(text, "PrivateNetwork") == (["yes"] if scope is Scope.SYSTEM else [])
    assert values(socket, "ListenStream") == ["[::1]:8377"]
    assert values(socket, "IPAddressAllow") == (["localhost"] if scope is Scope.SYSTEM else [])
    assert "fawkesd-web.socket" not in service(home, scope).units
    assert not values(text_of(service(home, scope), "fawkesd.service"), "Sockets")


def test_one_writable_mount_holds_staging_and_sync(home: Home) -> None:
    text = text_of(service(home), "fawkesd.service")

    (user,) = home.settings.users
    assert values(text, "BindPaths") == [f"-{home.sync.parent}"]
    assert user.staging_dir.is_relative_to(parent_of_both(user))
    assert user.sync.is_relative_to(parent_of_both(user))


def test_outboxes_are_mounted_read_only_inside_a_writable_folder(home: Home) -> None:
    (readable,) = values(text_of(service(home), "fawkesd.service"), "BindReadOnlyPaths")

    assert f"-{home.outbox}" in readable.split()
    assert f"-{home.sync.parent}" not in readable.split()


def test_fetched_models_can_be_read_in_the_sandbox(home: Home, tmp_path: Path) -> None:
    settings = home.settings.model_copy(update={"engine": EngineConfig(models_dir=tmp_path / "models")})
    one = Service(settings, home.write_config(), account(), Scope.SYSTEM, once=False)

    (readable,) = values(text_of(one, "fawkesd.service"), "BindReadOnlyPaths")

    assert f"-{tmp_path}/models" in readable.split()


def test_the_watchdog_waits_longer_than_the_service_does_for_its_engine(home: Home) -> None:
    settings = home.settings.model_copy(update={"engine": EngineConfig(photo_timeout_s=600.0)})
    slow = Service(settings, home.write_config(), account(), Scope.SYSTEM, once=False)

    assert values(text_of(slow, "fawkesd.service"), "WatchdogSec") == ["660"]
    assert values(text_of(service(home), "fawkesd.service"), "WatchdogSec") == ["960"]


@pytest.mark.parametrize("device", ["cuda:0", "cuda", "cuda:0,cuda:1", "cpu,cuda:1"])
def test_an_nvidia_card_is_reached_and_a_cpu_service_has_no_devices(home: Home, device: str) -> None:
    with_card = text_of(service(home, device=device), "fawkesd.service")
    without = text_of(service(home, device="cpu"), "fawkesd.service")

    assert "char-nvidia-uvm rw" in values(with_card, "DeviceAllow")
    assert values(with_card, "PrivateDevices") == ["no"]
    assert values(without, "PrivateDevices") == ["yes"]
    assert not values(without, "DeviceAllow")


def test_nothing_is_left_to_fill_in_and_nothing_denies_pytorch_its_code(home: Home) -> None:
    for scope, once in KINDS:
        one = service(home, scope, once=once)
        for unit in one.units:
            text = text_of(one, unit)
            assert not re.search(r"@[A-Z_]+@", text)
            assert not values(text, "MemoryDenyWriteExecute")


def test_blanks_and_percent_signs_in_paths_reach_systemd_as_they_are(home: Home, tmp_path: Path) -> None:
    outbox = tmp_path / "100 % mine"
    outbox.mkdir()
    one = service(home.with_outbox(outbox))

    (readable,) = values(text_of(one, "fawkesd.service"), "BindReadOnlyPaths")

    assert f'"-{tmp_path}/100 %% mine"' in readable


@pytest.mark.parametrize("name", ["a:b", 'say "a"', "back\\slash", "$HOME", "two\nlines"])
def test_a_path_that_a_unit_cannot_hold_is_refused(home: Home, tmp_path: Path, name: str) -> None:
    outbox = tmp_path / name
    outbox.mkdir()

    with pytest.raises(ServiceError, match="cannot hold"):
        text_of(service(home.with_outbox(outbox)), "fawkesd.service")


def test_every_template_and_the_catalogue_come_with_the_package() -> None:
    names = {path.name for path in (ROOT / "service").iterdir()}

    assert {f"{unit}.in" for unit in ALL_UNITS} <= names
    assert (ROOT / "daemon" / "templates").resolve() == ROOT / "service"


def test_service_show_prints_every_unit(home: Home) -> None:
    for options, units in (([], ["fawkesd.service"]), (["--once"], [u for u in ALL_UNITS if "once" in u])):
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "daemon",
                "service",
                "show",
                *options,
                "--config",
                str(home.write_config()),
            ],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        )
        assert re.findall(r"^# ---- (.*)$", done.stdout, re.MULTILINE) == units
