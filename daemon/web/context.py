"""What every handler of the page needs: settings, sessions, pictures, and templates filled in for a request."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from daemon.config.settings import Settings
from daemon.text import as_html, duration, figure, moment, printable
from daemon.web.audits import Audits
from daemon.web.pictures import Pictures
from daemon.web.sessions import FOLDER, Sessions
from daemon.web.thumbnails import Thumbnails

_NOTICES_MAX = 1000
# What the page's buttons are called that do what messages name as a command
_BUTTONS = {
    "`fawkesd approve`": "“Approve”",
    "`fawkesd publish`": "“Publish without a face”",
    "`fawkesd redo`": "“Cloak again”",
    "`fawkesd reject`": "“Reject”",
}


class Context:
    """The parts of the page; thread-safe."""

    def __init__(self, settings: Settings, config: Path) -> None:
        """config: the file of the settings, for the commands that are started. Raises OSError."""
        self.settings = settings
        self.sessions = Sessions(settings.state_dir)
        folder = settings.state_dir / FOLDER
        self.pictures = Pictures(settings, Thumbnails(folder / "thumbnails"))
        self.audits = Audits(folder, config, settings)
        self._templates = Environment(
            loader=PackageLoader("daemon.web"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )
        self._templates.filters |= {
            "printable": printable,
            "duration": duration,
            "moment": moment,
            "message": _message,
            "figure": figure,
        }
        self._notices: dict[str, tuple[str, bool]] = {}
        self._lock = threading.Lock()

    def render(
        self, request: Request, name: str, values: Mapping[str, object], status: int = HTTPStatus.OK
    ) -> Response:
        """A page, with what is shown on all of them; a notice is shown once."""
        session = request.state.session
        with self._lock:
            is_seen = session and not name.startswith("_") and "hx-request" not in request.headers
            notice = self._notices.pop(session, None) if is_seen else None
        whole = {
            "here": request.url.path,
            "csrf": request.state.csrf,
            "notice": notice,
            "users": [user.name for user in self.settings.users],
            **values,
        }
        return HTMLResponse(self._templates.get_template(name).render(whole), status)

    def back(self, request: Request, to: str, message: str, *, is_error: bool = False) -> Response:
        """After an action: go to a page of this site, and show there what was done."""
        with self._lock:
            while len(self._notices) >= _NOTICES_MAX:
                self._notices.pop(next(iter(self._notices)))
            self._notices[request.state.session] = (message, is_error)
        return RedirectResponse(to, HTTPStatus.SEE_OTHER)


def _message(text: str) -> Markup:
    """What a command or the ledger says, for a page: commands in it are code, or the button that does the same."""
    for command, button in _BUTTONS.items():
        text = text.replace(command, button)
    return Markup(as_html(text))  # noqa: S704 - escaped there
