"""The forms of the page, as a browser sends them; nothing else is accepted as a body."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request

BODY_MAX_BYTES = 1 << 14
TOKEN = "csrf"  # noqa: S105 - the name of a field
_KIND = "application/x-www-form-urlencoded"


def number(text: str) -> int | None:
    """The number that a client wrote, such as of a row; None if it is none, or too large for one."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form; of several with one name the last. Raises HTTPException for anything else."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _KIND:
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "only forms")
    body = await request.body()
    try:
        return dict(
            parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=32, strict_parsing=bool(body))
        )
    except ValueError as exc:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "this is not a form") from exc
