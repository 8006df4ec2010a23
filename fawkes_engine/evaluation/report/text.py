"""An evaluation as text: JSON with everything, Markdown to read."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from fawkes_engine.evaluation.data.costs import Costs, Figure
from fawkes_engine.evaluation.protection import CONTROL, Evaluation, Recognition

HEAD_TITLES = {
    "nearest": "nearest photo",
    "centroid": "nearest centroid",
    "linear": "linear head",
    "fine-tuned": "fine-tuned network",
}


@dataclass(frozen=True, slots=True)
class Run:
    """When an evaluation was made, UTC, ISO 8601, and by which command."""

    date: str
    command: str


def as_json(evaluation: Evaluation, run: Run) -> str:
    """Return everything, including each person's counts and each held photo."""
    return json.dumps(asdict(run) | asdict(evaluation), indent=1) + "\n"


def as_markdown(evaluation: Evaluation, run: Run) -> str:
    """Return the tables, and what is needed to read them."""
    parts = [
        "# Evaluation\n",
        f"{run.date}, `{run.command}`\n",
        f"Engine {evaluation.fingerprint}. {len(evaluation.users)} people to protect, each with "
        f"{evaluation.cloaked} photos to be published and {evaluation.tested} other, clean ones to be recognised on; "
        f"{evaluation.other_people} other people in the tracker; seed {evaluation.seed}. Protection is "
        "1 - recognition; it is meaningful only for a tracker that recognises the users from their original photos, "
        "and from those warped at random as far as a cloak does, with noise of the same DSSIM. "
        "Brackets are 95 % intervals, bootstrapped over people.\n",
        *(_tracker(evaluation, tracker.name) for tracker in evaluation.trackers),
        _piles(evaluation),
        _costs("Cost of the cloaks", evaluation.costs),
    ]
    if evaluation.portraits:
        parts.append(_costs("Cost of the cloaks on portraits", evaluation.portraits))
    return "\n".join(parts)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Format a Markdown table with a line feed at its end."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _tracker(evaluation: Evaluation, name: str) -> str:
    (model,) = (t for t in evaluation.trackers if t.name == name)
    measured = [r for r in evaluation.recognition if r.tracker == name]
    heads = list(dict.fromkeys(r.head for r in measured))
    galleries = list(dict.fromkeys(r.gallery for r in measured))
    by_place = {(r.gallery, r.head): r for r in measured}
    digest = f", sha256 {model.sha256}" if model.sha256 else ""
    rows = [[gallery, *(_cell(by_place[gallery, head]) for head in heads)] for gallery in galleries]
    title = ["recognised, the users' photos learned", *(HEAD_TITLES[head] for head in heads)]
    return f"## Tracker {name}\n\nInput {model.input}{digest}.\n\n{table(title, rows)}"


def _cell(measured: Recognition) -> str:
    recognised = f"{measured.recognised}"
    if measured.gallery == CONTROL:
        return recognised
    return f"{recognised}, protection {measured.recognised.complement.share:.1%}"


def _piles(evaluation: Evaluation) -> str:
    rows = [[pile.name, str(pile.photos), str(pile.undetected)] for pile in evaluation.piles]
    rows.append(["held by the engine", str(len(evaluation.costs.held)), ""])
    return f"## Photos\n\n{table(['photos', 'count', 'no face detected'], rows)}"


def _costs(title: str, costs: Costs) -> str:
    reasons = Counter(re.sub(r" at \d+, \d+ px", "", reason) for reason in costs.held.values())
    outcome = [
        ["photos", str(costs.photos)],
        ["published", str(costs.published)],
        *([f"held: {reason}", str(count)] for reason, count in reasons.most_common()),
        ["published, the user taken for a stranger", str(len(costs.as_stranger))],
        ["faces published", str(costs.faces)],
        ["seconds per photo", f"{costs.seconds_per_photo:.2f}"],
    ]
    figures = [
        *([name, *_row(figure)] for name, figure in costs.visibility.items()),
        *([f"cosine to {name}", *_row(figure)] for name, figure in costs.cosines.items()),
    ]
    head = ["published faces", "mean", "median", "smallest", "largest"]
    return f"## {title}\n\n{table(['outcome', 'count'], outcome)}\n{table(head, figures)}"


def _row(figure: Figure) -> list[str]:
    return [f"{value:.4f}" for value in (figure.mean, figure.median, figure.smallest, figure.largest)]
