"""Cloak on share, against a twin of immich's HTTP API on this machine (the requests of its documentation, 1.137)."""

from __future__ import annotations

import email
import email.policy
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from web import serving

ROOT = Path(__file__).parents[1]
KEY = "key-of-immich"
# In place of fawkesd
REVERSES = """#!{python}
import sys
assert sys.argv[1:] == ["cloak", "-", "--user", "ada"]
photo = sys.stdin.buffer.read()
codes = {{b"faceless": 1, b"crashes": 70, b"no target": 69}}
sys.exit(codes[photo]) if photo in codes else sys.stdout.buffer.write(photo[::-1])
"""


class Twin:
    """Albums and assets; `broken` makes uploads fail, `moved_to` is where requests are sent on to."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.names: dict[str, str] = {}
        self.albums: dict[str, list[str]] = {"mine": [], "shared": []}
        self.broken = False
        self.moved_to = ""
        self.asked: list[str] = []
        self.http = HTTPServer(("127.0.0.1", 0), type("OfThis", (Handler,), {"twin": self}))
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"

    def add(self, asset: str, data: bytes, name: str, album: str | None = None) -> None:
        self.files[asset], self.names[asset] = data, name
        if album is not None:
            self.albums[album].append(asset)

    def described(self, asset: str) -> dict[str, object]:
        time = "2026-05-04T03:02:01.000Z"
        kind = "VIDEO" if self.names[asset].endswith(".mp4") else "IMAGE"
        return {
            "id": asset,
            "type": kind,
            "originalFileName": self.names[asset],
            "fileCreatedAt": time,
            "fileModifiedAt": time,
            "isTrashed": False,
        }


class Handler(BaseHTTPRequestHandler):
    twin: Twin

    def do_GET(self) -> None:
        self.twin.asked.append("a redirect was followed" if self.twin.moved_to else "original")
        match self._path():
            case ["assets", asset, "original"]:
                self._answer(200, self.twin.files[asset])

    def do_POST(self) -> None:
        path = self._path()
        self.twin.asked.append(path[0])
        if self.twin.moved_to:
            self.send_response(302)
            self.send_header("Location", f"{self.twin.moved_to}{self.path}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        match path:
            case ["search", "metadata"]:
                self._search(json.loads(self._body()))
            case ["assets"]:
                self._upload(self._body())

    def _search(self, wanted: dict[str, Any]) -> None:
        """Two assets a page."""
        assets = [self.twin.described(one) for one in self.twin.albums[wanted["albumIds"][0]]]
        found = [one for one in assets if one["type"] == wanted["type"]]
        end = 2 * wanted["page"]
        page = {"items": found[end - 2 : end], "nextPage": str(wanted["page"] + 1) if found[end:] else None}
        self._answer(200, json.dumps({"assets": page}).encode())

    def _upload(self, body: bytes) -> None:
        if self.twin.broken:
            self._answer(500, b"{}")
            return
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        form = email.message_from_bytes(head + body, policy=email.policy.HTTP)
        parts = {part.get_param("name", header="content-disposition"): part for part in form.iter_parts()}
        assert set(parts) == {"deviceAssetId", "deviceId", "fileCreatedAt", "fileModifiedAt", "assetData"}
        data = parts["assetData"].get_payload(decode=True)
        assert isinstance(data, bytes)
        copy = f"copy-{len(self.twin.files)}"
        self.twin.add(copy, data, str(parts["assetData"].get_filename()))
        self._answer(201, json.dumps({"id": copy, "status": "created"}).encode())

    def do_PUT(self) -> None:
        match self._path():
            case ["albums", album, "assets"]:
                ids = json.loads(self._body())["ids"]
                self.twin.albums[album] += ids
                self._answer(200, json.dumps([{"id": one, "success": True} for one in ids]).encode())

    def _path(self) -> list[str]:
        assert self.headers["x-api-key"] == KEY
        return self.path.removeprefix("/api/").split("/")

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        return


@pytest.fixture
def immich() -> Iterator[Twin]:
    twin = Twin()
    with serving(twin.http):
        yield twin


def share(immich: Twin, tmp_path: Path, content: str = f"{KEY}\n") -> subprocess.CompletedProcess[str]:
    key = tmp_path / "key"
    key.write_text(content)
    command = [sys.executable, str(ROOT / "service" / "immich-share.py"), immich.url, "--key-file", str(key)]
    program = tmp_path / "fawkesd-twin"
    program.write_text(REVERSES.format(python=sys.executable))
    program.chmod(0o700)
    command += ["--from", "mine", "--to", "shared", "--user", "ada", "--fawkesd", str(program)]
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path), "no_proxy": "*"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_only_cloaked_copies_are_shared_each_once(immich: Twin, tmp_path: Path) -> None:
    immich.add("a", b"first", 'Fête "1".jpg', "mine")
    immich.add("b", b"\xaa\xff\xd8\xff"[::-1] + b"\xff\xd8\xff"[::-1], "b.heic", "mine")
    immich.add("clip", b"film", "c.mp4", "mine")

    assert share(immich, tmp_path).returncode == 0
    immich.add("d", b"later", "d.jpg", "mine")
    assert share(immich, tmp_path).returncode == 0
    assert share(immich, tmp_path).returncode == 0

    shared = [(immich.names[one], immich.files[one]) for one in immich.albums["shared"]]
    assert [name for name, _data in shared] == ["Fête %221%22.jpg", "b.jpg", "d.jpg"]
    assert [data for _name, data in shared] == [immich.files[one][::-1] for one in ("a", "b", "d")]


def test_what_is_held_is_not_shared_and_what_failed_is_tried_again(immich: Twin, tmp_path: Path) -> None:
    immich.add("x", b"faceless", "x\x1b.jpg", "mine")
    immich.add("a", b"first", "a.jpg", "mine")
    immich.broken = True
    done = share(immich, tmp_path)
    assert (done.returncode, immich.albums["shared"]) == (69, [])
    assert KEY not in done.stderr

    immich.broken = False
    done = share(immich, tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("'x\\x1b.jpg' is not shared: ")
    assert [immich.files[one] for one in immich.albums["shared"]] == [b"tsrif"]


def test_a_photo_that_fails_holds_up_no_other(immich: Twin, tmp_path: Path) -> None:
    immich.add("x", b"crashes", "x.jpg", "mine")
    immich.add("a", b"first", "a.jpg", "mine")

    assert share(immich, tmp_path).returncode == 1
    assert [immich.files[one] for one in immich.albums["shared"]] == [b"tsrif"]


def test_what_would_fail_for_every_photo_ends_the_run(immich: Twin, tmp_path: Path) -> None:
    immich.add("x", b"no target", "x.jpg", "mine")
    immich.add("a", b"first", "a.jpg", "mine")

    assert share(immich, tmp_path).returncode == 69
    assert immich.albums["shared"] == []


def test_a_redirect_does_not_get_the_key(immich: Twin, tmp_path: Path) -> None:
    immich.moved_to = immich.url.replace("127.0.0.1", "localhost")

    assert share(immich, tmp_path).returncode == 69
    assert immich.asked == ["search"]


@pytest.mark.parametrize("text", ["# my key\n{KEY}", "“{KEY}”", ""])
def test_a_file_that_is_no_key_is_told_without_it(immich: Twin, tmp_path: Path, text: str) -> None:
    done = share(immich, tmp_path, text.format(KEY=KEY))

    assert done.returncode == 69
    assert "holds no key" in done.stderr
    assert KEY not in done.stderr


def test_a_server_that_is_away_is_told(tmp_path: Path, immich: Twin) -> None:
    immich.url = "http://127.0.0.1:1"

    assert share(immich, tmp_path).returncode == 69
