"""The commands `cluster ...`: certificates and the scheduler, for engines on several machines."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from daemon.cli.common import examples
from daemon.errors import ConfigError

app = typer.Typer(no_args_is_help=True, help="Certificates and scheduler for engines on several machines.")

Certificates = Annotated[
    Path | None,
    typer.Option(
        "--certificates",
        help="Folder with ca.pem, cert.pem and key.pem of this machine [default: ~/.local/state/fawkesd/cluster].",
    ),
]


@app.command("certs", epilog=examples("fawkesd cluster certs ~/fawkesd-certificates"))
def make_certificates(folder: Annotated[Path, typer.Argument(help="A new folder.")]) -> None:
    """Make certificates for a cluster.

    The folders scheduler, coordinator and node in it are to be copied to ~/.local/state/fawkesd/cluster of those
    machines. Whoever has one of them can take part, and run programs there. Keep ca-key.pem offline: it makes more.
    """
    check_extra()
    from daemon.cluster import certificates

    certificates.make(folder)
    typer.echo(
        f"Copy the folders {', '.join(certificates.ROLES)} in {folder} to the machines, and keep the rest to you."
    )


@app.command("scheduler", epilog=examples("fawkesd cluster scheduler --listen tls://192.168.1.20:8786"))
def run_scheduler(
    *,
    listen: Annotated[str, typer.Option("--listen", help="Where: tls://HOST:PORT of this machine.")],
    certificates: Certificates = None,
) -> None:
    """Run the scheduler that nodes and the service connect to, until SIGTERM or Ctrl-C."""
    url = checked_url(listen)
    from daemon.cluster import scheduler

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    scheduler.serve(url, certificates or default_certificates())


def check_extra() -> None:
    """Raise ConfigError if the packages that a cluster needs are not installed."""
    from daemon.config.cluster import missing_words
    from daemon.config.extras import missing_for_cluster

    if missing := missing_for_cluster():
        raise ConfigError(missing_words(missing))


def checked_url(text: str) -> str:
    """Return a scheduler's address. Raises ConfigError for one that cannot be, and without the packages."""
    from daemon.config.cluster import scheduler_url

    check_extra()
    try:
        return scheduler_url(text)
    except ValueError as exc:
        raise ConfigError(str(exc)) from exc


def default_certificates() -> Path:
    """The folder of this machine's certificates."""
    from daemon.config.settings import default_state_dir

    return default_state_dir() / "cluster"
