"""The results of a study, as JSON with everything and as Markdown to read."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from fawkes_engine.evaluation.metrics.rates import Rate
from fawkes_engine.evaluation.report.text import Run, table


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its labels, and its figures, None where there is none."""

    labels: tuple[str, ...]
    rates: tuple[Rate | None, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Shares with their 95 % intervals over people. labels, columns: headers of a row's labels and of its rates."""

    title: str
    labels: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Study:
    """A question, the method, and the answer. people: those to be recognised."""

    title: str
    method: str
    seed: int
    people: tuple[str, ...]
    tables: tuple[Table, ...]


def as_json(study: Study, run: Run) -> str:
    """Return everything."""
    return json.dumps(asdict(run) | asdict(study), indent=1) + "\n"


def as_markdown(study: Study, run: Run) -> str:
    """Return the study as a section."""
    method = (
        f"{study.method} {len(study.people)} people, seed {study.seed}; {run.date[:10]}, `{run.command}`\n"
    )
    return "\n".join([f"## {study.title}\n", method, *map(_table, study.tables)])


def _table(found: Table) -> str:
    rows = ([*row.labels, *map(_cell, row.rates)] for row in found.rows)
    return f"{found.title}:\n\n{table([*found.labels, *found.columns], rows)}"


def _cell(rate: Rate | None) -> str:
    return f"{100 * rate.share:.1f} % [{100 * rate.low:.0f}, {100 * rate.high:.0f}]" if rate else ""
