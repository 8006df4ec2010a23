"""Engines on other machines: a real scheduler and real nodes on loopback, with the tiny engine."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import ssl
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import DaemonProcess, Home
from faulty import column, reasons, states
from twins import Deed, is_cloaked, make_photo

pytest.importorskip("distributed", reason="the extra `cluster` is not installed")

import psutil
from cluster_twins import FACTORY, TinyCluster, ended, free_port, photos, tiny_cluster, worker_of

from daemon.cluster import certificates
from daemon.config.cluster import host_and_port
from daemon.doctor import cluster as doctor
from daemon.errors import ConfigError
from daemon.state import nodes
from daemon.state.targets import FileTargetStore
from daemon.status import status
from daemon.status.status_text import status_lines

Start = Callable[..., DaemonProcess]
Wait = Callable[..., None]


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates of a cluster."""
    folder = tmp_path_factory.mktemp("keys") / "certificates"
    certificates.make(folder)
    return folder


@pytest.fixture
def cluster(tmp_path: Path, keys: Path) -> Iterator[TinyCluster]:
    """A scheduler without nodes."""
    with tiny_cluster(tmp_path / "cluster", keys) as one:
        yield one


@pytest.fixture
def served(home: Home, cluster: TinyCluster) -> Home:
    """The home of somebody whose photos the cluster cloaks."""
    engine = home.settings.engine.model_copy(
        update={"device": f"cluster:{cluster.url}", "certificates": cluster.certificates / "coordinator"}
    )
    return Home(home.outbox, home.sync, home.settings.model_copy(update={"engine": engine}))


def export(home: Home, count: int) -> None:
    for number, data in enumerate(photos(count)):
        (home.outbox / f"{number:03}.jpg").write_bytes(data)


def told_of_nodes(home: Home) -> list[str]:
    """What `status` says of the nodes."""
    return sorted(line for line in status_lines(status.read(home.settings)) if line.startswith("  node "))


def assert_all_cloaked(home: Home, count: int) -> None:
    assert len(home.published()) == count
    assert all(is_cloaked((home.sync / name).read_bytes()) for name in home.published())


def test_photos_are_cloaked_by_nodes_and_published_here(
    served: Home, cluster: TinyCluster, start: Start, eventually: Wait
) -> None:
    cluster.start_node("first")
    cluster.start_node("second")
    export(served, 30)
    start(served.settings, factory=FACTORY)

    eventually(lambda: len(served.published()) == 30)
    assert_all_cloaked(served, 30)
    assert FileTargetStore(served.settings.targets_dir).people() == ["ada"]
    both = ["  node first on abacus: 0 in work", "  node second on abacus: 0 in work"]
    eventually(lambda: [line.split(",")[0] for line in told_of_nodes(served)] == both)
    assert all("last seen" in line for line in told_of_nodes(served))


def test_a_killed_nodes_photos_are_done_by_another(
    served: Home, cluster: TinyCluster, start: Start, eventually: Wait
) -> None:
    cluster.hold.touch()
    killed = cluster.start_node("first")
    export(served, 12)
    start(served.settings, factory=FACTORY)
    eventually(lambda: any(node.in_work for node in nodes.read(served.state_dir)))
    worker = worker_of(killed)
    assert worker is not None

    cluster.start_node("second")
    os.kill(killed.pid, signal.SIGKILL)
    eventually(lambda: ended(worker))  # it dies with its parent
    cluster.hold.unlink()

    eventually(lambda: len(served.published()) == 12)
    assert_all_cloaked(served, 12)


def test_a_killed_engine_comes_back(
    served: Home, cluster: TinyCluster, start: Start, eventually: Wait
) -> None:
    cluster.hold.touch()
    node = cluster.start_node()
    export(served, 5)
    start(served.settings, factory=FACTORY)
    eventually(lambda: any(one.in_work for one in nodes.read(served.state_dir)))
    worker = worker_of(node)
    assert worker is not None

    os.kill(worker, signal.SIGKILL)
    cluster.hold.unlink()

    eventually(lambda: len(served.published()) == 5)
    assert_all_cloaked(served, 5)


def test_work_goes_on_after_the_scheduler_was_started_anew(
    served: Home, cluster: TinyCluster, start: Start, eventually: Wait
) -> None:
    cluster.hold.touch()
    cluster.start_node()
    export(served, 5)
    start(served.settings, factory=FACTORY)
    eventually(lambda: any(one.in_work for one in nodes.read(served.state_dir)))

    cluster.scheduler.kill()
    cluster.scheduler.wait()
    cluster.hold.unlink()
    cluster.start_scheduler()

    eventually(lambda: len(served.published()) == 5)
    assert_all_cloaked(served, 5)


def test_a_node_with_another_engine_is_refused(
    served: Home, cluster: TinyCluster, start: Start, eventually: Wait
) -> None:
    cluster.start_node("stranger", "cluster_twins:make_other_engine", "tiny-2")
    export(served, 3)
    daemon = start(served.settings, factory=FACTORY)

    eventually(lambda: [one.refused for one in nodes.read(served.state_dir) if one.refused])
    (stranger,) = nodes.read(served.state_dir)
    assert "its engine is tiny-2" in (stranger.refused or "")
    eventually(lambda: "no node that may work" in daemon.log)  # put off, without counting against the photos
    assert not served.published()
    assert not reasons(served)

    cluster.start_node("right")
    eventually(lambda: len(served.published()) == 3)


def test_a_node_that_claims_another_engine_than_it_has_does_not_start(
    cluster: TinyCluster, eventually: Wait
) -> None:
    node = cluster.start_node("liar", "cluster_twins:make_other_engine")

    eventually(lambda: node.poll() is not None)
    assert "tiny-2" in cluster.log


def test_a_photo_that_comes_back_clean_is_held(
    served: Home, cluster: TinyCluster, start: Start, eventually: Wait
) -> None:
    cluster.start_node("liar", "cluster_twins:make_dishonest_engine")
    export(served, 2)
    start(served.settings, factory=FACTORY)

    eventually(lambda: states(served) == ["held", "held"])
    assert "what the node liar returned is not published" in reasons(served)[0]
    assert not served.published()


def test_what_may_not_be_published_is_made_once_more(
    served: Home, cluster: TinyCluster, start: Start, eventually: Wait
) -> None:
    cluster.start_node("forgetful", "cluster_twins:make_forgetful_engine")
    export(served, 3)
    daemon = start(served.settings, factory=FACTORY)

    eventually(lambda: len(served.published()) == 3)
    assert_all_cloaked(served, 3)
    assert daemon.log.count("what the node forgetful returned is not published") == 3


def test_photos_that_end_or_fail_engines_are_held_and_the_others_published(
    served: Home, cluster: TinyCluster, start: Start, eventually: Wait
) -> None:
    cluster.start_node("first")
    cluster.start_node("second")
    export(served, 4)
    for deed in (Deed.DIE, Deed.RAISE, Deed.REFUSE):
        (served.outbox / f"{deed.name}.jpg").write_bytes(make_photo(deed))
    start(served.settings, factory=FACTORY)

    eventually(lambda: len(reasons(served)) == 3 and len(served.published()) == 4, within_s=240)
    assert_all_cloaked(served, 4)
    assert sum("the engine stopped twice" in reason for reason in reasons(served)) == 2


def test_status_tells_how_far_a_node_is(
    served: Home, cluster: TinyCluster, start: Start, eventually: Wait
) -> None:
    cluster.hold.touch()
    cluster.start_node("first")
    export(served, 3)
    start(served.settings, factory=FACTORY)

    eventually(lambda: any("cloaking, 25%" in line for line in status_lines(status.read(served.settings))))
    cluster.hold.unlink()
    eventually(lambda: len(served.published()) == 3)


def test_what_a_node_hangs_on_is_given_to_another(
    served: Home, cluster: TinyCluster, start: Start, eventually: Wait
) -> None:
    engine = served.settings.engine.model_copy(update={"photo_timeout_s": 60.0})
    hung = cluster.start_node("first")
    export(served, 6)
    cluster.hold.touch()
    daemon = start(served.settings.model_copy(update={"engine": engine}), factory=FACTORY)
    eventually(lambda: any(one.in_work for one in nodes.read(served.state_dir)))
    worker = worker_of(hung)
    assert worker is not None
    os.kill(worker, signal.SIGSTOP)
    cluster.hold.unlink()
    cluster.start_node("second")

    eventually(lambda: len(served.published()) == 6)
    assert_all_cloaked(served, 6)
    assert "is started anew" in daemon.log
    assert "made no progress" not in daemon.log  # the engine process was not killed for it


def test_two_nodes_that_meet_somebody_at_the_same_moment_end_with_one_target(
    served: Home, cluster: TinyCluster, start: Start, eventually: Wait
) -> None:
    cluster.hold.touch()
    cluster.start_node("first", "cluster_twins:make_meeting_engine")
    cluster.start_node("second", "cluster_twins:make_meeting_engine")
    eventually(lambda: cluster.log.count("Registered to") >= 2)
    export(served, 12)
    start(served.settings, factory=FACTORY)
    eventually(lambda: [node.in_work > 0 for node in nodes.read(served.state_dir)] == [True, True])
    cluster.hold.unlink()

    eventually(lambda: len(served.published()) == 12)
    (user, stranger) = FileTargetStore(served.settings.targets_dir).people()
    assert user == "ada"
    shown = {face["person"] for text in column(served, "report") for face in json.loads(text)["faces"]}
    assert shown == {stranger}
    worked = [int(number) for number in re.findall(r"the tiny engine works on (\d+)", cluster.log)]
    assert sum(worked) > 12  # who was met twice had some of the photos computed again


def test_a_node_ends_at_sigterm_and_leaves_nothing(cluster: TinyCluster, eventually: Wait) -> None:
    node = cluster.start_node()
    eventually(lambda: "Registered to" in cluster.log)
    worker = worker_of(node)
    assert worker is not None

    node.terminate()

    assert node.wait() == 0
    assert ended(worker)


def test_photos_wait_while_nobody_answers(
    served: Home, cluster: TinyCluster, start: Start, eventually: Wait
) -> None:
    cluster.scheduler.kill()
    cluster.scheduler.wait()
    export(served, 3)
    daemon = start(served.settings, factory=FACTORY)
    eventually(lambda: "does not answer" in daemon.log)
    assert not reasons(served)
    (found,) = doctor.findings(served.settings.engine)
    assert "cannot be reached" in found.message

    cluster.start_scheduler()
    cluster.start_node()

    eventually(lambda: len(served.published()) == 3)


def test_keys_are_private_and_never_replaced(keys: Path) -> None:
    private = [keys / "ca-key.pem", *keys.glob("*/key.pem")]
    assert len(private) == 4
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in private)
    with pytest.raises(Exception, match="never replaced"):
        certificates.make(keys)


def test_only_who_has_a_certificate_is_heard(cluster: TinyCluster, tmp_path: Path, eventually: Wait) -> None:
    """Another authority's certificate, or none, does not reach the scheduler."""
    host, port = host_and_port(cluster.url)
    eventually(lambda: "Scheduler at" in cluster.log)
    certificates.make(tmp_path / "others")
    for folder, fits in ((cluster.certificates, True), (tmp_path / "others", False)):
        context = certificates.security(cluster.url, folder / "node").get_connection_args("client")[
            "ssl_context"
        ]
        with socket.create_connection((host, port)) as raw, contextlib.ExitStack() as stack:
            if not fits:
                stack.enter_context(pytest.raises((ssl.SSLError, ConnectionError)))
            with context.wrap_socket(raw) as wrapped:
                assert wrapped.recv(1)
    with socket.create_connection((host, port)) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert not raw.recv(1).startswith(b"H")


def test_scheduler_and_nodes_listen_only_where_the_scheduler_is(
    cluster: TinyCluster, eventually: Wait
) -> None:
    cluster.url = f"tls://127.0.0.2:{free_port()}"
    scheduler, node = cluster.start_scheduler(), cluster.start_node()
    eventually(lambda: "Registered to" in cluster.log)

    both = [psutil.Process(scheduler.pid), psutil.Process(node.pid), psutil.Process(worker_of(node))]
    open_to = {
        one.laddr.ip for process in both for one in process.net_connections() if one.status == "LISTEN"
    }
    assert open_to <= {"127.0.0.2", "127.0.0.1"}


def test_a_key_that_others_can_read_is_refused(keys: Path, tmp_path: Path) -> None:
    mine = tmp_path / "node"
    shutil.copytree(keys / "node", mine)
    (mine / "key.pem").chmod(0o644)

    with pytest.raises(ConfigError, match="chmod 600"):
        certificates.security("tls://127.0.0.1:8786", mine)
    with pytest.raises(ConfigError, match="is missing; make certificates"):
        certificates.security("tls://127.0.0.1:8786", tmp_path)
