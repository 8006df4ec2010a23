"""`fawkesd study`: what is left of published photos' protection beyond clean conditions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from daemon.errors import OutputExists
from daemon.fs import atomic

if TYPE_CHECKING:
    from fawkes_engine.evaluation.studies import Material

CACHE = "cache"  # in the folder of results, unless another one is named


@dataclass(frozen=True, slots=True)
class Order:
    """What to study; fields as the options of the command. names: none is all. command: it, for the record."""

    names: tuple[str, ...]
    data: Path
    published: tuple[Path, ...]
    trackers: tuple[str, ...]
    people: int | None
    cloaked: int
    tested: int
    seed: int
    cache: Path | None
    out: Path
    command: str


def run(order: Order) -> None:
    """Make the studies; each one's tables are printed and written when it is done, as OUT/NAME.json and .md.

    Raises EvaluationError for what cannot be studied, OutputExists if a study is there already, OutputError.
    """
    from fawkes_engine import evaluation
    from fawkes_engine.evaluation import studies

    studies.check_studies(order.names)
    names = order.names or tuple(studies.STUDIES)
    for name in names:
        if (order.out / f"{name}.json").exists():
            raise OutputExists(f"{order.out} holds the study {name} already; choose another --out")
    material = _material(order)
    for name in names:
        study = studies.STUDIES[name](material)
        made = evaluation.Run(datetime.now(UTC).isoformat(timespec="seconds"), order.command)
        tables = studies.as_markdown(study, made)
        for suffix, text in {".md": tables, ".json": studies.as_json(study, made)}.items():
            atomic.write(order.out / f"{name}{suffix}", text.encode(), replace=True)
        typer.echo(tables)


def _material(order: Order) -> Material:
    from fawkes_engine import device, evaluation
    from fawkes_engine.evaluation import studies

    split = evaluation.draw(
        order.data,
        people=order.people,
        cloaked=order.cloaked,
        tested=order.tested,
        seed=order.seed,
        other_people=None,
    )
    trackers = evaluation.load_trackers(order.trackers, device.chosen("auto"))
    publications = [evaluation.load_publication(folder / "users") for folder in order.published]
    cache = order.cache or order.out / CACHE
    for folder in (order.out, cache):
        atomic.make_folder(folder)
    return studies.gather(
        publications, split, trackers, cache=cache, on_step=lambda doing: typer.echo(doing, err=True)
    )
