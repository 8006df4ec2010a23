"""Sync folders without hard links: refused by seccomp for the whole daemon, and real disks that can be mounted."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Home
from faulty import FACTORY, Counter, Start, Wait, fact, make_disk, mount, needs_root, reasons, states, unmount
from nolinks import NO_LINKS, NO_LINKS_NO_FLAG, needs_seccomp
from twins import is_cloaked, make_photo, protected

from daemon.batch.output_folder import NotWritten, OutputFolder, Written
from daemon.doctor import folders
from daemon.doctor.findings import Finding, Level
from daemon.fs.mounts import kind_of
from daemon.publish.marker import MARKER_NAME
from daemon.service.run import once
from daemon.state import facts
from daemon.state.history import reading

Disk = Callable[[str], Path]


def on(disk: Path, home: Home) -> Home:
    """The same home with its sync and staging folders on a disk of their own."""
    (user,) = home.settings.users
    user = user.model_copy(update={"sync": disk / "sync"})
    user.sync.mkdir()
    return replace(home, sync=user.sync, settings=home.settings.model_copy(update={"users": (user,)}))


def doctor(home: Home) -> list[Finding]:
    (user,) = home.settings.users
    with reading(home.state_dir) as history:
        return [finding for finding in folders.sync(user, history, None) if "renam" in finding.message]


def left_in_staging(home: Home) -> list[str]:
    (user,) = home.settings.users
    return [path.name for path in user.staging_dir.iterdir()]


@needs_seccomp
def test_photos_are_published_replaced_and_never_over_a_foreign_file(
    home: Home, start: Start, eventually: Wait
) -> None:
    (home.sync / "a.jpg").write_bytes(b"mine")
    (home.outbox / "a.jpg").write_bytes(make_photo(seed=1))
    (home.outbox / "b.jpg").write_bytes(make_photo(seed=2))
    start(home.settings, under=NO_LINKS)
    eventually(
        lambda: home.published() == ["a.jpg", "a~2.jpg", "b.jpg"] and set(states(home)) == {"published"}
    )
    first = (home.sync / "b.jpg").read_bytes()

    (home.outbox / "b.jpg").write_bytes(make_photo(seed=3))

    eventually(lambda: (home.sync / "b.jpg").read_bytes() != first and states(home)[-1] == "published")
    assert home.published() == ["a.jpg", "a~2.jpg", "b.jpg"]
    assert (home.sync / "a.jpg").read_bytes() == b"mine"
    assert is_cloaked((home.sync / "b.jpg").read_bytes())
    assert left_in_staging(home) == ["lock"]


@needs_seccomp
def test_with_no_way_in_the_user_is_paused_and_told_what_helps(
    home: Home, start: Start, eventually: Wait
) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())
    daemon = start(home.settings, under=NO_LINKS_NO_FLAG)
    eventually(lambda: "user ada: paused" in daemon.log)
    eventually(lambda: states(home) == ["ready"])

    told = fact(home, facts.PAUSED + "ada")
    assert told is not None
    assert f"({kind_of(home.sync.stat().st_dev) or 'of an unknown kind'})" in told
    assert "choose a sync folder on" in told
    assert [path.name for path in home.sync.iterdir()] == [MARKER_NAME]
    assert left_in_staging(home) == ["lock"]
    daemon.stop()

    start(home.settings)  # as on a disk where it can be done

    eventually(lambda: home.published() == ["a.jpg"])


@contextlib.contextmanager
def image_of(kind: str, path: Path) -> Iterator[Path]:
    """A loop device of a fresh file system; skips the test where none can be made."""
    make_disk(path, kind, 64 << 20)
    found = subprocess.run(["losetup", "--find", "--show", path], capture_output=True, text=True, check=False)
    if found.returncode != 0:
        pytest.skip(f"no loop device can be had: {found.stderr}")
    device = Path(found.stdout.strip())
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Mounts a disk of one kind, as desktops do; skips the test where this kernel cannot."""
    with contextlib.ExitStack() as stack:

        def mounted(kind: str) -> Path:
            device = stack.enter_context(image_of(kind, tmp_path / "image"))
            place = tmp_path / "disk"
            place.mkdir()
            try:
                mount("-t", kind, "-o", "utf8" if kind == "vfat" else "rw", device, place)
            except subprocess.CalledProcessError as exc:
                pytest.skip(f"{kind} cannot be mounted here: {exc.stderr}")
            stack.callback(unmount, place)
            return place

        yield mounted


@needs_root
@pytest.mark.parametrize("kind", ["vfat", "exfat"])
def test_a_real_disk_of_a_camera_or_a_stick_is_published_to(
    home: Home, disk: Disk, kind: str, start: Start, eventually: Wait
) -> None:
    home = on(disk(kind), home)
    names = ["Straße 日本.jpg", "IMG_0001.JPG", "a very long name that has a short one.jpg", "AVERYL~1.jpg"]
    for number, name in enumerate(names):
        (home.outbox / name).write_bytes(make_photo(seed=number))
    for bad in ("a:b?.jpg", "n" * 250 + ".jpg", "trip*/c.jpg"):
        (home.outbox / bad).parent.mkdir(exist_ok=True)
        (home.outbox / bad).write_bytes(make_photo(seed=9))
    start(home.settings)
    eventually(lambda: sorted(states(home)) == ["held"] * 2 + ["published"] * 5)

    assert len(home.published()) == 5
    assert all(is_cloaked((home.sync / name).read_bytes()) for name in home.published())
    assert all(
        re.search(rf"file system \({kind}\) accepts no .*; rename the file", why) for why in reasons(home)
    )
    (home.outbox / "IMG_0001.JPG").write_bytes(make_photo(seed=20))
    eventually(lambda: states(home).count("superseded") == 1 and states(home).count("published") == 5)
    assert len(home.published()) == 5
    assert left_in_staging(home) == ["lock"]
    (found,) = doctor(home)
    assert (found.level, found.message) == (
        Level.FINE,
        "photos are moved in by renaming: this file system has no hard links",
    )


@needs_root
@pytest.mark.parametrize("kind", ["vfat", "exfat"])
def test_named_photos_are_written_to_a_real_disk_of_a_stick(disk: Disk, kind: str, tmp_path: Path) -> None:
    place = disk(kind)
    photos = [tmp_path / name for name in ("a.jpg", "b?.jpg")]
    for photo in photos:
        photo.write_bytes(make_photo())
    output = OutputFolder(photos, place, force=False)

    good, bad = (output.write(photo, protected(make_photo(seed=1))) for photo in photos)

    assert isinstance(good, Written)
    assert isinstance(bad, NotWritten)
    assert "accepts no ? in a name" in bad.reason
    assert [path.name for path in place.iterdir()] == ["a.jpg"]
    again = OutputFolder(photos, place, force=False).write(photos[0], protected(make_photo(seed=2)))
    assert isinstance(again, NotWritten)
    assert (place / "a.jpg").read_bytes() == make_photo(seed=1)


@needs_root
def test_a_stick_mounted_by_an_old_fuse_program_is_named(home: Home, tmp_path: Path) -> None:
    program = shutil.which("mount.exfat-fuse")
    if program is None or not Path("/dev/fuse").exists():
        pytest.skip("exfat-fuse, or /dev/fuse, is not there")
    (tmp_path / "disk").mkdir()
    with image_of("exfat", tmp_path / "image") as device:
        subprocess.run([program, device, tmp_path / "disk"], check=True, capture_output=True)
        try:
            home = on(tmp_path / "disk", home)
            (home.outbox / "a.jpg").write_bytes(make_photo())
            (reason,) = once(home.settings, Counter(), FACTORY).unavailable
            assert "(fuseblk) has neither hard links nor renames" in reason
            (found,) = doctor(home)
        finally:
            unmount(tmp_path / "disk")

    assert states(home) == ["ready"]
    assert (found.level, "FUSE" in found.advice) == (Level.FAULT, True)


@needs_root
def test_a_cloud_mounted_by_rclone_is_named(home: Home, tmp_path: Path) -> None:
    """Its answer to a link is that of a broken disk."""
    program = shutil.which("rclone")
    if program is None or not Path("/dev/fuse").exists():
        pytest.skip("rclone, or /dev/fuse, is not there")
    disk, remote = tmp_path / "disk", tmp_path / "remote"
    disk.mkdir()
    remote.mkdir()
    options = ["--config=", "--daemon", "--vfs-cache-mode=writes", f"--cache-dir={tmp_path / 'cache'}"]
    command = [program, "mount", str(remote), str(disk), *options]
    if subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("rclone cannot mount here")
    try:
        home = on(disk, home)
        (home.outbox / "a.jpg").write_bytes(make_photo())
        (reason,) = once(home.settings, Counter(), FACTORY).unavailable
        assert "(fuse.rclone) has neither hard links nor renames" in reason
        (found,) = doctor(home)
    finally:
        unmount(disk)

    assert states(home) == ["ready"]
    assert (found.level, "local disk" in found.advice) == (Level.FAULT, True)
