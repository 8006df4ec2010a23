"""The package as a user gets it: a wheel without this source tree beside it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import pytest
from test_end_to_end import portrait

ROOT = Path(__file__).resolve().parents[1]
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "daemon", "fawkes_engine", "service")


def run(*command: str | Path, **variables: str) -> str:
    environment = {**os.environ, "PYTHONPATH": "", **variables}
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:  # a build leaves files behind
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy(ROOT / name, source)
    run(*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source)
    (built,) = folder.glob("fawkesd-*.whl")
    return built


@pytest.fixture(scope="module")
def fawkesd(wheel: Path) -> Path:
    """The command of a wheel that is installed alone; its dependencies are those of the environment of the tests.

    An editable install would find a module that the wheel lacks: it is left out, since a .pth file only adds a folder
    and does not run the .pth files in it.
    """
    environment = wheel.parent / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    (site,) = environment.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(
        f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n"
    )
    run(*PIP, "--python", environment / "bin/python", "install", "--no-deps", "--no-index", wheel)
    return environment / "bin/fawkesd"


def publish_a_photo(fawkesd: Path, folder: Path) -> Path:
    """Publish a portrait with an installed fawkesd, against dlib alone; returns the configuration."""
    home = {"XDG_STATE_HOME": str(folder / "state"), "FAWKESD_MODELS": "/nonexistent"}
    outbox, sync, config = folder / "outbox", folder / "sync", folder / "fawkesd.yaml"
    folders = ("--outbox", outbox, "--sync", sync, "--create", "--config", config)
    run(fawkesd, "init", "--user", "ada", *folders, **home)
    (outbox / "me.jpg").write_bytes(portrait())

    assert "1 published, 0 held" in run(fawkesd, "once", "--config", config, **home)

    assert (sync / "me.jpg").read_bytes() not in {b"", portrait()}
    return config


@pytest.mark.slow
def test_the_wheel_publishes_a_photo_and_shows_its_unit(fawkesd: Path, tmp_path: Path) -> None:
    config = publish_a_photo(fawkesd, tmp_path)

    assert "[Service]" in run(fawkesd, "service", "show", "--config", config)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("tool", ["pipx", "uv"])
def test_the_wheel_is_installed_into_an_empty_environment(tool: str, wheel: Path, tmp_path: Path) -> None:
    constraints = str(ROOT / "constraints.txt")
    with tempfile.TemporaryDirectory() as home:  # 5 GB, which pytest would keep
        commands = Path(home) / "bin"
        if tool == "pipx":
            pipx = {"PIPX_HOME": home, "PIPX_BIN_DIR": str(commands), "PIP_CONSTRAINT": constraints}
            run(sys.executable, "-m", "pipx", "install", wheel, **pipx)
        else:
            uv = {"UV_TOOL_DIR": home, "UV_TOOL_BIN_DIR": str(commands), "UV_CONSTRAINT": constraints}
            run(sys.executable, "-m", "uv", "tool", "install", "--python", sys.executable, wheel, **uv)

        publish_a_photo(commands / "fawkesd", tmp_path)


@pytest.mark.slow
def test_the_wheel_has_every_module(fawkesd: Path) -> None:
    installed = {
        path.relative_to(site)
        for site in fawkesd.parents[1].glob("lib/python*/site-packages")
        for package in ("daemon", "fawkes_engine")
        for path in (site / package).rglob("*.py")
    }
    expected = {
        path.relative_to(ROOT)
        for package in ("daemon", "fawkes_engine")
        for path in (ROOT / package).rglob("*.py")
    }

    assert installed == expected


@pytest.mark.slow
def test_the_wheel_has_what_the_page_is_made_of(fawkesd: Path) -> None:
    (site,) = fawkesd.parents[1].glob("lib/python*/site-packages")

    for part in ("templates", "static"):
        folder = Path("daemon") / "web" / part
        assert {path.name for path in (site / folder).iterdir()} == {
            path.name for path in (ROOT / folder).iterdir()
        }
