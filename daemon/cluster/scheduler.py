"""The scheduler of a cluster: nodes and the coordinator connect to it, and the work goes through its memory."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import dask
from distributed import Scheduler

from daemon.cluster.certificates import security
from daemon.config.cluster import host_and_port
from daemon.errors import ServiceError

LOOPBACK = "127.0.0.1:0"  # Dask always opens an HTTP server: it serves nothing, and only to this machine
_OPTIONS = {
    # a photo that kills nodes is tried on two; then the coordinator singles it out
    "distributed.scheduler.allowed-failures": 1,
    "distributed.scheduler.worker-ttl": "60s",  # a node that sleeps, or is unplugged, keeps its connection
    "distributed.scheduler.http.routes": [],
}


def serve(url: str, certificates: Path) -> None:
    """Run a scheduler at an address until SIGTERM or SIGINT.

    Raises:
        ConfigError: certificates are missing. ServiceError: it cannot listen there.
    """
    mine = security(url, certificates)
    host, port = host_and_port(url)

    async def run() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        scheduler = Scheduler(
            host=host,
            port=port,
            protocol=url.partition("://")[0],
            security=mine,
            dashboard=False,
            dashboard_address=LOOPBACK,
        )
        async with scheduler:
            await stop.wait()

    with dask.config.set(_OPTIONS):
        try:
            asyncio.run(run())
        except OSError as exc:
            raise ServiceError(f"the scheduler cannot listen at {url}: {exc.strerror or exc}") from exc
