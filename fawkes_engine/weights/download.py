"""One file from the web whose size and hash are known: resumed where an earlier try ended, checked at the end.

A module of its own, because urllib.request brings ssl: what only reads weights stays small.
"""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO

from fawkes_engine.errors import FetchError, WeightsError

_CHUNK_BYTES = 1 << 16
_SILENCE_S = 30.0  # a connection that brings nothing for so long is taken for dead
_THIS_MACHINE = {"127.0.0.1", "::1", "localhost"}
_ELSEWHERE = "get it elsewhere and add it with `fawkesd models fetch NAME --from FILE`"


def download(url: str, part: Path, *, size: int, sha256: str, on_progress: Callable[[int], None]) -> None:
    """Make `part` the file at url; what it holds already is taken for the beginning of it.

    size: bytes; more are not read. on_progress gets the number of bytes that are there, again and again.

    Raises:
        FetchError: the server cannot be reached or stopped sending; what came is kept in `part`.
        WeightsError: the file at url has another size or sha256 (hex); `part` is removed.
        OSError: `part` cannot be written.
    """
    while True:
        begun = _transfer(url, part, size, on_progress)
        with part.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() == sha256:
                return
        part.unlink()
        if not begun:
            raise WeightsError(f"{url} is not the pinned file; {_ELSEWHERE}")
        # the earlier try was of something else: once more, from the first byte


def _transfer(url: str, part: Path, size: int, on_progress: Callable[[int], None]) -> int:
    """Append what is missing to `part`; returns how much of an earlier try was used."""
    begun = part.stat().st_size if part.exists() else 0
    if begun >= size:
        return begun
    with _open(url, begun) as response:
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            begun = 0  # the server sends the whole file, whatever it was asked for
        if response.length not in {None, size - begun}:
            part.unlink(missing_ok=True)
            raise WeightsError(f"{url} has another size than the pinned file; {_ELSEWHERE}")
        done = begun
        with part.open("ab" if begun else "wb") as file:
            on_progress(done)
            while chunk := _read(response, url, size - done):
                file.write(chunk)
                done += len(chunk)
                on_progress(done)
    if done < size:
        raise FetchError(f"{url} ended after {done} of {size} bytes; the same command goes on from there")
    return begun


def _open(url: str, begun: int) -> http.client.HTTPResponse:
    request = urllib.request.Request(_secure(url), headers={"Range": f"bytes={begun}-"} if begun else {})  # noqa: S310  _secure
    opener = urllib.request.build_opener(_SecureRedirects)
    try:
        response: http.client.HTTPResponse = opener.open(request, timeout=_SILENCE_S)
    except urllib.error.HTTPError as error:
        error.close()
        raise FetchError(f"{url}: the server says {error.code} {error.reason}; try later") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise FetchError(f"{url} cannot be reached ({reason}); check the network and try again") from error
    return response


def _read(response: http.client.HTTPResponse, url: str, limit: int) -> bytes:
    try:
        return response.read(min(limit, _CHUNK_BYTES))
    except (OSError, http.client.HTTPException) as error:
        raise FetchError(f"{url} broke off ({error}); the same command goes on from there") from error


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
