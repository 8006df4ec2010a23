"""The commands `cluster` and `node` with the real engine, on a real face."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import CONFIG_NAME, DAEMON_PROGRAM, Home
from faulty import reasons
from test_end_to_end import LONG_S, portrait

pytest.importorskip("distributed", reason="the extra `cluster` is not installed")

from cluster_twins import free_port

from daemon.state import nodes
from daemon.state.targets import FileTargetStore
from daemon.workers.protocol import DEFAULT_FACTORY

Wait = Callable[..., None]
FAWKESD = [sys.executable, "-m", "daemon"]


@contextmanager
def running(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Context manager: a process, ended by SIGTERM."""
    with log.open("ab") as file:
        process = subprocess.Popen(command, stderr=file, stdout=file)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def test_a_node_cloaks_a_face_and_the_service_inspects_and_publishes_it(
    home: Home, tmp_path: Path, eventually: Wait
) -> None:
    keys, url = tmp_path / "keys", f"tls://127.0.0.1:{free_port()}"
    subprocess.run([*FAWKESD, "cluster", "certs", str(keys)], check=True)
    engine = home.settings.engine.model_copy(
        update={
            "device": f"cluster:{url}",
            "certificates": keys / "coordinator",
            "mode": "quick",
            "photo_timeout_s": LONG_S,
        }
    )
    settings = home.settings.model_copy(update={"engine": engine})
    (home.outbox / "eileen.jpg").write_bytes(portrait())
    scheduler = [*FAWKESD, "cluster", "scheduler", "--listen", url, "--certificates", str(keys / "scheduler")]
    of_node = ["--mode", "quick", "--device", "cpu", "--threads", os.environ["OMP_NUM_THREADS"]]
    node = [*FAWKESD, "node", "--scheduler", url, "--certificates", str(keys / "node"), *of_node]
    config = settings.state_dir.with_name(CONFIG_NAME)
    program = [sys.executable, "-c", DAEMON_PROGRAM, settings.model_dump_json(), "20", str(config)]
    log = tmp_path / "log"
    with running(scheduler, log), running(node, log), running([*program, DEFAULT_FACTORY], log):
        eventually(lambda: home.published() or reasons(home), within_s=LONG_S)

        assert home.published() == ["eileen.jpg"], [*reasons(home), log.read_text()]
        assert (home.sync / "eileen.jpg").read_bytes() != portrait()
        assert FileTargetStore(settings.targets_dir).people() == ["ada"]
        (seen,) = nodes.read(settings.state_dir)
        assert (seen.device, seen.refused) == ("cpu", None)
