"""`fawkesd evaluate`: cloak a split of photos, have trackers judge them, write what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from daemon.cli import progress
from daemon.errors import OutputExists
from daemon.fs import atomic
from fawkes_engine import EngineSettings

if TYPE_CHECKING:
    from fawkes_engine.evaluation import Evaluation, Publication, Run

RESULT = "evaluation"  # .json, .md, .svg in the folder of results
KEPT = "published"


@dataclass(frozen=True, slots=True)
class Order:
    """What to measure; fields as the options of the command. command: it, for the record."""

    data: Path
    portraits: Path | None
    trackers: tuple[str, ...]
    heads: tuple[str, ...]
    people: int | None
    cloaked: int
    tested: int
    seed: int
    disturb: bool
    fine_tune_epochs: int
    published: Path | None
    keep: bool
    out: Path
    engine: EngineSettings
    command: str


def run(order: Order) -> None:
    """Measure, and write the three files; prints the tables.

    Raises EvaluationError for what cannot be measured, OutputExists if there is an evaluation already, OutputError.
    """
    if (order.out / f"{RESULT}.json").exists():
        raise OutputExists(f"{order.out} holds an evaluation already; choose another --out")
    from fawkes_engine import device, evaluation

    split = evaluation.draw(
        order.data, people=order.people, cloaked=order.cloaked, tested=order.tested, seed=order.seed
    )
    evaluation.check_heads(order.heads)
    trackers = evaluation.load_trackers(
        order.trackers, device.chosen("auto")
    )  # before the slow part: a slip shows at once
    publication, portraits = _publications(order, split.cloaked)
    judged = evaluation.evaluate(
        publication,
        trackers,
        split,
        heads=order.heads,
        disturb=order.disturb,
        fine_tune_epochs=order.fine_tune_epochs,
        portraits=portraits,
        on_step=lambda doing: typer.echo(doing, err=True),
    )
    _write(judged, order.out, evaluation.Run(datetime.now(UTC).isoformat(timespec="seconds"), order.command))


def _publications(order: Order, photos: list[Path]) -> tuple[Publication, Publication | None]:
    """Return what the engine makes of the users' photos and of the portraits, or what it made before."""
    from fawkes_engine import evaluation

    if order.published:
        kept = order.published / "portraits"
        return evaluation.load_publication(order.published / "users"), evaluation.load_publication(
            kept
        ) if kept.is_dir() else None
    from fawkes_engine.engine import Engine

    engine = Engine(order.engine, evaluation.MemoryTargets())
    engine.warm_up()
    sets = {"users": photos}
    if order.portraits:
        sets["portraits"] = evaluation.photos_below(order.portraits)
    made = {}
    for name, originals in sets.items():
        with progress.bar(f"cloaking {name}") as bar:
            bar.total(len(originals))
            made[name] = evaluation.publish(engine, originals, bar.advance)
        if order.keep:
            folder = order.out / KEPT / name
            atomic.make_folder(folder)
            evaluation.save_publication(made[name], folder)
    return made["users"], made.get("portraits")


def _write(judged: Evaluation, out: Path, run: Run) -> None:
    from fawkes_engine import evaluation

    atomic.make_folder(out)
    tables = evaluation.as_markdown(judged, run)
    for suffix, text in {
        ".svg": evaluation.as_svg(judged),
        ".md": f"{tables}\n![Recognition]({RESULT}.svg)\n",
        ".json": evaluation.as_json(judged, run),
    }.items():
        atomic.write(out / f"{RESULT}{suffix}", text.encode(), replace=True)
    typer.echo(tables)
