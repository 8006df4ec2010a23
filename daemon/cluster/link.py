"""The connection to a cluster's scheduler: a thread keeps it, and looks at the nodes once a second."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Any

from distributed import Client
from distributed.security import Security

from daemon.state.nodes import NodesFile, SeenNode
from daemon.text import printable

log = logging.getLogger(__name__)

# What Dask raises when a scheduler is gone
LOST = (OSError, TimeoutError, CancelledError, RuntimeError, ValueError)
_LOOK_EVERY_S = 1.0
_ANSWER_S = 10.0
_LONGEST_NAME = 100


@dataclass(frozen=True, slots=True)
class Node:
    """One engine of the cluster, as it tells of itself.

    steps: grows while it makes progress. share: how much of the photos in work is done, 0 to 1. seen_at: its last sign
    of life, by the scheduler's clock, seconds since 1970.
    """

    address: str
    name: str
    device: str
    fingerprint: str
    steps: int
    working: int
    share: float
    photos_per_minute: float
    seen_at: float

    @classmethod
    def of(cls, address: str, worker: Mapping[str, Any]) -> Node | None:
        """Read what the scheduler knows of a worker; None if that is no node of ours."""
        try:
            told = worker["metrics"]["engine"]
            name, device, fingerprint = (
                str(told[key])[:_LONGEST_NAME] for key in ("name", "device", "fingerprint")
            )
            steps, working = int(told["steps"]), int(told["working"])
            share, speed = float(told["share"]), float(told["photos_per_minute"])
            if not (0 <= share <= 1 and math.isfinite(speed)):
                return None
            seen_at = float(worker["last_seen"])
            return cls(address, name, device, fingerprint, steps, working, share, speed, seen_at)
        except (KeyError, TypeError, ValueError, OverflowError):
            return None


class Link:
    """Keeps a client connected. client: None while the scheduler cannot be reached. nodes: that may get work.

    fault: why there is no client or node. A node that makes no progress with its photos is started anew: Dask gives
    them to another one.
    """

    def __init__(
        self, url: str, security: Security, fingerprint: str, file: NodesFile, stuck_s: float
    ) -> None:
        """fingerprint: of the engines that may get work. stuck_s: without progress, a node counts as hung."""
        self._url = url
        self._security = security
        self._fingerprint = fingerprint
        self._file = file
        self._stuck_s = stuck_s
        # address -> steps and last sight, since when
        self._progress: dict[str, tuple[tuple[int, float], float]] = {}
        # address -> its clock and ours at the last sign of life
        self._sights: dict[str, tuple[float, float]] = {}
        self._closed = threading.Event()
        self._refused: frozenset[str] = frozenset()
        self.client: Client | None = None
        self.nodes: tuple[Node, ...] = ()
        self.fault = f"the scheduler at {url} does not answer"
        self.looked = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cluster", daemon=True)
        self._thread.start()

    @property
    def steps(self) -> int:
        """Differs when a node has made progress."""
        return hash(tuple((node.address, node.steps) for node in self.nodes if node.working))

    @property
    def under_way(self) -> float:
        """How many photos the nodes have done of those that they work on."""
        return sum(node.working * node.share for node in self.nodes)

    def close(self) -> None:
        """End the connection."""
        self._closed.set()
        self._thread.join()
        self._drop()

    def restart(self, address: str) -> None:
        """Start a node's engine anew; what it worked on goes to another."""
        client = self.client
        if client is None:
            return
        log.warning("the engine of the node at %s is started anew", printable(address))
        assert client.scheduler is not None, "a client that was connected has one"
        with contextlib.suppress(*LOST):
            client.sync(
                client.scheduler.restart_workers,
                workers=[address],
                timeout=_ANSWER_S,
                wait_for_workers=False,
                on_error="return",
                stimulus_id=f"restart-{uuid.uuid4()}",
                callback_timeout=2 * _ANSWER_S,
            )

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                if self.client is None:
                    self.client = Client(
                        self._url, security=self._security, timeout=_ANSWER_S, set_as_default=False
                    )
                self._look(self.client)
            except LOST as exc:
                log.info("the scheduler at %s: %s", self._url, printable(str(exc)))
                self._drop()
            self.looked.set()
            self._closed.wait(_LOOK_EVERY_S)

    def _look(self, client: Client) -> None:
        if client.status != "running" or client.scheduler is None:
            raise OSError("the connection is lost")
        identity = client.sync(client.scheduler.identity, n_workers=-1, callback_timeout=_ANSWER_S)
        every = [Node.of(address, worker) for address, worker in identity["workers"].items()]
        known = [node for node in every if node is not None]
        self.nodes = tuple(node for node in known if node.fingerprint == self._fingerprint)
        self.fault = f"the scheduler at {self._url} knows no node that may work for this engine"
        self._file.note([self._seen(node) for node in known])
        self._sights = {node.address: self._sights[node.address] for node in known}
        self._tell_refused([node for node in known if node not in self.nodes])
        for node in self._stuck():
            self.restart(node.address)

    def _stuck(self) -> list[Node]:
        """The nodes that show no progress with their photos, or no sign of life, for too long."""
        now = time.monotonic()
        progress = {}
        stuck = []
        for node in self.nodes:
            shown = (node.steps, 0.0 if node.working else node.seen_at)
            before, since_s = self._progress.get(node.address, (shown, now))
            progress[node.address] = (shown, now if shown != before else since_s)
            if now - progress[node.address][1] >= self._stuck_s:
                stuck.append(node)
                del progress[node.address]
        self._progress = progress
        return stuck

    def _tell_refused(self, nodes: list[Node]) -> None:
        refused = frozenset(node.address for node in nodes)
        for node in nodes:
            if node.address not in self._refused:
                log.warning(
                    "the node %s is refused: %s", printable(node.name), printable(self._why(node) or "")
                )
        self._refused = refused

    def _seen(self, node: Node) -> SeenNode:
        told_at, _ = self._sights.get(node.address, (None, 0.0))
        if told_at != node.seen_at:
            self._sights[node.address] = (node.seen_at, time.time())
        seen_at, speed = self._sights[node.address][1], round(node.photos_per_minute, 1)
        return SeenNode(node.name, node.device, node.working, speed, seen_at, self._why(node))

    def _why(self, node: Node) -> str | None:
        if node.fingerprint == self._fingerprint:
            return None
        return (
            f"its engine is {node.fingerprint}, and this machine's would be {self._fingerprint}; version, recognisers, "
            "mode and jpeg_quality must be the same"
        )

    def _drop(self) -> None:
        client, self.client, self.nodes = self.client, None, ()
        self.fault = f"the scheduler at {self._url} does not answer"
        if client is not None:
            with contextlib.suppress(*LOST):
                client.close(timeout=1)
