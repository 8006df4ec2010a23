"""The web page of a home in a process of its own, and a client that sends exactly what a test says."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlencode

from conftest import WITHIN_S, Home

from daemon.config.settings import Settings, WebSettings
from daemon.web.sessions import Sessions, csrf_token


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. headers: by their names in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass(frozen=True, slots=True)
class Client:
    """Talks to the page at a port. session: the key in its cookie, none if empty."""

    port: int
    session: str = ""
    host: str = ""

    @property
    def own_host(self) -> str:
        return self.host or f"127.0.0.1:{self.port}"

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, None, headers)

    def post(self, path: str, fields: Mapping[str, str] | None = None, **headers: str | None) -> Answer:
        """Send a form as the page itself would; headers replace those, None leaves one out."""
        usual: dict[str, str | None] = {
            "Origin": f"http://{self.own_host}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        body = urlencode({"csrf": csrf_token(self.session), **(fields or {})})
        usual |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask("POST", path, body.encode(), {n: v for n, v in usual.items() if v is not None})

    def ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WITHIN_S)
        with contextlib.closing(connection):
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            connection.putheader("Host", self.own_host)
            if self.session:
                connection.putheader("Cookie", f"fawkesd-session-{self.port}={self.session}")
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            if body is not None and not {"Content-Length", "Transfer-Encoding"} & set(headers):
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def with_page(home: Home, **web: object) -> Home:
    """The same home with a page at a free port."""
    values = {"listen": f"127.0.0.1:{free_port()}", **web}
    settings = home.settings.model_copy(update={"web": WebSettings.model_validate(values)})
    return replace(home, settings=settings)


def signed_in(settings: Settings) -> Client:
    """A client with a session of its own."""
    return Client(settings.web.address.port, Sessions(settings.state_dir).new_session())


@contextlib.contextmanager
def page_of(home: Home) -> Iterator[Client]:
    """Context manager: `fawkesd web` in the foreground; a client that is signed in."""
    command = [sys.executable, "-m", "daemon", "web", "--config", str(home.write_config())]
    log = home.state_dir.with_name("page.log")
    root = Path(__file__).parents[1]
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command,
            stdout=stream,
            stderr=stream,
            cwd=root,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(root)},
        )
    try:
        _wait_for(process, log)
        yield signed_in(home.settings)
    finally:
        process.terminate()
        assert process.wait(WITHIN_S) == 0, log.read_text()


def link_of(home: Home) -> str:
    """The path of the login link that the page has printed."""
    found = re.search(r"/login\?link=\S+", home.state_dir.with_name("page.log").read_text())
    assert found
    return found[0]


def _wait_for(process: subprocess.Popen[bytes], log: Path) -> None:
    """Until it listens: a connection made from then on is answered."""
    until_s = time.monotonic() + WITHIN_S
    while b"The page is at" not in log.read_bytes():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < until_s, log.read_text()
        time.sleep(0.02)
