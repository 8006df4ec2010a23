"""Checks of the web page: its packages, its port, and who can reach it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from importlib.util import find_spec

from daemon.config.address import Address
from daemon.config.settings import WebSettings
from daemon.doctor.findings import Finding, fault, fine, warning

_SUBJECT = "web page"
_ANSWER_S = 2.0


def findings(web: WebSettings, pid: int | None) -> Iterator[Finding]:
    """Check the page if the service shows one. pid: of the running service."""
    if web.listen is None:
        return
    address = web.address
    if find_spec("uvicorn") is None or find_spec("starlette") is None or find_spec("jinja2") is None:
        yield fault(_SUBJECT, "its packages are not installed", "run `pip install 'fawkesd[web]'`")
        return
    answers = _answers(address)
    if pid is not None and not answers:
        yield fault(_SUBJECT, f"nothing answers at {address}", "see the log of the service for the reason")
    elif pid is None and answers:
        yield fault(
            _SUBJECT,
            f"another program listens at {address}",
            "set web.listen to another port, or end that program",
        )
    else:
        yield fine(_SUBJECT, f"{'is' if pid else 'will be'} at {address}; `fawkesd web --link` opens it")
    if not address.is_loopback:
        yield warning(
            _SUBJECT,
            f"can be reached from other machines at {address}, with the password, and is not encrypted",
            "listen at 127.0.0.1 and come by ssh or by a proxy with TLS, unless the network is yours alone",
        )


def _answers(address: Address) -> bool:
    with socket.socket(address.family, socket.SOCK_STREAM) as probe:
        probe.settimeout(_ANSWER_S)
        return probe.connect_ex(address.reachable) == 0
