"""How much leaked clean photos help: a share of a user's photos in the gallery are originals, not cloaked."""

from __future__ import annotations

import random
from collections.abc import Sequence

from fawkes_engine.evaluation.metrics.rates import Rate
from fawkes_engine.evaluation.report.text import HEAD_TITLES
from fawkes_engine.evaluation.studies.material import Material, StudyPhoto, people_of, recognised
from fawkes_engine.evaluation.studies.result import Row, Study, Table
from fawkes_engine.evaluation.trackers.heads import HEADS, Labelled
from fawkes_engine.evaluation.trackers.tracker import Tracker

SHARES = (0.0, 0.1, 0.25, 0.5, 1.0)


def leak(material: Material) -> Study:
    """Measure recognition for each of SHARES; a leaked original takes the place of its cloaked copy."""
    rows = [
        Row((tracker.name, HEAD_TITLES[head], mode), tuple(_curve(material, tracker, head, mode)))
        for tracker in material.trackers
        for mode in material.cloaked
        for head in HEADS
    ]
    return material.study(
        title="Leaked originals",
        method="A share of the photos that the tracker has of each user are originals instead of cloaked copies.",
        tables=(
            Table(
                "Recognised",
                ("tracker", "head", "mode"),
                tuple(f"{share:.0%} leaked".replace("%", " %") for share in SHARES),
                tuple(rows),
            ),
        ),
    )


def leaked(photos: Sequence[StudyPhoto], share: float, seed: int) -> set[str]:
    """Choose which photos leak: per person as near to the share as whole photos allow, in total exactly.

    Except for that rounding, a larger share contains the photos of a smaller one.
    """
    chosen: set[str] = set()
    due = 0.0
    for person in people_of(photos):
        names = sorted(photo.name for photo in photos if photo.person == person)
        random.Random(f"{seed} {person}").shuffle(names)
        due += share * len(names)
        count = round(due)
        chosen.update(names[:count])
        due -= count
    return chosen


def _curve(material: Material, tracker: Tracker, head: str, mode: str) -> list[Rate]:
    published = material.cloaked[mode]
    cloaked, clean = (material.faces(tracker, photos) for photos in (published, material.originals))
    others, asked = (
        material.faces(tracker, photos).labelled for photos in (material.others, material.tested)
    )

    def at(share: float) -> Rate:
        out = leaked(published, share, material.seed)
        hidden = {photo.name for photo in published} - out
        gallery: list[Labelled] = [others, cloaked.of(hidden).labelled, clean.of(out).labelled]
        return recognised(gallery, asked, head=head, seed=material.seed)

    return [at(share) for share in SHARES]
