"""The command `node`: engines that work for the service on another machine."""

from __future__ import annotations

import logging
import platform
from pathlib import Path
from typing import Annotated

import typer

from daemon.cli.cluster import Certificates, checked_url, default_certificates
from daemon.cli.common import examples
from daemon.errors import ConfigError
from fawkes_engine import DEFAULT_MODE, ModeName

app = typer.Typer()


@app.command(
    "node",
    epilog=examples(
        "fawkesd node --scheduler tls://192.168.1.20:8786",
        "fawkesd node --scheduler tls://192.168.1.20:8786 --device cuda:0,cuda:1 --mode strong",
    ),
)
def run_node(
    *,
    scheduler: Annotated[str, typer.Option("--scheduler", help="Its address, tls://HOST:PORT.")],
    device: Annotated[
        str, typer.Option("--device", help="As in the configuration; several make several nodes.")
    ] = "auto",
    threads: Annotated[
        int, typer.Option("--threads", min=0, help="CPU threads for arithmetic; 0: all cores.")
    ] = 0,
    mode: Annotated[
        ModeName, typer.Option("--mode", help="As in the service's configuration.")
    ] = DEFAULT_MODE,
    jpeg_quality: Annotated[
        int, typer.Option("--jpeg-quality", help="As in the service's configuration.")
    ] = 95,
    extractors: Annotated[
        list[str] | None,
        typer.Option("--extractor", help="As in the service's configuration; repeat it for several."),
    ] = None,
    models: Annotated[Path | None, typer.Option("--models", help="Folder of the face recognisers.")] = None,
    certificates: Certificates = None,
) -> None:
    """Cloak photos for the service of another machine, until SIGTERM or Ctrl-C.

    Mode, quality and recognisers must be those of the service: a node whose cloaks would differ gets no work. Photos
    come and go encrypted and are never written to this machine's disk. See docs/cluster.md.
    """
    url = checked_url(scheduler)
    from pydantic import ValidationError

    from daemon.cluster import node
    from daemon.cluster.work import NodeSpec
    from daemon.config import messages
    from daemon.config.settings import EngineConfig
    from fawkes_engine.fingerprint import expected

    try:
        config = EngineConfig(
            device=device,
            mode=mode,
            extractors=tuple(extractors or ()),
            models_dir=models,
            jpeg_quality=jpeg_quality,
            threads=threads,
        )
    except ValidationError as exc:
        raise ConfigError("\n".join(fault.problem for fault in messages.faults(exc, EngineConfig))) from exc
    if config.scheduler is not None:
        raise ConfigError("a node computes by itself; name a device of this machine")
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    engines = [
        NodeSpec(f"{platform.node()} ({one.device})", one, expected(one)) for one in config.to_engines()
    ]
    node.serve(url, certificates or default_certificates(), engines)
