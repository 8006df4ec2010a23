"""A cluster among the devices of a configuration: cluster:tls://HOST:PORT, which names its scheduler."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

from daemon.config.extras import missing_for_cluster

PREFIX = "cluster:"
_FORM = re.compile(r"(?P<scheme>tls|tcp)://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(?P<port>[0-9]{1,5})")
_EXAMPLE = "tls://192.168.1.20:8786"


def scheduler_url(text: str) -> str:
    """Return the address of a scheduler if it can be one. Raises ValueError that says why not."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not the address of a scheduler; write {_EXAMPLE}")
    if not 1 <= int(found["port"]) <= 65535:
        raise ValueError(f"there is no port {found['port']}; write one from 1 to 65535, such as {_EXAMPLE}")
    if found["scheme"] == "tcp" and not is_loopback(found["host"].strip("[]")):
        raise ValueError(
            f"{text} would send photos over the network unencrypted; write tls://{found['host']}:{found['port']}"
        )
    return text


def host_and_port(url: str) -> tuple[str, int]:
    """Return where the scheduler of a valid address listens."""
    host, _, port = url.partition("://")[2].rpartition(":")
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to a host name or IP address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def devices(text: str) -> str:
    """Return the list of devices if at most one is a cluster, and it can be used. Raises ValueError."""
    found = clusters(text)
    if len(found) > 1:
        raise ValueError(f"{text} names {len(found)} clusters; name one, whose scheduler knows all nodes")
    for url in found:
        scheduler_url(url)
        if missing := missing_for_cluster():
            raise ValueError(missing_words(missing))
    return text


def missing_words(packages: Sequence[str]) -> str:
    """Return what to do about packages that are not installed."""
    return f"a cluster needs more packages ({', '.join(packages)}): pip install 'fawkesd[cluster]'"


def clusters(text: str) -> Sequence[str]:
    """Return the addresses of the schedulers in a list of devices."""
    return [one.removeprefix(PREFIX) for one in text.split(",") if one.startswith(PREFIX)]
