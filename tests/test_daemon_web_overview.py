"""The first page: what it says of the machines that help."""

from __future__ import annotations

import time

import pytest
from conftest import Home
from pages import page_of, with_page

from daemon.config.settings import EngineConfig
from daemon.fs.locks import DirectoryLock
from daemon.state.nodes import NodesFile, SeenNode

pytest.importorskip("distributed", reason="the extra `cluster` is not installed")


def test_the_machines_of_a_cluster_are_shown_while_the_service_runs(home: Home) -> None:
    engine = EngineConfig(device="cluster:tls://localhost:8786")
    paged = with_page(Home(home.outbox, home.sync, home.settings.model_copy(update={"engine": engine})))
    now = time.time()
    with page_of(paged) as owner:
        NodesFile(paged.state_dir).note(
            [
                SeenNode("desk", "cuda:0", 3, 41.26, now),
                SeenNode("<old>", "cpu", 0, 0.0, now, "another\x07 version"),
            ]
        )
        stopped = owner.get("/").text
        lock = DirectoryLock(paged.state_dir)
        running = owner.get("/").text
        lock.release()

    assert "Other machines" not in stopped
    assert "cuda:0, 3 in work, 41.3 photos a minute" in running
    assert "&lt;old&gt;" in running
    assert "Refused: another\\x07 version; last seen" in running
