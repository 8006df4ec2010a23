"""What the engine publishes: refusals, and what can be seen on the decoded files; it has no command of its own."""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np
import torch

from fawkes_engine.canvas import to_tensor
from fawkes_engine.engine import Engine
from fawkes_engine.faces import Pixels
from fawkes_engine.photo import decode
from fawkes_engine.types import STRANGER, Budget, FaceReport, Protected
from fawkes_engine.visibility import Visibility, measure

from .common import protect_all, table

REGION_MARGIN = 0.15  # of the face box's size, on each side: where the budget must hold


class TakenFor(Enum):
    """Whom the engine took the user for, in a photo of the user: only "user" moves the face to the one target."""

    USER = "the user"
    STRANGER = "a stranger"
    OTHER_USER = "another user"


@dataclass(frozen=True, slots=True)
class SeenFace:
    """One published face: the engine's own report, and what this script measured on the decoded file."""

    photo: str
    report: FaceReport
    seen: Visibility


@dataclass(frozen=True, slots=True)
class Published:
    """What the engine made of a set of photos.

    refused: photo -> kind and message of its refusal. taken_for: published photo -> whom the face nearest the
    middle was taken for. seconds_per_photo: wall time, photos in batches.
    """

    photos: int
    refused: dict[str, str]
    faces: list[SeenFace]
    taken_for: dict[str, str]
    seconds_per_photo: float

    @property
    def tables(self) -> str:
        """Everything as Markdown."""
        return "\n".join([self._outcome(), self._visibility(), self._cosines()])

    def _outcome(self) -> str:
        counted = Counter(re.sub(r" at \d+, \d+ px", "", reason) for reason in self.refused.values())
        rows = [
            ["photos", str(self.photos)],
            ["published", str(self.photos - len(self.refused))],
            *([f"refused: {reason}", str(count)] for reason, count in counted.most_common()),
            *([f"user taken for {who}", str(n)] for who, n in Counter(self.taken_for.values()).most_common()),
            ["faces published", str(len(self.faces))],
            ["seconds per photo", f"{self.seconds_per_photo:.2f}"],
        ]
        return table(["outcome", "count"], rows)

    def _visibility(self) -> str:
        budget = Budget()
        limits = {
            "dssim": budget.dssim,
            "dssim_224": budget.dssim,
            "colour_mean": budget.colour_mean,
            "colour_p99": budget.colour_p99,
        }
        rows = []
        for name, limit in limits.items():
            values = [float(getattr(face.seen, name)) for face in self.faces]
            over = sum(v > limit for v in values)
            rows.append([name, f"{limit:g}", f"{np.mean(values):.4f}", f"{max(values):.4f}", str(over)])
        return table(["visibility per face", "budget", "mean", "largest", "faces over"], rows)

    def _cosines(self) -> str:
        rows = []
        for name in self.faces[0].report.cosine_own:
            own = [face.report.cosine_own[name] for face in self.faces]
            target = [face.report.cosine_target[name] for face in self.faces]
            rows.append([f"to own clean face, {name}", *_shares(own), f"{max(own):.3f}"])
            rows.append([f"to target, {name}", *_shares(target), f"{max(target):.3f}"])
        return table(["cosine of published faces", "p5", "p50", "p95", "largest"], rows)


def publish(engine: Engine, photos: Sequence[Path]) -> tuple[Published, dict[Path, bytes]]:
    """Cloak photos in batches; return what came of it, and the published files."""
    refused: dict[str, str] = {}
    faces: list[SeenFace] = []
    taken_for: dict[str, str] = {}
    files: dict[Path, bytes] = {}
    started = time.perf_counter()
    results = protect_all(engine, photos)
    seconds = (time.perf_counter() - started) / len(photos)
    for photo, result in results:
        if isinstance(result, Protected):
            files[photo] = result.data
            before, after = decode(photo.read_bytes()).pixels, decode(result.data).pixels
            faces += [SeenFace(_name(photo), r, _seen(before, after, r)) for r in result.report.faces]
            taken_for[_name(photo)] = _taken_for(photo.parent.name, before, result.report.faces).value
        else:
            refused[_name(photo)] = f"{type(result).__name__}: {result}"
    return Published(len(photos), refused, faces, taken_for, seconds), files


@torch.no_grad()
def _seen(before: Pixels, after: Pixels, face: FaceReport) -> Visibility:
    """Measure the region of one face, its box and a margin, on two decoded files."""
    x0, y0, x1, y1 = face.box
    right, down = REGION_MARGIN * (x1 - x0), REGION_MARGIN * (y1 - y0)
    rows = slice(max(0, math.floor(y0 - down)), math.ceil(y1 + down))
    columns = slice(max(0, math.floor(x0 - right)), math.ceil(x1 + right))
    regions = [to_tensor(pixels[rows, columns])[None] for pixels in (before, after)]
    return measure(regions[0], regions[1], face.height_px)


def _taken_for(user: str, pixels: Pixels, faces: Sequence[FaceReport]) -> TakenFor:
    middle = np.array(pixels.shape[1::-1]) / 2
    central = min(faces, key=lambda f: float(np.linalg.norm(np.reshape(f.box, (2, 2)).mean(axis=0) - middle)))
    if central.person == user:
        return TakenFor.USER
    return TakenFor.STRANGER if central.person.startswith(STRANGER) else TakenFor.OTHER_USER


def _shares(values: Sequence[float]) -> list[str]:
    return [f"{v:.3f}" for v in np.percentile(values, [5, 50, 95])]


def _name(photo: Path) -> str:
    return f"{photo.parent.name}/{photo.name}"
