"""`fawkesd study`: measures how much protection published photos keep under other than ideal conditions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from daemon.errors import OutputExists
from daemon.fs import atomic
from daemon.measure.report import write_report
from daemon.workers.environment import load_torch

if TYPE_CHECKING:
    from fawkes_engine.evaluation.studies import Material

CACHE = "cache"  # in the folder of results, unless another one is named


@dataclass(frozen=True, slots=True)
class StudyJob:
    """What to study; fields as the options of the command. names: none means all. command: its line, for the record."""

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


def run(job: StudyJob, on_step: Callable[[str], None]) -> Iterator[str]:
    """Run the studies; yield each one's tables when they are written, as OUT/NAME.json and .md.

    Raises EvaluationError if one is impossible, OutputExists if one is there already, OutputError.
    """
    load_torch()
    from fawkes_engine import evaluation
    from fawkes_engine.evaluation import studies

    studies.check_studies(job.names)
    names = job.names or tuple(studies.STUDIES)
    for name in names:
        if (job.out / f"{name}.json").exists():
            raise OutputExists(f"{job.out} already contains the study {name}; choose another --out")
    material = _material(job, on_step)
    for name in names:
        study = studies.STUDIES[name](material)
        made = evaluation.Run(datetime.now(UTC).isoformat(timespec="seconds"), job.command)
        tables = studies.as_markdown(study, made)
        write_report(job.out, name, {".md": tables, ".json": studies.as_json(study, made)})
        yield tables


def _material(job: StudyJob, on_step: Callable[[str], None]) -> Material:
    from fawkes_engine import device, evaluation
    from fawkes_engine.evaluation import studies

    split = evaluation.draw(
        job.data,
        people=job.people,
        cloaked=job.cloaked,
        tested=job.tested,
        seed=job.seed,
        other_people=None,
    )
    trackers = evaluation.load_trackers(job.trackers, device.chosen("auto"))
    publications = [evaluation.load_publication(folder / "users") for folder in job.published]
    cache = job.cache or job.out / CACHE
    for folder in (job.out, cache):
        atomic.make_folder(folder)
    return studies.gather(publications, split, trackers, cache=cache, on_step=on_step)
