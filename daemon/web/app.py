"""The web application: which address is answered by what."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from daemon.errors import DaemonError, InputError
from daemon.state.history import History, Record, reading
from daemon.web.acts import Acts
from daemon.web.context import Context
from daemon.web.events import Events
from daemon.web.guard import Guard
from daemon.web.looks import Looks, record_of
from daemon.web.overview import Overview
from daemon.web.signing_in import SigningIn

_STATIC = Path(__file__).with_name("static")
# A copy is public anyway, and its id never shows another one: the browser may keep its pictures for a while.
_OF_A_COPY = {"Cache-Control": "private, max-age=3600"}
Make = Callable[[History, Record], bytes]


class _Row(Convertor[int]):
    """A row's number in an address; longer ones are no numbers of sqlite, and are not found."""

    regex = "[0-9]{1,18}"

    def convert(self, value: str) -> int:
        return int(value)

    def to_string(self, value: int) -> str:
        return str(value)


register_url_convertor("row", _Row())


def make_app(context: Context, events: Events) -> Guard:
    """The application behind its guard."""
    overview, looks = Overview(context), Looks(context)
    acts, signing_in = Acts(context), SigningIn(context)
    pictures = context.pictures
    routes = [
        Mount("/static", StaticFiles(directory=_STATIC)),
        Route("/login", signing_in.page),
        Route("/login", signing_in.sign_in, methods=["POST"]),
        Route("/logout", signing_in.sign_out, methods=["POST"]),
        Route("/", overview.page),
        Route("/live", overview.live),
        Route("/in-work", overview.in_work),
        Route("/events", events.stream),
        Route("/photos", looks.photos),
        Route("/photos/{id:row}", looks.photo),
        Route("/photos/{id:row}/{action:str}", acts.photo, methods=["POST"]),
        Route(
            "/photos/{id:row}/thumbnail",
            _picture(context, lambda _, one: pictures.thumbnail(one), _OF_A_COPY),
        ),
        Route("/photos/{id:row}/cloaked", _picture(context, pictures.copy)),
        Route("/photos/{id:row}/cloaked-thumbnail", _picture(context, pictures.cloaked_thumbnail)),
        Route("/photos/{id:row}/original", _picture(context, lambda _, one: pictures.original(one))),
        Route(
            "/photos/{id:row}/original-thumbnail",
            _picture(context, lambda _, one: pictures.original_thumbnail(one)),
        ),
        Route("/photos/{id:row}/faces/{number:row}/{which:str}", _face(context)),
        Route("/review", looks.review),
        Route("/review/approve-all", acts.approve_all, methods=["POST"]),
        Route("/people", looks.people),
        Route("/people/forget", acts.forget, methods=["POST"]),
        Route("/audit", looks.audit),
        Route("/audit", acts.audit, methods=["POST"]),
        Route("/audit/{user:str}/plot", looks.plot),
        Route("/audit/{user:str}/report", looks.report),
        Route("/service/{action:str}", acts.everything, methods=["POST"]),
    ]

    def fault(request: Request, exc: Exception) -> Response:
        """A page that says what went wrong, of what is expected to go wrong."""
        status = HTTPStatus.NOT_FOUND if isinstance(exc, InputError) else HTTPStatus.SERVICE_UNAVAILABLE
        return context.render(request, "error.html", {"message": str(exc), "status": status}, status)

    def missing(request: Request, exc: Exception) -> Response:
        status = exc.status_code if isinstance(exc, HTTPException) else HTTPStatus.INTERNAL_SERVER_ERROR
        if not request.state.session:
            return PlainTextResponse(f"{HTTPStatus(status).phrase}\n", status)
        values = {"message": HTTPStatus(status).phrase, "status": status}
        return context.render(request, "error.html", values, status)

    app = Starlette(routes=routes, exception_handlers={DaemonError: fault, HTTPException: missing})
    web = context.settings.web
    return Guard(app, web.address, web.hosts, context.sessions)


def _picture(
    context: Context, make: Make, headers: dict[str, str] | None = None
) -> Callable[[Request], Response]:
    """A handler that sends a JPEG made of the row that the address names."""

    def send(request: Request) -> Response:
        with reading(context.settings.state_dir) as history:
            try:
                data = make(history, record_of(history, request))
            except InputError as exc:
                return PlainTextResponse(f"{exc}\n", HTTPStatus.NOT_FOUND)
        return Response(data, media_type="image/jpeg", headers=headers)

    return send


def _face(context: Context) -> Callable[[Request], Response]:
    def send(request: Request) -> Response:
        number, which = request.path_params["number"], request.path_params["which"]

        def make(history: History, record: Record) -> bytes:
            if which not in {"original", "cloaked"}:
                raise InputError("there is no such picture")
            return context.pictures.face(history, record, number, original=which == "original")

        return _picture(context, make)(request)

    return send
