"""An audit as text: tables, and advice on what would improve the result."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from daemon.text import printable

if TYPE_CHECKING:
    from daemon.measure.audit import AuditJob
    from fawkes_engine.evaluation.audit import Audit

_FEW = 10  # photos: with fewer an interval is wider than 30 points
_OFTEN = 0.1  # of the clean photos


def as_json(found: Audit) -> str:
    """Return the whole audit as JSON."""
    return json.dumps(asdict(found), indent=2)


def lines(job: AuditJob, found: Audit) -> Iterator[str]:
    """Yield the audit as Markdown, line by line; names are escaped."""
    yield f"# What trackers make of {job.user}'s photos\n"
    yield from summary(job, found)
    yield f"\n{table(found)}"
    for advice in advices(job, found):
        yield f"- {advice}"
    for path in found.leaked:
        yield f"  - {printable(path)}"


def summary(job: AuditJob, found: Audit) -> Iterator[str]:
    """Yield what was done, in sentences."""
    others = ", ".join(f"{count} ({name})" for name, count in found.other_people.items())
    yield (
        f"Each tracker learned {len(found.published)} published photos under the name {job.user}, and other people: "
        f"{others}. It was asked who is in {len(found.clean)} clean photos, each time without the published copy "
        "of that photo. Brackets are 95 % intervals over photos."
    )
    if not job.gallery:
        yield (
            "The more other people a tracker knows, the less often it names anybody. These are few, averaged faces "
            "that come with fawkesd, a rough stand-in: `fawkesd audit --gallery FOLDER`, with photos of real people, "
            "gives more reliable figures."
        )
    if found.faceless:
        yield f"{len(found.faceless)} photos were left out because no face was found in them."


def table(found: Audit) -> str:
    """Return the rates as a Markdown table."""
    from fawkes_engine.evaluation.report.text import HEAD_TITLES
    from fawkes_engine.evaluation.report.text import table as markdown

    learned = list(dict.fromkeys(row.learned for row in found.rows))
    cells = {(row.tracker, row.head, row.learned): f"{row.recognised}" for row in found.rows}
    places = list(dict.fromkeys((row.tracker, row.head) for row in found.rows))
    return markdown(
        ["still named after learning", "head", *learned],
        [[name, HEAD_TITLES[head], *(cells[name, head, one] for one in learned)] for name, head in places],
    )


def advices(job: AuditJob, found: Audit) -> Iterator[str]:
    """Yield advice on what would improve the result, one or two sentences each."""
    from fawkes_engine.evaluation.audit import PUBLISHED, WITHOUT_LEAKS

    kept = WITHOUT_LEAKS if found.leaked else PUBLISHED
    rest = {
        row.tracker: row.recognised.share
        for row in found.rows
        if (row.head, row.learned) == ("nearest", kept)
    }
    worst = max(rest, key=lambda name: rest[name])
    if rest[worst] >= _OFTEN:
        yield (
            f"{worst} names {job.user} on {rest[worst]:.0%} of the clean photos, by the nearest cloaked photo. "
            + _stronger(job)
        )
    if len(found.published) < _FEW or len(found.clean) < _FEW:
        yield f"These are few photos: with {_FEW} or more published and clean ones the figures are more reliable."
    if not job.trackers:
        yield (
            "Cloaks are computed against all of these recognisers; others are fooled less. Also measure with one of "
            "your own: `fawkesd audit --tracker onnx:FILE --gallery FOLDER`."
        )
    if found.leaked:
        yield (
            f"{len(found.leaked)} of the published photos still look like {job.user} to dlib. Take them offline, or "
            "replace them with cloaked ones; where you cannot, more cloaked photos and `fawkesd sybil` help a little:"
        )


def _stronger(job: AuditJob) -> str:
    if job.engine.mode == "strong":
        return "This is the strongest mode already; more recognisers (`fawkesd models list`) make cloaks more general."
    return "`mode: strong` makes cloaks more visible and fools far more recognisers; `fawkesd redo` cloaks again."
