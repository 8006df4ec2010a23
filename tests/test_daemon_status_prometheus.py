"""`fawkesd status --prometheus`: what Prometheus itself accepts, and nothing that names a photo."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Home
from faulty import FACTORY, Counter
from twins import Deed, make_photo

from daemon.cli.main import run_command
from daemon.exits import Exit
from daemon.service.run import once
from daemon.status.prometheus import lines
from daemon.status.status import read

SAMPLE = re.compile(
    r'(?P<name>fawkesd_[a-z_]+)(?:\{(?P<labels>[a-z]+="[^"\\\n]*"(?:,[a-z]+="[^"\\\n]*")*)\})? [0-9.e+]+'
)


@pytest.fixture
def metrics(home: Home, capsys: pytest.CaptureFixture[str]) -> str:
    (home.outbox / "secret party.jpg").write_bytes(make_photo())
    (home.outbox / "held secret.jpg").write_bytes(make_photo(Deed.REFUSE))
    once(home.settings, Counter(), FACTORY)
    capsys.readouterr()
    assert run_command(["status", "--prometheus", "--config", str(home.write_config())]) == Exit.OK
    return capsys.readouterr().out


def test_the_numbers_are_those_of_the_status(metrics: str) -> None:
    found = metrics.splitlines()

    assert "fawkesd_up 0" in found
    assert 'fawkesd_photos{user="ada",state="published"} 1' in found
    assert 'fawkesd_photos{user="ada",state="held"} 1' in found
    assert 'fawkesd_photos{user="ada",state="waiting"} 0' in found
    assert 'fawkesd_paused_folders{user="ada"} 0' in found
    assert 'fawkesd_backlog_seconds{user="ada"} 0' in found


def test_a_file_gets_them_whole_and_can_be_read_by_the_exporter(
    home: Home, metrics: str, tmp_path: Path
) -> None:
    file = tmp_path / "fawkesd.prom"
    file.write_text("of the last minute")
    command = ["status", "--config", str(home.write_config()), "--out", str(file)]

    assert run_command(command) == Exit.USAGE
    before = os.umask(0o022)
    try:
        assert run_command([*command, "--prometheus"]) == Exit.OK
        assert stat.S_IMODE(file.stat().st_mode) == 0o644
        assert run_command([*command, "--prometheus", "--check"]) == Exit.UNAVAILABLE
    finally:
        os.umask(before)

    assert file.read_text() == metrics
    assert [one.name for one in tmp_path.glob("*fawkesd*prom*")] == ["fawkesd.prom"]


def test_large_numbers_are_exact(home: Home) -> None:
    status = read(home.settings)
    (user,) = status.users
    many = replace(status, users=(replace(user, published=1_234_567),))

    assert 'fawkesd_photos{user="ada",state="published"} 1234567' in lines(many)


def test_every_metric_is_explained_once_before_its_samples(metrics: str) -> None:
    explained: set[str] = set()
    for line in metrics.splitlines():
        if line.startswith("#"):
            explained.add(line.split()[2])
        else:
            found = SAMPLE.fullmatch(line)
            assert found, line
            assert found["name"] in explained
    assert len(explained) == sum(line.startswith("# TYPE") for line in metrics.splitlines())
    assert metrics.endswith("\n")


def test_no_name_of_a_photo_or_folder_is_in_it(metrics: str) -> None:
    assert "secret" not in metrics
    assert "/" not in metrics


def test_prometheus_accepts_it(metrics: str) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool (Debian: prometheus)")
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=metrics, capture_output=True, text=True, check=False
    )

    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_one_format_at_a_time(home: Home) -> None:
    assert (
        run_command(["status", "--json", "--prometheus", "--config", str(home.write_config())]) == Exit.USAGE
    )
