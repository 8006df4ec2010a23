"""The other end of the socket that the daemon tells its states to, as systemd has it."""

from __future__ import annotations

import socket
from typing import Self


class Manager:
    """The service manager's end of the notify socket. heard: every assignment so far, in order."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.setblocking(False)
        self._heard: list[str] = []

    @property
    def heard(self) -> list[str]:
        try:
            while True:
                self._heard += self._socket.recv(65536).decode().split("\n")
        except BlockingIOError:
            return self._heard

    def count(self, assignment: str) -> int:
        return self.heard.count(assignment)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._socket.close()
