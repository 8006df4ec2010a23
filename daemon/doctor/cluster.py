"""Checks of a cluster: whether its scheduler can be reached from here."""

from __future__ import annotations

import socket
from collections.abc import Iterator

from daemon.config.cluster import host_and_port
from daemon.config.settings import EngineConfig
from daemon.doctor.findings import Finding, fault, fine
from daemon.fs.files import explain

_SUBJECT = "cluster"
_ANSWER_S = 3.0


def findings(engine: EngineConfig) -> Iterator[Finding]:
    """Check the scheduler if there is a cluster."""
    url = engine.scheduler
    if url is None:
        return
    try:
        with socket.create_connection(host_and_port(url), _ANSWER_S):
            pass
    except OSError as exc:
        advice = "start it with `fawkesd cluster scheduler`, and let that machine's firewall pass the port"
        yield fault(_SUBJECT, f"the scheduler at {url} cannot be reached ({explain(exc)})", advice)
    else:
        yield fine(_SUBJECT, f"something answers at {url}")
