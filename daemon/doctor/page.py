"""Checks of the web page: its packages, its port, and who can reach it."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.config.extras import missing_for_page
from daemon.config.settings import WebSettings
from daemon.doctor.findings import Finding, fault, fine, warning

_SUBJECT = "web page"


def findings(web: WebSettings, pid: int | None) -> Iterator[Finding]:
    """Check the page if the service shows one. pid: of the running service."""
    if web.listen is None:
        return
    address = web.address
    if missing_for_page():
        yield fault(_SUBJECT, "its packages are not installed", "run `pip install 'fawkesd[web]'`")
        return
    answers = address.answers()
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
