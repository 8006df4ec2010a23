"""The package as a user gets it: a wheel without this source tree beside it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from test_end_to_end import portrait

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "daemon", "fawkes_engine", "service")


def run(*command: str | Path, **variables: str) -> str:
    environment = {**os.environ, "PYTHONPATH": "", **variables}
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def fawkesd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of a wheel that is installed alone; its dependencies are those of the environment of the tests.

    An editable install would find a module that the wheel lacks: it is left out, since a .pth file only adds a folder
    and does not run the .pth files in it.
    """
    folder = tmp_path_factory.mktemp("wheel")
    source, environment = folder / "source", folder / "environment"
    source.mkdir()
    for name in SOURCES:  # a build leaves files behind
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy(ROOT / name, source)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source)
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    (site,) = environment.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(
        f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n"
    )
    (wheel,) = folder.glob("fawkesd-*.whl")
    run(*pip, "--python", environment / "bin/python", "install", "--no-deps", "--no-index", wheel)
    return environment / "bin/fawkesd"


@pytest.mark.slow
def test_the_wheel_publishes_a_photo_and_shows_its_unit(fawkesd: Path, tmp_path: Path) -> None:
    home = {"XDG_STATE_HOME": str(tmp_path / "state"), "FAWKESD_MODELS": "/nonexistent"}
    outbox, sync, config = tmp_path / "outbox", tmp_path / "sync", tmp_path / "fawkesd.yaml"
    folders = ("--outbox", outbox, "--sync", sync, "--create", "--config", config)
    run(fawkesd, "init", "--user", "ada", *folders, **home)
    (outbox / "me.jpg").write_bytes(portrait())

    assert "1 published, 0 held" in run(fawkesd, "once", "--config", config, **home)

    assert (sync / "me.jpg").read_bytes() not in {b"", portrait()}
    assert "[Service]" in run(fawkesd, "service", "show", "--config", config, **home)


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
