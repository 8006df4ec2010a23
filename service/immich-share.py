#!/usr/bin/env python3
"""Cloak on share: keeps an album of immich that you share filled with cloaked copies of the photos in another album.

    immich-share.py https://photos.example.org --key-file KEY --from ALBUM-ID --to ALBUM-ID --user alice

Run it by a timer as the account that has fawkesd; docs/immich.md tells how. Only what `fawkesd cloak -` has verified is
uploaded. Exits with 1 when a photo is held or fails, and with 69 when immich or fawkesd cannot be used.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import os
import secrets
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

HELD, UNAVAILABLE, CONFIG = 1, 69, 78  # of `fawkesd cloak`
FOR_ALL = (UNAVAILABLE, CONFIG)  # would be the same for every photo
TIMEOUT_S = 60
NOT_IMMICH = (ValueError, KeyError, TypeError)  # what an answer of something else leads to


class NoRedirects(urllib.request.HTTPRedirectHandler):
    """Redirects are errors: followed, they would carry the key to another server."""

    def redirect_request(self, *_: object) -> None:
        """Follow none."""


class Immich:
    """The few requests that this needs."""

    def __init__(self, server: str, key: str) -> None:
        """server: its address, without /api."""
        self._api = f"{server.rstrip('/')}/api"
        self._key = key
        self._opener = urllib.request.build_opener(NoRedirects())

    def photos(self, album: str) -> list[dict[str, Any]]:
        """Return the pictures of an album."""
        found: list[dict[str, Any]] = []
        page: str | None = "1"
        while page is not None:
            wanted = {"albumIds": [album], "type": "IMAGE", "page": int(page)}
            assets = json.loads(self._post("/search/metadata", wanted))["assets"]
            found += assets["items"]
            page = assets["nextPage"]
        return found

    def original(self, asset: dict[str, Any]) -> bytes:
        """Return the file that was uploaded."""
        return self._ask("GET", f"/assets/{asset['id']}/original")

    def upload(self, asset: dict[str, Any], name: str, data: bytes) -> str:
        """Upload a cloaked copy with the times of its original; return its id."""
        fields = {
            "deviceAssetId": f"fawkesd-{asset['id']}-{hashlib.sha256(data).hexdigest()[:16]}",
            "deviceId": "fawkesd",
            "fileCreatedAt": asset["fileCreatedAt"],
            "fileModifiedAt": asset["fileModifiedAt"],
        }
        boundary = secrets.token_hex(16)
        lines = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
            for key, value in fields.items()
        ]
        quoted = name.translate({ord('"'): "%22", ord("\r"): "%0D", ord("\n"): "%0A"})
        lines.append(
            f'--{boundary}\r\nContent-Disposition: form-data; name="assetData"; filename="{quoted}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        body = "".join(lines).encode() + data + f"\r\n--{boundary}--\r\n".encode()
        answer = self._ask("POST", "/assets", body, f"multipart/form-data; boundary={boundary}")
        return str(json.loads(answer)["id"])

    def add(self, album: str, asset_id: str) -> None:
        """Put an asset into an album; it may be there already. Raises ValueError if immich refuses."""
        body = json.dumps({"ids": [asset_id]}).encode()
        for one in json.loads(self._ask("PUT", f"/albums/{album}/assets", body, "application/json")):
            if not one["success"] and one.get("error") != "duplicate":
                raise ValueError(f"immich does not add {asset_id} to the album: {one.get('error')}")

    def _post(self, path: str, value: object) -> bytes:
        return self._ask("POST", path, json.dumps(value).encode(), "application/json")

    def _ask(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> bytes:
        headers = {"x-api-key": self._key, "Accept": "*/*"} | ({"Content-Type": kind} if kind else {})
        request = urllib.request.Request(self._api + path, body, headers, method=method)  # noqa: S310
        with self._opener.open(request, timeout=TIMEOUT_S) as answer:
            return bytes(answer.read())


def share(immich: Immich, source: str, target: str, cloak: list[str], record: Path) -> int:
    """Cloak, upload and add what is new; return the exit code. record: JSON, original's id -> copy's id."""
    done: dict[str, str] = json.loads(record.read_text()) if record.exists() else {}
    code = 0
    for asset in immich.photos(source):
        if asset["id"] in done:
            continue
        made = subprocess.run(cloak, input=immich.original(asset), stdout=subprocess.PIPE, check=False)
        if made.returncode in FOR_ALL:
            made.check_returncode()
        if made.returncode != 0:
            print(
                f"{asset['originalFileName']!a} is not shared: `fawkesd cloak` held it or failed",
                file=sys.stderr,
            )
            code = HELD
            continue
        copy = immich.upload(asset, name_of(asset["originalFileName"], made.stdout), made.stdout)
        immich.add(target, copy)
        done[asset["id"]] = copy
        remember(record, done)
    return code


def name_of(original: str, data: bytes) -> str:
    """Return the copy's name: that of the original, with the ending of a JPEG if HEIC has become one."""
    is_jpeg = data.startswith(b"\xff\xd8\xff")
    path = Path(original)
    return f"{path.stem}.jpg" if is_jpeg and path.suffix.lower() not in {".jpg", ".jpeg"} else path.name


def remember(record: Path, done: dict[str, str]) -> None:
    """Write the record whole, or leave the old one."""
    record.parent.mkdir(parents=True, exist_ok=True)
    new = record.with_suffix(".tmp")
    new.write_text(json.dumps(done))
    new.replace(record)


def read_key(file: Path) -> str:
    """Return the key in a file. Raises ValueError, which does not show it, if the file holds anything else."""
    key = file.read_text(encoding="ascii", errors="replace").strip()
    if not (key and key.isascii() and key.isprintable() and " " not in key):
        raise ValueError(f"{file} holds no key of immich: one line of letters and digits")
    return key


def main() -> int:
    """Run the command line."""
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("server")
    parser.add_argument("--key-file", type=Path, required=True, help="file with an API key of immich")
    parser.add_argument("--from", dest="source", required=True, help="id of the album with your photos")
    parser.add_argument("--to", dest="target", required=True, help="id of the album that you share")
    parser.add_argument("--user", required=True, help="as for `fawkesd cloak`")
    parser.add_argument("--fawkesd", default="fawkesd", help="the command, if it is not in PATH")
    options = parser.parse_args()
    record = state / "fawkesd" / f"immich-{Path(options.source).name}-{Path(options.target).name}.json"
    cloak = [options.fawkesd, "cloak", "-", "--user", options.user]
    try:
        immich = Immich(options.server, read_key(options.key_file))
        return share(immich, options.source, options.target, cloak, record)
    except (OSError, http.client.HTTPException, subprocess.CalledProcessError, *NOT_IMMICH) as exc:
        print(f"immich-share: {exc!r}", file=sys.stderr)
        return UNAVAILABLE


if __name__ == "__main__":
    sys.exit(main())
