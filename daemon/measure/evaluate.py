"""`fawkesd evaluate`: cloaks a split of photos, runs trackers on them, writes the results."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from daemon.errors import OutputExists
from daemon.fs import atomic
from daemon.measure.report import write_report
from daemon.model import Progress
from daemon.workers.environment import load_torch
from fawkes_engine import EngineSettings

if TYPE_CHECKING:
    from fawkes_engine.evaluation import Publication

RESULT = "evaluation"  # .json, .md, .svg in the folder of results
KEPT = "published"

Bar = Callable[[str], AbstractContextManager[Progress]]  # makes a progress bar with a label


@dataclass(frozen=True, slots=True)
class EvaluateJob:
    """What to measure; fields as the options of the command. command: its line, for the record."""

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


def run(job: EvaluateJob, *, bar: Bar, on_step: Callable[[str], None]) -> str:
    """Measure, write the three files, and return the tables; on_step is called with a line at the start of each step.

    Raises EvaluationError if it is impossible, OutputExists if there is an evaluation already, OutputError.
    """
    if (job.out / f"{RESULT}.json").exists():
        raise OutputExists(f"{job.out} already contains an evaluation; choose another --out")
    load_torch()
    from fawkes_engine import device, evaluation

    split = evaluation.draw(
        job.data, people=job.people, cloaked=job.cloaked, tested=job.tested, seed=job.seed
    )
    evaluation.check_heads(job.heads)
    trackers = evaluation.load_trackers(
        job.trackers, device.chosen("auto")
    )  # before the slow part: a typo shows at once
    publication, portraits = _publications(job, split.cloaked, bar)
    judged = evaluation.evaluate(
        publication,
        trackers,
        split,
        heads=job.heads,
        disturb=job.disturb,
        fine_tune_epochs=job.fine_tune_epochs,
        portraits=portraits,
        on_step=on_step,
    )
    made = evaluation.Run(datetime.now(UTC).isoformat(timespec="seconds"), job.command)
    tables = evaluation.as_markdown(judged, made)
    texts = {
        ".svg": evaluation.as_svg(judged),
        ".md": f"{tables}\n![Recognition]({RESULT}.svg)\n",
        ".json": evaluation.as_json(judged, made),
    }
    write_report(job.out, RESULT, texts)
    return tables


def _publications(job: EvaluateJob, photos: list[Path], bar: Bar) -> tuple[Publication, Publication | None]:
    """Cloak the users' photos and the portraits, or load what was cloaked before."""
    from fawkes_engine import evaluation

    if job.published:
        kept = job.published / "portraits"
        return evaluation.load_publication(job.published / "users"), evaluation.load_publication(
            kept
        ) if kept.is_dir() else None
    from fawkes_engine.engine import Engine

    engine = Engine(job.engine, evaluation.MemoryTargets())
    engine.warm_up()
    sets = {"users": photos}
    if job.portraits:
        sets["portraits"] = evaluation.photos_below(job.portraits)
    made = {}
    for name, originals in sets.items():
        with bar(f"cloaking {name}") as progress:
            progress.total(len(originals))
            made[name] = evaluation.publish(engine, originals, progress.advance)
        if job.keep:
            folder = job.out / KEPT / name
            atomic.make_folder(folder)
            evaluation.save_publication(made[name], folder)
    return made["users"], made.get("portraits")
