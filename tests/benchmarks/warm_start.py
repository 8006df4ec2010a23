"""Whether a warm start from cloaks of a user's earlier photos saves steps on the next one.

    export OMP_NUM_THREADS=1 MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=4294967296 MALLOC_TOP_PAD_=67108864
    python -m tests.benchmarks.warm_start --data DIR/faces --tracker onnx:FILE

Each person's first photos are cloaked as usual; the average of those cloaks, in aligned face coordinates, initialises
the other photos' cloaks, instead of zero. Nothing is held, so nothing gets a second try. Cosines are those of the
cloaked to the clean face (low: protected); linked is the mean cosine between the cloaked faces of one person (low: they
cannot be linked).
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from statistics import mean
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from fawkes_engine import Budget, EngineSettings, Protected, Request, evaluation
from fawkes_engine.cloak import optimise
from fawkes_engine.cloak.state import CloakState
from fawkes_engine.cloak.subjects import Subject, centre
from fawkes_engine.engine import Engine
from fawkes_engine.evaluation.data.splits import photos_of, shuffled
from fawkes_engine.evaluation.report.text import table
from fawkes_engine.evaluation.trackers.sightings import find_faces, read_photos
from fawkes_engine.evaluation.trackers.tracker import Tracker
from fawkes_engine.extractors import KNOWN_BY
from fawkes_engine.extractors.dlib import CHIP_PX
from fawkes_engine.face.align import Similarity, sample_chips
from fawkes_engine.face.detect import FaceDetector
from fawkes_engine.face.mtcnn import MtcnnDetector
from fawkes_engine.identity.people import FACES_AVERAGED

_SIDE = 224  # of the aligned square in which cloaks are averaged
_MEETING_STEPS = 2  # of cloaks that are thrown away
CPU = torch.device("cpu")


class Memory:
    """Cloaks of one person, averaged in the recogniser's aligned square."""

    def __init__(self) -> None:
        self._to_chip = Similarity(complex(CHIP_PX / _SIDE), 0j)
        self._sum, self._count = torch.zeros(1, 3, _SIDE, _SIDE), 0

    def learn(self, subject: Subject, delta: Tensor) -> None:
        """Add a finished cloak (3, S, S)."""
        self._sum += sample_chips(delta[None], [self._onto_canvas(subject)], _SIDE)
        self._count += 1

    def start(self, subject: Subject) -> Tensor:
        """Return the average as a cloak of another face, (3, S, S)."""
        side, onto = subject.canvas.shape[2], self._onto_canvas(subject)
        back = Similarity(1 / onto.turn, -onto.shift / onto.turn)
        padded = torch.nn.functional.pad(self._sum / self._count, (1, 1, 1, 1))  # 0 beyond its border
        shifted = Similarity(back.turn, back.shift + complex(1, 1))
        return sample_chips(padded, [shifted], side)[0] * subject.mask

    def _onto_canvas(self, subject: Subject) -> Similarity:
        return subject.onto_canvas[KNOWN_BY].after(self._to_chip)


class Session:
    """Engines for several numbers of steps, whose cloaks are recorded, and may start from an average."""

    def __init__(self, steps: Sequence[int]) -> None:
        targets = evaluation.MemoryTargets()
        self._engines = {
            n: Engine(EngineSettings(steps=n, device="cpu", threads=1), targets)
            for n in {_MEETING_STEPS, *steps}
        }
        self.subjects: list[Subject] = []
        self.cloaks: list[optimise.Cloak] = []

    def meet(self, photos: Sequence[Path]) -> None:
        """Show the engines photos of one user until the user's mean face is complete."""
        for _ in range(-(-FACES_AVERAGED // len(photos))):
            self.protect(photos, _MEETING_STEPS)

    def protect(
        self, photos: Sequence[Path], steps: int, start: Callable[[Subject], Tensor] | None = None
    ) -> list[Protected]:
        """Cloak the user's face in photos of one user."""
        requests = [Request(p.read_bytes(), p.parent.name, only_mine=True) for p in photos]
        with (
            _started_from(start),
            mock.patch("fawkes_engine.pipeline.photos.optimise", self._optimise),
            mock.patch("fawkes_engine.pipeline.verify.OWN_COSINE_LIMIT", 1.0),
        ):
            results = self._engines[steps].protect(requests)
        return [r for r in results if isinstance(r, Protected)]

    def _optimise(self, subjects: Sequence[Subject], *args: Any, **kwargs: Any) -> list[optimise.Cloak]:
        cloaks = optimise.optimise(subjects, *args, **kwargs)
        self.subjects += subjects
        self.cloaks += cloaks
        return cloaks


@contextmanager
def _started_from(start: Callable[[Subject], Tensor] | None) -> Iterator[None]:
    usual = CloakState.start

    def warm(subjects: Sequence[Subject], budget: Budget) -> CloakState:
        state = usual(subjects, budget)
        if start is not None:
            state.delta.data = centre(torch.stack([start(s) for s in subjects])).contiguous()
            state.project()
        return state

    with mock.patch.object(CloakState, "start", warm):
        yield


def main() -> None:
    """Learn, cloak cold and warm, and print a table."""
    args = _arguments()
    torch.set_num_threads(1)
    trackers, detector = evaluation.load_trackers(args.tracker, CPU), MtcnnDetector(CPU)
    people = sorted(p for p in (args.data / "users").iterdir() if p.is_dir())[: args.people]
    session = Session([args.learning_steps, *args.steps])
    found: dict[tuple[str, int], list[dict[str, float]]] = defaultdict(list)
    for person in people:
        photos = shuffled(photos_of(person), seed=0)[: args.learned + args.tested]
        learned, tested = photos[: args.learned], photos[args.learned :]
        begin = len(session.cloaks)
        session.protect(learned, args.learning_steps)
        memory = Memory()
        for subject, made in zip(session.subjects[begin:], session.cloaks[begin:], strict=True):
            memory.learn(subject, made.delta)
        session.meet(tested)  # or whoever is cloaked later would be known better
        for name, start in (("cold", None), ("warm", memory.start)):
            for steps in args.steps:
                results = session.protect(tested, steps, start)
                found[name, steps].append(_figures(results, tested, trackers, detector))
    names = list(next(iter(found.values()))[0])
    rows = [
        [f"{name}, {steps} steps", *(f"{mean(f[n] for f in figures):.4g}" for n in names)]
        for (name, steps), figures in found.items()
    ]
    print(table(["start", *names], rows))


def _figures(
    results: Sequence[Protected], photos: Sequence[Path], trackers: Sequence[Tracker], detector: FaceDetector
) -> dict[str, float]:
    """Return means over one person's photos."""
    faces = [r.report.faces[0] for r in results]
    figures = {"DSSIM": mean(f.dssim for f in faces)}
    for name in faces[0].cosine_own:
        figures[name] = mean(f.cosine_own[name] for f in faces)
    clean = find_faces(read_photos(photos), detector)
    cloaked = find_faces([("", r.data) for r in results], detector)
    for tracker in trackers:
        own, there = tracker.describe(clean).vectors, tracker.describe(cloaked).vectors
        if len(own) == len(there):
            figures[tracker.name] = float((own * there).sum(axis=1).mean())
            pairs = [float(a @ b) for a, b in combinations(there, 2)]
            figures[f"{tracker.name}, linked"] = mean(pairs)
    return figures


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with users/")
    parser.add_argument("--tracker", action="append", default=[], help="as of fawkesd evaluate; repeatable")
    parser.add_argument("--people", type=int, default=5)
    parser.add_argument(
        "--learned", type=int, default=6, help="photos of each that the start is learned from"
    )
    parser.add_argument("--tested", type=int, default=4, help="other photos of each")
    parser.add_argument("--learning-steps", type=int, default=60)
    parser.add_argument("--steps", type=int, nargs="*", default=[12, 24, 60])
    return parser.parse_args()


if __name__ == "__main__":
    main()
