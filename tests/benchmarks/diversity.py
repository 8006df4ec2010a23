"""Whether different targets per photo hinder linking a user's cloaked photos, and what that costs in protection.

    python -m tests.benchmarks.diversity --data DIR/faces --tracker dlib --tracker onnx:FILE

The same photos of a few people are cloaked with the one target per user that the engine keeps, with another identity of
the pool for each photo, and with none, only away from the clean face. Linked: how often the nearest other cloaked photo
is of the same user (embeddings centred by other people's mean). Recognised: nearest photo, as in `fawkesd evaluate`.
"""

from __future__ import annotations

import random
from dataclasses import replace
from unittest import mock

import torch

from fawkes_engine import EngineSettings, evaluation
from fawkes_engine.engine import Engine
from fawkes_engine.evaluation.metrics.rates import outcomes, rate
from fawkes_engine.evaluation.studies.linkage import nearest_is_own
from fawkes_engine.evaluation.studies.material import Faces
from fawkes_engine.evaluation.trackers.heads import HEADS, Labelled, unit
from fawkes_engine.evaluation.trackers.sightings import find_faces, read_photos
from fawkes_engine.face.mtcnn import MtcnnDetector
from fawkes_engine.identity.targets import Pool
from fawkes_engine.pipeline.identify import Identifier
from fawkes_engine.pipeline.work import Goal, Work

from .curve import parser

CPU = torch.device("cpu")


class Spread(Identifier):
    """Gives each photo a different target."""

    def identified(self, work: Work) -> Work:
        """Identify the faces, and draw a target for them."""
        pool, draw = Pool.load(), random.Random(work.request.data)
        return replace(super().identified(work), goals=[_any_of(pool, draw) for _ in work.faces])


class Targetless(Identifier):
    """Gives no target: cloaks only push away from the clean face."""

    def identified(self, work: Work) -> Work:
        """Identify the faces, and give them no target."""
        return replace(super().identified(work), goals=[Goal("nobody", {}) for _ in work.faces])


def main() -> None:
    """Measure, and print a line of a Markdown table for each kind of target and each tracker."""
    args = parser(__doc__).parse_args()
    split = evaluation.draw(args.data, people=args.people, cloaked=args.photos, tested=10, seed=0)
    trackers = evaluation.load_trackers(args.tracker, CPU)
    detector = MtcnnDetector(CPU)
    others, tested = (find_faces(read_photos(photos), detector) for photos in (split.others, split.tested))
    described = {t.name: (t.describe(others), t.describe(tested)) for t in trackers}
    print("| target | tracker | linked | recognised |\n|---|---|---|---|", flush=True)
    for name, kind in (("one per user", Identifier), ("one per photo", Spread), ("none", Targetless)):
        with mock.patch("fawkes_engine.pipeline.photos.Identifier", kind):
            engine = Engine(EngineSettings(), evaluation.MemoryTargets())
        made = evaluation.publish(engine, split.cloaked)
        cloaked = find_faces([(p.photo.partition("/")[0], p.data) for p in made.published], detector)
        for tracker in trackers:
            known, asked = described[tracker.name]
            print(
                f"| {name} | {tracker.name} | {_row(tracker.describe(cloaked), known, asked)} |", flush=True
            )


def _row(cloaked: Labelled, others: Labelled, asked: Labelled) -> str:
    centred = unit(cloaked.vectors - others.vectors.mean(axis=0))
    linked = rate(nearest_is_own(Faces(tuple(f"{name}/" for name in cloaked.names), centred)), seed=0)
    named = HEADS["nearest"](Labelled.joined([others, cloaked]), asked.vectors)
    return f"{linked} | {rate(outcomes(asked.names, named), seed=0)}"


def _any_of(pool: Pool, draw: random.Random) -> Goal:
    index = draw.randrange(len(pool.identities))
    vectors = {name: torch.from_numpy(rows[index]) for name, rows in pool.vectors.items()}
    return Goal(pool.identities[index], vectors)


if __name__ == "__main__":
    main()
