"""What every request passes first: Host, Origin, sizes, rates, session and token; and the headers of every answer.

The page shows faces and takes commands, so that a request must come from the user's own browser, from this very page
and from nowhere else: neither another page in that browser (cross-site request, DNS rebinding, frame) nor
another account or machine.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Sequence
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from daemon.config.address import Address
from daemon.web.forms import BODY_MAX_BYTES, TOKEN, form_of
from daemon.web.limits import Bucket
from daemon.web.sessions import Sessions, csrf_token

_PUBLIC = ("/login", "/static/")
_QUERY_MAX_BYTES = 2048
_REQUESTS = (400, 60.0)  # at once, and more per second: a grid of thumbnails is 60
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with "no-referrer", browsers send "Origin: null" with forms
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}


class Guard:
    """Wraps the application; sets `scope["state"]["session"]` to the key of the session, and the same for csrf."""

    def __init__(self, app: ASGIApp, address: Address, hosts: Sequence[str], sessions: Sessions) -> None:
        self._app = app
        self._address = address
        self._hosts = {"localhost", *(host.lower() for host in hosts)}
        self._sessions = sessions
        self._cookie = cookie_of(address)
        self._owners, self._strangers = Bucket(*_REQUESTS), Bucket(*_REQUESTS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Anything but HTTP is left without an answer."""
        if scope["type"] != "http":
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        request = Request(scope, receive)
        try:
            refusal = (
                self._refusal(request) or await self._too_many(request) or await self._no_session(request)
            )
        except HTTPException as exc:  # not a form
            refusal = _plain(HTTPStatus(exc.status_code), exc.detail)
        await (refusal or self._app)(scope, _again(request), send_guarded)

    def _refusal(self, request: Request) -> Response | None:
        host = request.headers.get("host", "")
        if not self._is_own(host):
            return _plain(
                HTTPStatus.MISDIRECTED_REQUEST,
                "this page is not known by that name; use its address, or add the name to web.hosts",
            )
        if request.method not in {"GET", "HEAD", "POST"}:
            return _plain(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and POST")
        if len(request.url.query) > _QUERY_MAX_BYTES:
            return _plain(HTTPStatus.REQUEST_URI_TOO_LONG, "the address is too long")
        if request.method == "POST":
            return _not_from_here(request, host) or _too_large(request)
        return None

    def _is_own(self, host: str) -> bool:
        """Whether a Host header names this page: a name that an attacker's DNS can point here is never accepted."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in self._hosts:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or not self._address.is_loopback

    async def _too_many(self, request: Request) -> Response | None:
        """Find out whose request it is. Those without a session are counted apart: they cannot shut the owner out."""
        session = request.cookies.get(self._cookie, "")
        is_known = bool(session) and await run_in_threadpool(self._sessions.knows, session)
        request.state.session = session if is_known else None
        request.state.csrf = csrf_token(session) if is_known else ""
        if not (self._owners if is_known else self._strangers).take():
            return _plain(HTTPStatus.TOO_MANY_REQUESTS, "too many requests; wait a moment")
        return None

    async def _no_session(self, request: Request) -> Response | None:
        """What is answered without a session, or to an action without its token; None if all is well."""
        if request.url.path.startswith(_PUBLIC):
            return None
        if not request.state.session:
            if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
                return RedirectResponse("/login", HTTPStatus.SEE_OTHER)
            return _plain(HTTPStatus.UNAUTHORIZED, "sign in first")
        if request.method == "POST":
            token = (await form_of(request)).get(TOKEN, "")
            if not hmac.compare_digest(token.encode(errors="replace"), request.state.csrf.encode()):
                return _plain(HTTPStatus.FORBIDDEN, "this form is out of date; load the page again")
        return None


def cookie_of(address: Address) -> str:
    """The name of the session's cookie: browsers send one port's cookies to all ports of a machine."""
    return f"fawkesd-session-{address.port}"


def _again(request: Request) -> Receive:
    """Hand a body that was read already to the application once more."""
    body: bytes | None = getattr(request, "_body", None)
    is_told = body is None

    async def receive() -> Message:
        nonlocal is_told
        if is_told:
            return await request.receive()
        is_told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def _not_from_here(request: Request, host: str) -> Response | None:
    """Refuse an action that another page sent. Every browser of today says where a POST comes from."""
    origin = request.headers.get("origin", "").lower()
    site = request.headers.get("sec-fetch-site", "same-origin")
    if origin not in {f"http://{host.lower()}", f"https://{host.lower()}"} or site != "same-origin":
        return _plain(HTTPStatus.FORBIDDEN, "this was not sent by the page itself")
    return None


def _too_large(request: Request) -> Response | None:
    length = request.headers.get("content-length", "")
    if not length.isdigit() or "transfer-encoding" in request.headers:  # which would count instead
        return _plain(HTTPStatus.LENGTH_REQUIRED, "the length is missing")
    if int(length) > BODY_MAX_BYTES:
        return _plain(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too large")
    return None


def _plain(status: HTTPStatus, text: str) -> Response:
    return PlainTextResponse(f"{text}\n", status)
