"""The benchmarks run to their end from the command line; what they measure is for people to read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from engine_pictures import encoded, portrait, somebody_else

ROOT = Path(__file__).parents[1]
PHOTOS = 20


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the benchmarks take it: users/ and others/, of one face each, in photos that differ a little."""
    root = tmp_path_factory.mktemp("faces")
    ada, eve = portrait(), somebody_else()
    joe, sue = ada[:, ::-1], eve[:, ::-1]
    people = {"users/ada": ada, "users/eve": eve, "others/joe": joe, "others/sue": sue}
    people |= {
        "others/ann": ada,
        "others/kim": eve,
    }  # of every second one of the others the target pool is made
    for person, shot in people.items():
        (root / person).mkdir(parents=True)
        for i in range(PHOTOS):
            (root / person / f"{i}.jpg").write_bytes(
                encoded(np.ascontiguousarray(shot[i:, i:]), "JPEG", quality=95)
            )
    return root


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "said"),
    [
        (
            "speedup --data DATA --photos 1 --rounds 1 --straightforward 1 --iterations 2 --tracker dlib",
            "the paper's recipe",
        ),
        ("roofline --photos 1", "GFLOP"),
        ("engine_stays", "stays in"),
        ("cost --data DATA", "batch"),
        ("memory --megapixels 0.5 --faces 1", "MiB"),
        ("calls --by-pair", "SQL statements per photo"),
        ("web --rows 2000", "photos, first page"),
        ("overhead --photos 1 --rounds 1", "on top of the engine"),
        ("residency --idle 1", "MiB"),
        ("full_load --data DATA --minutes 0.5 --every 2 --out DATA/out", "| 0."),
        ("curve --data DATA --people 2 --photos 2 --tracker dlib --steps 24", "24 steps"),
        ("warm_start --data DATA --people 1 --learned 1 --tested 2 --learning-steps 2 --steps 2", "2"),
        ("likeness --data DATA", "photos of strangers"),
        ("contact_sheet --data DATA users/ada/0.jpg --out DATA/sheet.png", ""),
        ("scan_outputs --data DATA/users/ada --limit 1", ""),
    ],
)
def test_a_benchmark_runs_to_its_end(command: str, said: str, data: Path) -> None:
    module, *arguments = command.replace("DATA", str(data)).split()
    done = subprocess.run(
        [sys.executable, "-m", f"tests.benchmarks.{module}", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
