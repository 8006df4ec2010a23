"""Where the web page listens: an address and port of this machine, or a unix socket."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass
from pathlib import Path

_ANSWER_S = 2.0
_FORM = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<four>[^\[\]:/]+)):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class Address:
    """host: an IP address; None for a unix socket, whose file is path. port: 1 to 65535, 0 for a unix socket."""

    host: str | None
    port: int = 0
    path: Path | None = None

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read "127.0.0.1:8377", "[::1]:8377", "localhost:8377" or "unix:/run/me/fawkesd.sock". Raises ValueError."""
        if text.startswith("unix:"):
            path = Path(text.removeprefix("unix:"))
            if not path.is_absolute():
                raise ValueError(f"{text!r} names no absolute path; write unix:/run/user/1000/fawkesd.sock")
            return cls(None, 0, path)
        found = _FORM.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is not an address and a port; write 127.0.0.1:8377")
        host, port = found["six"] or found["four"], int(found["port"])
        try:
            host = str(ipaddress.ip_address("127.0.0.1" if host == "localhost" else host))
        except ValueError as exc:
            raise ValueError(f"{host!r} is not an IP address of this machine; write 127.0.0.1:8377") from exc
        if not 1 <= port <= 65535:
            raise ValueError(f"there is no port {port}; write one from 1 to 65535")
        return cls(host, port)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        return self.host is None or ipaddress.ip_address(self.host).is_loopback

    @property
    def reachable(self) -> str | tuple[str, int]:
        """What a socket of this machine connects to."""
        if self.host is None:
            return str(self.path)
        loopback = "::1" if ":" in self.host else "127.0.0.1"
        return (loopback if ipaddress.ip_address(self.host).is_unspecified else self.host), self.port

    @property
    def family(self) -> socket.AddressFamily:
        """The family of its sockets."""
        if self.host is None:
            return socket.AF_UNIX
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    @property
    def url(self) -> str:
        """Where a browser on this machine finds the page; of a unix socket, what a proxy would be asked for."""
        if isinstance(self.reachable, str):
            return "http://localhost"
        host, port = self.reachable
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def answers(self) -> bool:
        """Whether something listens there."""
        try:
            with socket.socket(self.family, socket.SOCK_STREAM) as probe:
                probe.settimeout(_ANSWER_S)
                return probe.connect_ex(self.reachable) == 0
        except OSError:  # no such family here, or a path that is too long for a socket
            return False

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in (self.host or "") else f"{self.host}:{self.port}"
