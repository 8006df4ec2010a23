"""How much faster the engine is than the paper's recipe, and than a straightforward version of its own loop.

    export OMP_NUM_THREADS=1 MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=4294967296 MALLOC_TOP_PAD_=67108864
    python -m tests.benchmarks.speedup --data DIR/faces --tracker onnx:FILE
    python -m tests.benchmarks.speedup                    # on scikit-image's astronaut

All three cloak the same faces through the same recognisers toward the same targets, round by round in one process: the
engine a batch of photos, the baselines the middle face of the first few. The engine's seconds are those of the whole
call, decoding to verification, divided among all faces it cloaked; the baselines' are those of their loops. They are
CPU seconds of the process, which other programs disturb least. Results are written losslessly, measured on the same
region, and judged by their cosine to the clean face, which is low where a cloak protects.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fawkes_engine import MODES, EngineSettings, Protected, Request, evaluation
from fawkes_engine import extractors as registry
from fawkes_engine.engine import Engine
from fawkes_engine.evaluation.data.splits import photos_of, shuffled
from fawkes_engine.evaluation.report.text import table
from fawkes_engine.evaluation.trackers.sightings import Crop, Sighting
from fawkes_engine.evaluation.trackers.tracker import Tracker
from fawkes_engine.extractors import Extractor
from fawkes_engine.face.canvas import region_of, to_tensor
from fawkes_engine.face.detect import Face, Pixels
from fawkes_engine.face.mtcnn import MtcnnDetector
from fawkes_engine.identity.targets import Pool
from fawkes_engine.image.visibility import Visibility, measure
from fawkes_engine.photo.decode import decode
from fawkes_engine.weights import catalog

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' own helpers

from engine_pictures import astronaut

from . import paper_recipe, straightforward

ENGINE, STRAIGHTFORWARD, PAPER = "the engine", "straightforward", "the paper's recipe"
CPU = torch.device("cpu")
Photo = tuple[str, Pixels]  # person, (H, W, 3) uint8


@dataclass(frozen=True, slots=True)
class Outcome:
    """One face after one contender. cosines: judge -> (to the clean face, to the target; None if it has none)."""

    seen: Visibility
    cosines: Mapping[str, tuple[float, float | None]]


class Contest:
    """The contenders and the judges."""

    def __init__(self, args: argparse.Namespace) -> None:
        settings = replace(
            EngineSettings.of_mode(args.mode),
            extractors=tuple(args.extractors),
            device="cpu",
            threads=torch.get_num_threads(),
        )
        self.settings, self.iterations = settings, args.iterations
        self.targets = evaluation.MemoryTargets()
        self.engine = Engine(settings, self.targets)
        self.engine.warm_up()
        self.pool, folder = Pool.load(), catalog.default_folder()
        names = settings.extractors or catalog.best_on_disk(folder)
        self.extractors = [registry.load(n, self.pool.mean(n), CPU) for n in names]
        self.plain = [straightforward.Plain(e, folder) for e in self.extractors]
        unseen = evaluation.load_trackers(args.tracker, CPU) if args.tracker else []
        self.judges = [*(_as_judge(e) for e in self.extractors), *unseen]
        self.detector = MtcnnDetector(CPU)
        # contender -> seconds per face of each run; contender -> photo -> what became of its middle face
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.outcomes: dict[str, dict[str, Outcome]] = defaultdict(dict)

    def round(self, number: int, photos: Sequence[Photo], straight: int, papers: int) -> None:
        """Run each contender on its share of some photos."""
        requests = [Request(_png(pixels), person) for person, pixels in photos]
        begun = time.process_time()
        results = self.engine.protect(requests)
        spent = time.process_time() - begun
        published = [r for r in results if isinstance(r, Protected)]
        self.seconds[ENGINE] += [spent / max(1, sum(len(r.report.faces) for r in published))]
        for i, ((person, pixels), result) in enumerate(zip(photos, results, strict=True)):
            face = _middle(self.detector.detect(pixels), pixels)
            if not isinstance(result, Protected) or face is None:
                continue
            name, targets = f"{number} {person}", self._targets(person)
            self._note(ENGINE, name, pixels, decode(result.data).pixels, face, targets)
            if i < straight:
                cloaked = self._timed(STRAIGHTFORWARD, partial(self._straight, pixels, face, targets))
                self._note(STRAIGHTFORWARD, name, pixels, cloaked, face, targets)
            if i < papers:
                cloaked = self._timed(PAPER, partial(self._paper, pixels, face, targets))
                self._note(PAPER, name, pixels, cloaked, face, targets)

    def _straight(self, pixels: Pixels, face: Face, targets: Mapping[str, Tensor]) -> Pixels:
        limit, steps = self.settings.budget.dssim, self.settings.steps
        return straightforward.cloak(
            pixels, face, self.plain, targets, dssim_limit=limit, steps=steps, seed=0
        )

    def _paper(self, pixels: Pixels, face: Face, targets: Mapping[str, Tensor]) -> Pixels:
        limit = self.settings.budget.dssim
        return paper_recipe.cloak(
            pixels, face, self.extractors, targets, dssim_limit=limit, iterations=self.iterations
        )

    def _timed(self, contender: str, run: Callable[[], Pixels]) -> Pixels:
        begun = time.process_time()
        cloaked = run()
        self.seconds[contender].append(time.process_time() - begun)
        return cloaked

    def _targets(self, person: str) -> dict[str, Tensor]:
        chosen = self.targets.get(person)
        mixture = self.pool.mixture(chosen.identity) if chosen else None
        assert mixture is not None
        return {e.name: torch.from_numpy(self.pool.vector(e.name, mixture)) for e in self.extractors}

    def _note(
        self,
        contender: str,
        name: str,
        clean: Pixels,
        cloaked: Pixels,
        face: Face,
        targets: Mapping[str, Tensor],
    ) -> None:
        x0, y0, x1, y1 = region_of(face.box, clean)
        before, after = (to_tensor(p[y0:y1, x0:x1])[None] for p in (clean, cloaked))
        cosines: dict[str, tuple[float, float | None]] = {}
        for judge in self.judges:
            own, there = (_described(judge, pixels, face) for pixels in (clean, cloaked))
            target = targets.get(judge.name)
            cosines[judge.name] = float(there @ own), None if target is None else float(there @ target)
        self.outcomes[contender][name] = Outcome(measure(before, after, face.height_px), cosines)

    def speeds(self) -> str:
        """Seconds per face and ratios, as a Markdown table."""
        ours = mean(self.seconds[ENGINE])
        rows = [
            [
                name,
                f"{len(spent)}",
                f"{mean(spent):.2f}",
                f"{min(spent):.2f}-{max(spent):.2f}",
                f"{mean(spent) / ours:.1f}",
            ]
            for name, spent in self.seconds.items()
        ]
        return table(["contender", "runs", "CPU seconds per face", "range", "times the engine's"], rows)

    def worths(self) -> Iterator[str]:
        """The cloaks' effect, each baseline beside the engine on the same faces, as Markdown tables."""
        for other in (STRAIGHTFORWARD, PAPER):
            shared = list(self.outcomes[other])
            if shared:
                rows = [_worth(n, [self.outcomes[n][face] for face in shared]) for n in (ENGINE, other)]
                judges = list(self.outcomes[other][shared[0]].cosines)
                yield table(["contender", "faces", "DSSIM", "DSSIM at 224 px", *judges], rows)


def main() -> None:
    """Run all rounds and print the tables."""
    args = _arguments()
    contest = Contest(args)
    for number, photos in enumerate(_rounds(args)):
        contest.round(number, photos, args.straightforward, args.papers)
    print(f"mode {args.mode}, {torch.get_num_threads()} thread(s), {contest.engine.fingerprint}\n")
    print(contest.speeds())
    print("Cosine to the clean face / to the target:\n")
    print("\n".join(contest.worths()))


def _rounds(args: argparse.Namespace) -> Iterator[list[Photo]]:
    if args.data is None:
        yield [("astronaut", astronaut())]
        return
    people = sorted(p for p in (args.data / "users").iterdir() if p.is_dir())[: args.photos]
    drawn = [shuffled(photos_of(person), seed=0) for person in people]
    for i in range(args.rounds):
        yield [(photos[i].parent.name, decode(photos[i].read_bytes()).pixels) for photos in drawn]


def _worth(name: str, outcomes: Sequence[Outcome]) -> list[str]:
    cells = []
    for judge in outcomes[0].cosines:
        pairs = [o.cosines[judge] for o in outcomes]
        own, there = mean(p[0] for p in pairs), [p[1] for p in pairs if p[1] is not None]
        cells.append(f"{own:.2f} / {mean(there):.2f}" if there else f"{own:.2f}")
    dssims = mean(o.seen.dssim for o in outcomes), mean(o.seen.dssim_224 for o in outcomes)
    return [name, str(len(outcomes)), *(f"{d:.4f}" for d in dssims), *cells]


def _middle(faces: Sequence[Face], pixels: Pixels) -> Face | None:
    centre = np.array(pixels.shape[1::-1]) / 2
    return min(faces, key=lambda f: float(np.linalg.norm(f.landmarks.mean(axis=0) - centre)), default=None)


def _as_judge(extractor: Extractor) -> Tracker:
    """Return an extractor as a tracker that centres embeddings as the engine does."""
    crop = Crop(extractor.chip_px, extractor.template)
    return Tracker(extractor.name, "", None, crop, lambda c: extractor.embed(c).numpy(), None, CPU)


def _described(tracker: Tracker, pixels: Pixels, face: Face) -> Tensor:
    return torch.from_numpy(tracker.describe([_sighting(pixels, face)]).vectors[0])


def _sighting(pixels: Pixels, face: Face) -> Sighting:
    return Sighting("", _png(pixels), face.landmarks)


def _png(pixels: Pixels) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", compress_level=1)
    return out.getvalue()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder with users/; without it, scikit-image's astronaut")
    parser.add_argument(
        "--tracker", action="append", help="as of fawkesd evaluate; an unseen one; repeatable"
    )
    parser.add_argument("--mode", choices=list(MODES), default="standard")
    parser.add_argument("--extractors", nargs="*", default=[], help="for all three; default: those on disk")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--photos", type=int, default=16, help="the engine's, in each round")
    parser.add_argument(
        "--straightforward", type=int, default=3, help="faces of the straightforward loop in each round"
    )
    parser.add_argument("--papers", type=int, default=1, help="faces of the paper's recipe in each round")
    parser.add_argument(
        "--iterations", type=int, default=paper_recipe.ITERATIONS, help="of the paper's recipe"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
