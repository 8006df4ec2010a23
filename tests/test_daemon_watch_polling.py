"""Outboxes whose events fail or end: they are polled or watched anew, and what was unmounted is waited for."""

from __future__ import annotations

import os
import resource
import shutil
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from conftest import DaemonProcess, Home
from faulty import NAMESPACE, fact, having, inside, limited, needs_bindfs, needs_namespace, states
from twins import Deed, make_photo

from daemon.doctor import folders
from daemon.doctor.findings import as_line
from daemon.model import Outbox
from daemon.state import facts
from daemon.state.history import reading
from daemon.status import explain, status, status_text
from daemon.watch.watcher import Arrival, Watcher

Start = Callable[..., DaemonProcess]
Wait = Callable[..., None]
NEVER_S = 86400.0  # between looks without a reason


def watching(home: Home) -> str:
    """What `status` says about it."""
    with suppress(Exception):
        return fact(home, facts.WATCHING) or ""
    return ""


def raise_limit(daemon: DaemonProcess, what: str) -> None:
    inside(daemon, "sh", "-c", f"echo 9999 > /proc/sys/user/max_inotify_{what}")


@needs_namespace
def test_without_an_instance_outboxes_are_polled_until_there_is_one(
    home: Home, start: Start, eventually: Wait
) -> None:
    daemon = start(having(home, rescan_s=NEVER_S), under=limited("instances", 0))
    (home.outbox / "a.jpg").write_bytes(make_photo())
    eventually(lambda: home.published() == ["a.jpg"])
    why = "no inotify instance left: user.max_inotify_instances is 0"
    assert watching(home) == f"polling {home.outbox} every 0.5 s ({why})"
    line = next(status_text.status_lines(status.read(home.settings)))
    assert f"watching: polling {home.outbox} every 0.5 s ({why})" in line

    raise_limit(daemon, "instances")
    eventually(lambda: watching(home) == "natively")
    (home.outbox / "b.jpg").write_bytes(make_photo(seed=1))

    eventually(lambda: home.published() == ["a.jpg", "b.jpg"])
    assert daemon.stop() == 0


@needs_namespace
def test_folders_beyond_the_limit_are_watched_once_it_is_raised(
    home: Home, start: Start, eventually: Wait
) -> None:
    folders = [home.outbox / f"{number:02}" for number in range(20)]
    for folder in folders:
        folder.mkdir()
    daemon = start(having(home, rescan_s=NEVER_S), under=limited("watches", 5))
    eventually(lambda: "user.max_inotify_watches is 5" in watching(home))

    raise_limit(daemon, "watches")
    eventually(lambda: watching(home) == "natively")
    for number, folder in enumerate(folders):
        (folder / "a.jpg").write_bytes(make_photo(seed=number))

    eventually(lambda: len(home.published()) == 20)


@contextmanager
def no_descriptors() -> Iterator[None]:
    """This process can open no file."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    kept = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
    try:
        with suppress(OSError):
            while True:
                kept.append(os.dup(0))
        yield
    finally:
        for fd in kept:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def heard() -> deque[Path]:
    return deque()


@pytest.fixture
def watcher(heard: deque[Path]) -> Iterator[Watcher]:
    def hear(arrival: Arrival) -> None:
        heard.append(arrival.path)

    one = Watcher(hear)
    one.start()
    yield one
    one.stop()


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    root = tmp_path / "outbox"
    root.mkdir()
    return Outbox("ada", root)


def test_a_process_without_descriptors_watches_as_soon_as_it_has_some(
    watcher: Watcher, outbox: Outbox, heard: deque[Path], eventually: Wait
) -> None:
    with no_descriptors():
        watcher.rearm(outbox)
        for _ in range(10):
            watcher.retry(outbox)
        said = watcher.how([outbox], 15.0)
    assert said == f"polling {outbox.root} every 15 s (no file descriptor left: RLIMIT_NOFILE is 256)"

    watcher.retry(outbox)

    assert watcher.how([outbox], 15.0) == "natively"
    (outbox.root / "a.jpg").touch()
    eventually(lambda: outbox.root / "a.jpg" in heard)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_observer_whose_reader_has_died_is_replaced(
    watcher: Watcher, outbox: Outbox, heard: deque[Path], eventually: Wait
) -> None:
    """Watchdog 7.1 keeps the watch of a folder that was moved out; two watches of one name are its end."""
    watcher.rearm(outbox)
    for times in (1, 2):
        (outbox.root / "trip").mkdir()
        eventually(lambda times=times: heard.count(outbox.root / "trip") == times)
        if times == 1:
            (outbox.root / "trip").rename(outbox.root.parent / "elsewhere")
    assert not watcher.is_deaf(outbox)
    (outbox.root / "trip").rmdir()
    (outbox.root.parent / "elsewhere").rmdir()
    eventually(lambda: watcher.is_deaf(outbox))

    watcher.rearm(outbox)

    assert not watcher.is_deaf(outbox)
    (outbox.root / "a.jpg").touch()
    eventually(lambda: outbox.root / "a.jpg" in heard)


def test_a_daemon_whose_observer_dies_goes_on(home: Home, start: Start, eventually: Wait) -> None:
    daemon = start(having(home, rescan_s=NEVER_S))
    eventually(lambda: watching(home) == "natively")
    trip, elsewhere = home.outbox / "trip", home.outbox.parent / "elsewhere"
    for number in (0, 1):
        trip.mkdir()
        (trip / f"{number}.jpg").write_bytes(make_photo(seed=number))
        eventually(lambda number=number: len(home.published()) == number + 1)
        if number == 0:
            trip.rename(elsewhere)
    shutil.rmtree(trip)
    shutil.rmtree(elsewhere)  # in this order, as above
    eventually(lambda: "ended; it is watched anew" in daemon.log)

    (home.outbox / "last.jpg").write_bytes(make_photo(seed=2))

    eventually(lambda: "last.jpg" in home.published())
    assert daemon.stop() == 0


def test_a_folder_that_is_moved_out_and_back_puts_no_warning_into_the_journal(
    home: Home, start: Start, eventually: Wait
) -> None:
    daemon = start(having(home, rescan_s=NEVER_S))
    eventually(lambda: watching(home) == "natively")
    trip, elsewhere = home.outbox / "trip", home.outbox.parent / "elsewhere"
    (trip / "deep").mkdir(parents=True)
    (trip / "deep" / "a.jpg").write_bytes(make_photo())
    eventually(lambda: home.published() == ["trip/deep/a.jpg"])

    trip.rename(elsewhere)
    elsewhere.rename(trip)
    (trip / "deep" / "b.jpg").write_bytes(make_photo(seed=1))

    eventually(lambda: home.published() == ["trip/deep/a.jpg", "trip/deep/b.jpg"])
    assert daemon.stop() == 0
    assert "Warning" not in daemon.log
    assert "atchdog" not in daemon.log


@pytest.mark.usefixtures("watcher")
def test_other_warnings_are_not_hidden() -> None:
    with pytest.raises(RuntimeWarning):
        warnings.warn("Callback with id '1' does not exist for watch 2", RuntimeWarning, stacklevel=1)


@needs_namespace
def test_what_is_mounted_below_an_outbox_is_looked_at_watched_and_waited_for(
    home: Home, start: Start, eventually: Wait, tmp_path: Path
) -> None:
    content, stick = tmp_path / "content", home.outbox / "my stick"
    content.mkdir()
    stick.mkdir()
    (content / "before.jpg").write_bytes(make_photo())
    daemon = start(having(home, rescan_s=NEVER_S), under=NAMESPACE)
    eventually(lambda: watching(home) == "natively")

    inside(daemon, "mount", "--bind", content, stick)
    eventually(lambda: home.published() == ["my stick/before.jpg"])
    (content / "held.jpg").write_bytes(make_photo(Deed.REFUSE))  # heard of: nobody looks now
    eventually(lambda: states(home) == ["published", "held"])
    home.sync.rename(tmp_path / "away")  # so that photos wait
    (content / "waits.jpg").write_bytes(make_photo(seed=1))
    eventually(lambda: states(home) == ["published", "held", "ready"] and "paused" in daemon.log)

    inside(daemon, "umount", "--lazy", stick)
    eventually(lambda: f"nothing is mounted on {stick} any more" in daemon.log)
    (tmp_path / "away").rename(home.sync)
    (home.outbox / "beside.jpg").write_bytes(make_photo(seed=2))
    eventually(lambda: states(home) == ["published", "held", "ready", "published"])
    (user,) = status.read(home.settings).users
    assert [(folder.path, folder.reason, folder.waiting) for folder in user.paused] == [
        (stick, "not mounted", 1)
    ]
    assert f"nothing is mounted on {stick}" in explain.explain(home.settings, stick / "held.jpg").notes
    with reading(home.state_dir) as history:
        found = [as_line(one) for one in folders.outboxes(home.settings, history, None)]
    assert any(f"warning  {stick}: nothing is mounted on it any more: 2 photo(s)" in line for line in found)

    inside(daemon, "mount", "--bind", content, stick)
    eventually(lambda: states(home) == ["published", "held", "published", "published"])
    (content / "after.jpg").write_bytes(make_photo(seed=3))
    eventually(lambda: "my stick/after.jpg" in home.published())
    assert status.read(home.settings).users[0].paused == ()

    inside(daemon, "umount", "--lazy", stick)
    eventually(lambda: daemon.log.count(f"nothing is mounted on {stick} any more") == 2)
    (stick / "plain.jpg").write_bytes(make_photo(seed=4))  # it is a folder like any other now
    eventually(lambda: "my stick/plain.jpg" in home.published())
    assert daemon.stop() == 0
    start(home.settings)  # and looks at all
    eventually(lambda: states(home)[:3] == ["published", "gone", "published"])


@needs_namespace
def test_a_mount_that_is_away_at_the_start_is_waited_for(
    home: Home, start: Start, eventually: Wait, tmp_path: Path
) -> None:
    content, stick = tmp_path / "content", home.outbox / "stick"
    content.mkdir()
    stick.mkdir()
    (content / "held.jpg").write_bytes(make_photo(Deed.REFUSE))
    bound = ("sh", "-c", f"mount --bind '{content}' '{stick}' && exec \"$@\"", "sh")
    daemon = start(home.settings, under=(*NAMESPACE, *bound))
    eventually(lambda: states(home) == ["held"])
    assert daemon.stop() == 0
    stick.rmdir()  # as udisks does

    (home.outbox / "a.jpg").write_bytes(make_photo())
    start(home.settings)

    eventually(lambda: states(home) == ["held", "published"])  # the first look has been before


@needs_bindfs
@needs_namespace
def test_a_share_below_an_outbox_is_polled_by_name(
    home: Home, start: Start, eventually: Wait, tmp_path: Path
) -> None:
    server, share = tmp_path / "server", home.outbox / "share"
    server.mkdir()
    share.mkdir()
    daemon = start(having(home, rescan_s=NEVER_S), under=NAMESPACE)
    eventually(lambda: watching(home) == "natively")

    inside(daemon, "bindfs", server, share)
    try:
        eventually(
            lambda: watching(home).startswith(f"polling {home.outbox} every 0.5 s ({share} is on fuse")
        )
        (server / "a.jpg").write_bytes(make_photo())  # of which no event tells
        eventually(lambda: home.published() == ["share/a.jpg"])
    finally:
        inside(daemon, "umount", "--lazy", share)
    eventually(lambda: watching(home) == "natively")
    assert daemon.stop() == 0
