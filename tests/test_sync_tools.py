"""The recipes of service/recipes.md with the real tools: only complete, cloaked photos arrive at the other end.

Everything talks on the loopback interface only.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import DaemonProcess, Home
from twins import is_cloaked, make_photo

Start = Callable[..., DaemonProcess]
Wait = Callable[..., None]
PHOTOS = 20
ARRIVE_S = 120.0
SYNC_IGNORES = Path(__file__).parents[1] / "service" / "sync.stignore"


@dataclass(frozen=True, slots=True)
class Share:
    """One end of a Syncthing folder. kind: as in its settings."""

    label: str
    path: Path
    kind: str


class Syncthing:
    """One instance that knows one other, and nobody else."""

    def __init__(self, home: Path) -> None:
        self._home = home
        command = ["syncthing", "generate", "--home", str(home), "--no-default-folder", "--skip-port-probing"]
        subprocess.run(command, check=True, capture_output=True)
        self._config = ET.parse(home / "config.xml")  # made by the line above
        self.port = free_port()
        device = self._config.find("device")
        assert device is not None
        self.id = device.attrib["id"]

    def join(self, other: Syncthing, shares: list[Share]) -> None:
        """Write the configuration: these folders, shared with the other instance."""
        root = self._config.getroot()
        stranger = ET.SubElement(root, "device", {"id": other.id, "name": "other"})
        ET.SubElement(stranger, "address").text = f"tcp://127.0.0.1:{other.port}"
        for share in shares:
            folder = ET.SubElement(
                root,
                "folder",
                {
                    "id": share.label,
                    "path": str(share.path),
                    "type": share.kind,
                    "fsWatcherEnabled": "true",
                    "fsWatcherDelayS": "1",
                    "rescanIntervalS": "10",
                },
            )
            for one in (self.id, other.id):
                ET.SubElement(folder, "device", {"id": one})
        for name, value in {
            "gui/address": f"127.0.0.1:{free_port()}",
            "options/listenAddress": f"tcp://127.0.0.1:{self.port}",
            "options/globalAnnounceEnabled": "false",
            "options/localAnnounceEnabled": "false",
            "options/relaysEnabled": "false",
            "options/natEnabled": "false",
            "options/crashReportingEnabled": "false",
            "options/urAccepted": "-1",
            "options/autoUpgradeIntervalH": "0",
            "options/startBrowser": "false",
            "options/reconnectionIntervalS": "5",
        }.items():
            setting = self._config.find(name)
            assert setting is not None, name
            setting.text = value
        self._config.write(self._home / "config.xml")

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Run it until the block ends."""
        with (self._home / "log").open("wb") as log:
            process = subprocess.Popen(
                ["syncthing", "serve", "--home", str(self._home), "--no-browser", "--no-restart"],
                env={"HOME": str(self._home), "PATH": "/usr/bin:/bin", "GOMAXPROCS": "1", "STNOUPGRADE": "1"},
                stdout=log,
                stderr=log,
            )
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def names(folder: Path) -> list[str]:
    """What a person sees in a folder: no hidden files, which tools keep for themselves."""
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return sorted(str(path) for path in files if not any(part.startswith(".") for part in path.parts))


def expected() -> list[str]:
    return sorted(f"trip/{number}.jpg" for number in range(PHOTOS))


def all_cloaked(folder: Path) -> bool:
    """Whether everything in the folder is whole and cloaked; a file that just vanished is not there."""
    found = []
    for name in names(folder):
        with contextlib.suppress(FileNotFoundError):
            found.append(is_cloaked((folder / name).read_bytes()))
    return all(found)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("syncthing") is None, reason="syncthing is not installed")
def test_syncthing_from_a_phone_to_a_gallery_brings_cloaked_photos_only(
    home: Home, tmp_path: Path, start: Start, eventually: Wait
) -> None:
    camera, gallery = tmp_path / "camera", tmp_path / "gallery"
    for folder in (camera / "trip", gallery):
        folder.mkdir(parents=True)
    shutil.copy(SYNC_IGNORES, home.sync / ".stignore")
    here, phone = Syncthing(tmp_path / "st-here"), Syncthing(tmp_path / "st-phone")
    here.join(phone, [Share("in", home.outbox, "receiveonly"), Share("out", home.sync, "sendonly")])
    phone.join(here, [Share("in", camera, "sendonly"), Share("out", gallery, "receiveonly")])
    daemon = start(home.settings)

    with here.running(), phone.running():
        for number in range(PHOTOS):
            (camera / "trip" / f"{number}.jpg").write_bytes(make_photo(seed=number))

        def arrived() -> bool:
            assert all_cloaked(gallery)
            return names(gallery) == expected()

        eventually(arrived, within_s=ARRIVE_S)

    assert all_cloaked(gallery)
    hidden = {path.name for path in gallery.iterdir() if path.name.startswith(".")}
    assert hidden <= {".stfolder"}, "neither the marker nor the staging folder is anybody else's business"
    assert names(camera) == expected()
    assert daemon.stop() == 0


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("rclone") is None, reason="rclone is not installed")
def test_rclone_brings_cloaked_photos_only(
    home: Home, tmp_path: Path, start: Start, eventually: Wait
) -> None:
    remote = tmp_path / "remote"
    (tmp_path / "rclone.conf").write_text(f"[cloud]\ntype = alias\nremote = {remote}\n")
    rclone = ["rclone", "--config", str(tmp_path / "rclone.conf")]
    (home.outbox / "trip").mkdir()
    daemon = start(home.settings)
    for number in range(PHOTOS):
        (home.outbox / "trip" / f"{number}.jpg").write_bytes(make_photo(seed=number))

    def arrived() -> bool:
        subprocess.run(
            [*rclone, "copy", "--exclude", ".fawkesd-*", "--transfers", "1", str(home.sync), "cloud:"],
            check=True,
            capture_output=True,
        )
        assert all_cloaked(remote)
        return names(remote) == expected()

    eventually(arrived, within_s=ARRIVE_S)
    assert [path.name for path in remote.iterdir()] == ["trip"]
    assert daemon.stop() == 0
