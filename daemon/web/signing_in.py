"""Signing in, by a link that works once or by the password, and out."""

from __future__ import annotations

from http import HTTPStatus

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from daemon.web.context import Context
from daemon.web.forms import form_of
from daemon.web.guard import cookie_of
from daemon.web.limits import Bucket
from daemon.web.password import is_right
from daemon.web.sessions import SESSION_S

_TRIES = (5, 0.1)  # of passwords at once, and more per second, from everybody together
_PASSWORD_MAX = 1024


class SigningIn:
    """The handlers; the only ones that a request without a session reaches."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._tries = Bucket(*_TRIES)
        self._cookie = cookie_of(context.settings.web.address)

    def page(self, request: Request) -> Response:
        """Ask for the password, or say where a link comes from; with a link in it, a button that uses it up.

        A link is used by a POST: programs that look at links beforehand would use it up otherwise.
        """
        if request.state.session:
            return RedirectResponse("/", HTTPStatus.SEE_OTHER)
        return self._page(request, "")

    async def sign_in(self, request: Request) -> Response:
        """Open a session."""
        form = await form_of(request)
        if not form.get("link") and not self._tries.take():  # nobody guesses a link
            return self._page(request, "Too many tries. Wait some seconds.", HTTPStatus.TOO_MANY_REQUESTS)
        session = await run_in_threadpool(self._session, form.get("link", ""), form.get("password", ""))
        if session is None:
            what = (
                "That link has been used or is too old." if form.get("link") else "That is not the password."
            )
            return self._page(request, what, HTTPStatus.UNAUTHORIZED)
        response = RedirectResponse("/", HTTPStatus.SEE_OTHER)
        response.set_cookie(
            self._cookie,
            session,
            max_age=round(SESSION_S),
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return response

    async def sign_out(self, request: Request) -> Response:
        """End the session."""
        await run_in_threadpool(self._context.sessions.close, request.state.session)
        response = RedirectResponse("/login", HTTPStatus.SEE_OTHER)
        response.delete_cookie(self._cookie, httponly=True, samesite="strict")
        return response

    def _session(self, link: str, password: str) -> str | None:
        stored = self._context.settings.web.password_hash
        if link:
            return self._context.sessions.redeem(link)
        if stored and len(password) <= _PASSWORD_MAX and is_right(password, stored):
            return self._context.sessions.new_session()
        return None

    def _page(self, request: Request, error: str, status: HTTPStatus = HTTPStatus.OK) -> Response:
        values = {
            "error": error,
            "link": request.query_params.get("link", "") if status is HTTPStatus.OK else "",
            "has_password": self._context.settings.web.password_hash is not None,
        }
        return self._context.render(request, "login.html", values, status)
