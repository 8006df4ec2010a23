"""What GNU OpenMP and glibc read in an engine's process, and what nobody else gets."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from textwrap import dedent

import pytest
from conftest import Home
from faulty import FACTORY, Counter, needs_root
from twins import make_photo

from daemon.service.run import once
from daemon.workers.environment import engine_environment


@pytest.fixture(autouse=True)
def _without_a_spin_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOMP_SPINCOUNT")  # conftest sets it


def test_what_an_engine_gets_is_not_kept() -> None:
    before = dict(os.environ)

    with engine_environment():
        assert os.environ["GOMP_SPINCOUNT"] == "3000"

    assert dict(os.environ) == before


def test_an_engine_in_a_commands_own_process_spins_as_long_and_keeps_its_environment() -> None:
    program = (
        "import os; before = dict(os.environ); from daemon.workers.environment import load_torch; "
        "load_torch(); assert dict(os.environ) == before"
    )
    shown = {"OMP_DISPLAY_ENV": "verbose"}  # GNU OpenMP prints what it has read

    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | shown, capture_output=True, text=True, check=True
    )

    assert "GOMP_SPINCOUNT = '3000'" in done.stderr


@pytest.mark.skipif(
    not version("torchvision").startswith("0.29."), reason="other versions load what they like"
)
def test_pytorchs_compiler_is_loaded_for_who_uses_it_alone() -> None:
    program = """
        import sys
        from daemon.workers.environment import load_torch
        load_torch()
        import fawkes_engine.engine
        assert not {"torch._dynamo", "sympy", "triton"} & set(sys.modules)

        import torch
        import torchvision.ops
        square = torch.compile(lambda x: x * x, backend="eager")
        assert square(torch.full((1,), 3.0)).item() == 9
        assert "torch._dynamo.eval_frame" in sys.modules
        boxes = torch.tensor([[0.0, 0.0, 0.0, 4.0, 4.0]])
        assert torchvision.ops.roi_align(torch.ones(1, 1, 8, 8), boxes, (2, 2)).eq(1).all()
    """

    done = subprocess.run(
        [sys.executable, "-c", dedent(program)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


def test_a_spin_count_of_the_users_own_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")

    with engine_environment():
        assert os.environ["GOMP_SPINCOUNT"] == "7"
    assert os.environ["GOMP_SPINCOUNT"] == "7"


def test_an_engine_starts_though_the_working_directory_is_gone(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here").rmdir()

    assert once(home.settings, Counter(), FACTORY).published == 1


@needs_root
def test_a_working_directory_that_the_account_may_not_enter_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after `sudo -u photos` in the home of an administrator."""
    (tmp_path / "home").mkdir(mode=0o700)
    monkeypatch.chdir(tmp_path / "home")
    os.seteuid(pwd.getpwnam("nobody").pw_uid)
    try:
        with engine_environment():
            assert Path.cwd() == Path("/")
    finally:
        os.seteuid(0)
