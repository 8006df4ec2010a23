"""A node of a cluster: a worker process per device, each with its engine, started anew whenever it dies.

It receives and returns bytes. It knows no outbox and no sync folder, and writes nothing of a photo to its disk.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path

import dask
from distributed import Nanny
from distributed.security import Security

from daemon.cluster.certificates import security
from daemon.cluster.scheduler import LOOPBACK
from daemon.cluster.work import EnginePlugin, NodeSpec
from daemon.config.cluster import host_and_port
from daemon.errors import ServiceError
from daemon.workers.environment import engine_environment

log = logging.getLogger(__name__)

_AGAIN_S = 2.0
_GOODBYE_S = 5.0
_OPTIONS = {
    "distributed.nanny.pre-spawn-environ": {},  # Dask's own are for one thread and little memory
    "distributed.worker.http.routes": [],
    # photos stay in memory: nothing is spilled, and no worker is paused for what its engine takes
    **{f"distributed.worker.memory.{when}": False for when in ("target", "spill", "pause", "terminate")},
    "distributed.worker.profile.enabled": False,
}


def serve(url: str, certificates: Path, engines: Sequence[NodeSpec]) -> None:
    """Work for the scheduler at an address until SIGTERM or SIGINT; waits for it while it cannot be reached.

    Raises:
        ConfigError: certificates are missing. ServiceError: an engine cannot be started.
    """
    mine = security(url, certificates)
    with (
        tempfile.TemporaryDirectory(prefix="fawkesd-node-") as folder,
        dask.config.set(_OPTIONS),
        engine_environment(),
    ):
        asyncio.run(_serve(url, mine, engines, folder))


async def _serve(url: str, mine: Security, engines: Sequence[NodeSpec], folder: str) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    stopping = asyncio.create_task(stop.wait())
    working = [asyncio.create_task(_keep(url, mine, engine, folder)) for engine in engines]
    await asyncio.wait([stopping, *working], return_when=asyncio.FIRST_COMPLETED)
    for task in (stopping, *working):
        task.cancel()
    for ended in await asyncio.gather(*working, return_exceptions=True):
        if (
            isinstance(ended, Exception) and not stop.is_set()
        ):  # a worker that is just starting ends with an error
            raise ended


async def _keep(url: str, mine: Security, engine: NodeSpec, folder: str) -> None:
    """Keep the worker of one engine running."""
    while True:
        try:
            await _work(url, mine, engine, folder)
        except (OSError, TimeoutError) as exc:
            log.warning("the scheduler at %s cannot be reached: %s", url, exc)
        except RuntimeError as exc:
            raise ServiceError(
                f"the engine on {engine.name} cannot be started: {exc.__cause__ or exc}"
            ) from exc
        await asyncio.sleep(_AGAIN_S)


async def _work(url: str, mine: Security, engine: NodeSpec, folder: str) -> None:
    nanny = Nanny(
        url,
        security=mine,
        host=_own_address(url),  # without it, workers would listen on every network of this machine
        nthreads=1,
        resources={engine.fingerprint: 1},  # tasks are only for engines whose cloaks are the same
        memory_limit=0,
        local_directory=folder,
        dashboard_address=LOOPBACK,
        plugins=(EnginePlugin(engine),),
    )
    try:
        await nanny
        await nanny.finished()
    finally:
        await nanny.close(timeout=_GOODBYE_S, reason="the node ends")


def _own_address(url: str) -> str:
    """Return this machine's IP address in the scheduler's network. Raises OSError if that is not known or away."""
    host, port = host_and_port(url)
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as probe:
        probe.connect(address)  # sends nothing
        return str(probe.getsockname()[0])
