"""The page under attack: the real process, and a client that says whatever an attacker would."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import re
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import WITHIN_S, Home
from faulty import Counter, column
from pages import Client, link_of, page_of, with_page
from pydantic import ValidationError
from starlette.types import Message, Receive, Scope, Send
from twins import Deed, make_photo

from daemon.config.address import Address
from daemon.config.settings import Settings, UserSettings, WatchSettings, WebSettings
from daemon.service.run import once
from daemon.web.guard import Guard
from daemon.web.limits import Bucket
from daemon.web.password import hashed, is_right
from daemon.web.sessions import LINK_S, SESSION_S, Sessions, csrf_token

PASSWORD = "correct horse battery"
LOOKS = ["/", "/live", "/photos", "/photos/1", "/review", "/people", "/audit"]
PICTURES = ["thumbnail", "cloaked", "original", "original-thumbnail", "faces/0/original", "faces/0/cloaked"]
EVERYTHING = [*LOOKS, *(f"/photos/1/{name}" for name in PICTURES), "/audit/ada/report", "/events"]
ACTIONS = [
    "/photos/1/recall",
    "/photos/1/redo",
    "/review/approve-all",
    "/people/forget",
    "/audit",
    "/service/pause",
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """One published and one held photo, both of which have a face in the report."""
    folder = tmp_path_factory.mktemp("home")
    outbox, sync = folder / "outbox", folder / "sync"
    outbox.mkdir()
    sync.mkdir()
    user = UserSettings(name="ada", outboxes=(outbox,), sync=sync)
    settings = Settings(state_dir=folder / "state", users=(user,), watch=WatchSettings(settle_s=0.1))
    home = with_page(Home(outbox, sync, settings), password_hash=hashed(PASSWORD))
    (outbox / "a.jpg").write_bytes(make_photo())
    once(home.settings, Counter(), "twins:make_faithful_engine")
    (outbox / "b.jpg").write_bytes(make_photo(Deed.REFUSE))
    once(home.settings, Counter(), "twins:make_faithful_engine")
    return home


@pytest.fixture(scope="module")
def owner(home: Home) -> Iterator[Client]:
    with page_of(home) as client:
        yield client


@pytest.fixture
def stranger(owner: Client) -> Client:
    return replace(owner, session="")


@pytest.mark.parametrize("path", EVERYTHING)
def test_nothing_is_shown_without_a_session(owner: Client, stranger: Client, path: str) -> None:
    assert stranger.get(path).status == 401
    assert stranger.get(path, Accept="text/html").headers["location"] == "/login"
    assert replace(owner, session="guessed").get(path).status == 401
    if path in LOOKS:
        assert owner.get(path).status == 200


@pytest.mark.parametrize("path", ACTIONS)
@pytest.mark.parametrize(
    "attack",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Origin": None},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},  # a page of another port of this machine
    ],
    ids=str,
)
def test_another_page_cannot_act(owner: Client, home: Home, path: str, attack: dict[str, str | None]) -> None:
    assert owner.post(path, None, **attack).status == 403
    assert column(home, "state") == ["published", "held"]


@pytest.mark.parametrize("path", ACTIONS)
def test_an_action_needs_the_token_of_its_own_session(owner: Client, home: Home, path: str) -> None:
    other = Sessions(home.state_dir).new_session()
    for token in ("", "0" * 64, "é", csrf_token(other)):
        assert owner.post(path, {"csrf": token}).status == 403
    body = b"person=~"
    headers = {"Origin": f"http://{owner.own_host}", "Content-Type": "application/x-www-form-urlencoded"}
    assert owner.ask("POST", path, body, headers).status == 403
    assert column(home, "state") == ["published", "held"]


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8377",
        "localhost.evil.example",
        "",
        "10.0.0.1",
        "[::",
        "127.0.0.1@evil.example",
    ],
)
def test_a_name_that_an_attacker_points_here_is_refused(owner: Client, host: str) -> None:
    request = b"GET / HTTP/1.1\r\nHost: " + host.encode() + b"\r\nCookie: fawkesd-session-"
    request += f"{owner.port}={owner.session}\r\nConnection: close\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", owner.port), WITHIN_S) as connection:
        connection.sendall(request)
        answer = connection.makefile("rb").read()

    assert answer.startswith((b"HTTP/1.1 421", b"HTTP/1.1 400"))
    assert b"ada" not in answer


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST:99"])
def test_a_name_of_this_machine_is_answered(owner: Client, host: str) -> None:
    assert replace(owner, host=host).get("/").status == 200


def test_what_is_no_form_of_the_page_is_refused(owner: Client) -> None:
    length = "Content-Length"
    assert owner.post("/service/pause", None, **{length: str(1 << 20)}).status == 413
    assert owner.post("/service/pause", Content_Type="text/plain").status == 415
    assert owner.post("/service/pause", Content_Type="application/json").status == 415
    assert owner.post("/service/pause", {str(n): "" for n in range(99)}).status == 400
    assert owner.post("/service/pause", None, **{"Transfer-Encoding": "chunked"}).status in {400, 411}
    both = {"Transfer-Encoding": "chunked", length: "10"}  # as many bytes as one likes, in chunks
    assert owner.post("/service/pause", None, **both).status in {400, 411}
    assert owner.get("/photos?q=" + 5000 * "a").status == 414
    for method in ("PUT", "DELETE", "OPTIONS", "TRACE"):
        assert owner.ask(method, "/", None, {}).status == 405


def test_a_head_without_an_end_is_cut_off(owner: Client) -> None:
    with socket.create_connection(("127.0.0.1", owner.port), WITHIN_S) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(b"GET / HTTP/1.1\r\nX: " + 100_000 * b"a")
        with contextlib.suppress(ConnectionError):
            assert connection.recv(64).startswith((b"HTTP/1.1 4", b""))
    assert owner.get("/").status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2f..%2fexits.py",
        "/static//etc/passwd",
        "/photos/..%2f..%2fetc%2fpasswd",
        "/photos/-1",
        "/photos/0",
        "/photos/99",
        f"/photos/{1 << 64}",
        "/photos/1/faces/1/original",
        "/photos/1/faces/0/secret",
        f"/photos/1/faces/{1 << 70}/cloaked",
        "/photos/2/thumbnail",
        "/photos/2/cloaked",
        "/audit/..%2fsessions.sqlite3/report",
        "/audit/eve/report",
        f"/photos/{'9' * 5000}",
        f"/photos/1/faces/{'9' * 5000}/cloaked",
        "/audit/ada/plot",
        "/audit/eve/plot",
        "/photos?show=secret",
        "/photos?after=nan:1",
        "/photos?after=1:99999999999999999999",
        "/photos?after=x",
    ],
)
def test_no_path_of_the_client_is_opened(owner: Client, path: str) -> None:
    answer = owner.get(path)

    assert answer.status == 404
    assert b"root:" not in answer.body
    assert b"import" not in answer.body


@pytest.mark.parametrize(
    "path",
    ["/photos?q=%00%ff%27%22", "/photos?folder=..%2f..%2fetc", "/review?id=1e9", "/photos?user=%3Cb%3E"],
)
def test_odd_searches_find_nothing(owner: Client, path: str) -> None:
    answer = owner.get(path)

    assert answer.status == 200
    assert b"<b>" not in answer.body


def test_a_link_in_place_of_the_copy_is_not_followed(home: Home, owner: Client) -> None:
    copy, aside = home.sync / "a.jpg", home.sync / "aside"
    copy.rename(aside)
    copy.symlink_to(home.outbox / "a.jpg")  # the uncloaked original
    try:
        assert owner.get("/photos/1/cloaked").status == 404
    finally:
        copy.unlink()
        aside.rename(copy)
    assert owner.get("/photos/1/cloaked").status == 200


def test_a_file_that_took_the_place_of_a_photo_is_not_shown(home: Home, owner: Client) -> None:
    original = home.outbox / "a.jpg"
    status, data = original.stat(), original.read_bytes()
    original.write_bytes(make_photo(seed=7))
    try:
        assert owner.get("/photos/1/original").status == 404
    finally:
        original.write_bytes(data)
        os.utime(original, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert owner.get("/photos/1/original").status == 200


def test_the_grid_shows_no_original(owner: Client) -> None:
    for show in ("published", "waiting", "held", "removed"):
        assert "original" not in owner.get(f"/photos?show={show}").text


@pytest.mark.parametrize(
    "path", [*LOOKS, "/nowhere", "/photos/99", "/login", "/static/app.js", "/photos/1/original"]
)
def test_a_browser_is_told_to_run_and_load_nothing_else(owner: Client, stranger: Client, path: str) -> None:
    for client in (owner, stranger):
        answer = client.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        if path != "/static/app.js":
            text = answer.body.decode(errors="replace")
            assert not re.search(
                r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|javascript:|//[a-z]+\.", text
            )


def test_originals_are_not_kept_by_the_browser(owner: Client) -> None:
    assert owner.get("/photos/1/original").headers["cache-control"] == "no-store"
    assert owner.get("/photos/1").headers["cache-control"] == "no-store"


def test_a_link_opens_one_session_once(home: Home, stranger: Client) -> None:
    link = link_of(home)
    assert stranger.get(link).status == 200  # who only looks at it does not use it up
    key = link.rpartition("=")[2]

    first = stranger.post("/login", {"link": key})
    again = stranger.post("/login", {"link": key})

    assert (first.status, again.status) == (303, 401)
    cookie = first.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    session = re.search(r"=([^;]+)", cookie)
    assert session
    opened = replace(stranger, session=session[1])
    assert opened.get("/").status == 200
    assert opened.post("/logout").status == 303
    assert opened.get("/").status == 401


def test_passwords_cannot_be_guessed_quickly(stranger: Client) -> None:
    assert stranger.post("/login", {"password": PASSWORD}).status == 303
    answers = {stranger.post("/login", {"password": f"guess {n}"}).status for n in range(6)}
    assert answers == {401, 429}
    assert stranger.post("/login", {"password": PASSWORD}, Origin="http://evil.example").status == 403


def test_keys_are_kept_as_hashes_and_end(tmp_path: Path) -> None:
    now = 0.0
    sessions = Sessions(tmp_path, lambda: now)
    link, session = sessions.new_link(), sessions.new_session()

    (file,) = (tmp_path / "web").glob("*.sqlite3")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert link.encode() not in file.read_bytes()
    assert session.encode() not in file.read_bytes()
    assert not sessions.knows(link)
    assert sessions.redeem(session) is None
    now = LINK_S + 1
    assert sessions.redeem(link) is None
    assert sessions.knows(session)
    now = SESSION_S + 1
    assert not sessions.knows(session)


def test_a_bucket_fills_again() -> None:
    now = 0.0
    bucket = Bucket(2, 0.5, lambda: now)

    assert [bucket.take() for _ in range(3)] == [True, True, False]
    now = 2.0
    assert [bucket.take() for _ in range(2)] == [True, False]


def test_a_password_is_known_by_its_hash() -> None:
    stored = hashed(PASSWORD)

    assert is_right(PASSWORD, stored)
    assert not is_right(f"{PASSWORD}!", stored)
    assert stored != hashed(PASSWORD)
    WebSettings(listen="0.0.0.0:8377", password_hash=stored)


@pytest.mark.parametrize("listen", ["0.0.0.0:8377", "[::]:8377", "192.0.2.7:80"])
def test_other_machines_need_a_password(listen: str) -> None:
    with pytest.raises(ValidationError, match="set password_hash"):
        WebSettings(listen=listen)


@pytest.mark.parametrize(
    "listen",
    ["8377", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:99999", "example.org:80", "unix:me.sock", "unix:"],
)
def test_what_is_no_address_is_refused(listen: str) -> None:
    with pytest.raises(ValidationError, match="write"):
        WebSettings(listen=listen)


def test_a_unix_socket_is_its_owners_alone(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "page.sock"
    settings = home.settings.model_copy(
        update={"web": WebSettings(listen=f"unix:{path}"), "state_dir": tmp_path / "state"}
    )
    with page_of(replace(home, settings=settings)) as client:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(path))
        connection.request("GET", "/", headers={"Cookie": f"fawkesd-session-0={client.session}"})
        assert connection.getresponse().status == 200
        connection.close()
    assert not path.exists()


def test_the_page_never_imports_torch() -> None:
    program = "import sys, daemon.web.server; print(*{name.partition('.')[0] for name in sys.modules})"
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True
    )

    assert not {"torch", "torchvision"} & set(done.stdout.split())


def test_a_path_that_no_socket_can_have_answers_nothing() -> None:
    assert not Address.parse(f"unix:/{200 * 'a'}").answers()


def test_a_flood_is_refused_and_does_not_shut_the_owner_out(tmp_path: Path) -> None:
    async def answer_all(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    sessions = Sessions(tmp_path)
    guard = Guard(answer_all, Address.parse("127.0.0.1:1"), (), sessions)

    async def receive() -> Message:
        return {"type": "http.request"}

    async def ask(session: str) -> int:
        """The status of one answer."""
        statuses: list[int] = []

        async def send(message: Message) -> None:
            statuses.append(message.get("status", 0))

        cookie = f"fawkesd-session-1={session}".encode()
        headers = [(b"host", b"localhost"), *([(b"cookie", cookie)] if session else [])]
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/static/x",
            "query_string": b"",
            "headers": headers,
        }
        await guard(scope, receive, send)
        return statuses[0]

    async def flood(session: str, at_most: int) -> list[int]:
        """The statuses until one is refused."""
        statuses: list[int] = []
        while len(statuses) < at_most and 429 not in statuses:
            statuses.append(await ask(session))
        return statuses

    assert 429 in asyncio.run(flood("", 5000))
    assert 429 in asyncio.run(flood("guessed", 5000))
    owner = sessions.new_session()
    assert asyncio.run(flood(owner, 300)) == [200] * 300  # a grid of thumbnails and more
