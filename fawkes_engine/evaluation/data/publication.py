"""What the engine publishes of a set of photos: cloaked once, evaluated with any number of trackers."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from fawkes_engine.engine import Engine
from fawkes_engine.errors import EvaluationError
from fawkes_engine.evaluation.metrics.quality import ms_ssim
from fawkes_engine.face.canvas import in_srgb, region_of, to_tensor
from fawkes_engine.face.detect import Pixels
from fawkes_engine.photo.decode import decode
from fawkes_engine.types import FaceReport, Protected, Request, Target

BATCH_PHOTOS = 16


class MemoryTargets:
    """Targets that live as long as the run."""

    def __init__(self) -> None:
        self._by_person: dict[str, Target] = {}

    def get(self, person: str) -> Target | None:
        """Return the person's target, if there is one."""
        return self._by_person.get(person)

    def people(self) -> list[str]:
        """Everyone who has a target."""
        return list(self._by_person)

    def add(self, person: str, target: Target) -> Target:
        """Keep the person's first target and return it."""
        return self._by_person.setdefault(person, target)

    def learn(self, person: str, target: Target) -> None:
        """Replace a known person's embeddings."""
        self._by_person[person] = target

    def alone(self) -> AbstractContextManager[None]:
        """Return a lock that does nothing: no other process has these targets."""
        return nullcontext()


@dataclass(frozen=True, slots=True)
class CloakedFace:
    """One published face: the engine's report, and MS-SSIM of its region, which the engine does not measure."""

    report: FaceReport
    ms_ssim: float


@dataclass(frozen=True, slots=True)
class Published:
    """A photo the engine published.

    photo: "person/name" of the original. original_sha256: of its bytes, hex. suffix: of the published file.
    as_user: the face nearest the middle was cloaked as the user's, not as a stranger's.
    """

    photo: str
    original_sha256: str
    suffix: str
    data: bytes
    as_user: bool
    faces: tuple[CloakedFace, ...]


@dataclass(frozen=True, slots=True)
class Held:
    """A photo the engine refused, and why."""

    photo: str
    original_sha256: str
    reason: str


@dataclass(frozen=True, slots=True)
class Publication:
    """The engine's results for a set of photos.

    fingerprint, settings: of the engine. seconds_per_photo: wall time, photos in batches.
    """

    fingerprint: str
    settings: dict[str, object]
    published: tuple[Published, ...]
    held: tuple[Held, ...]
    seconds_per_photo: float

    def of(self, photos: Sequence[Path]) -> Publication:
        """Return the results for these originals only.

        Raises:
            EvaluationError: one of them was not among the photos, or was a different file.
        """
        wanted = {key(photo): hashlib.sha256(photo.read_bytes()).hexdigest() for photo in photos}
        had = {one.photo: one.original_sha256 for one in self.published}
        had |= {one.photo: one.original_sha256 for one in self.held}
        for photo, digest in wanted.items():
            if had.get(photo) != digest:
                raise EvaluationError(
                    f"{photo} is not among the photos that were cloaked before; use the same --data, --seed, "
                    "--people, --cloaked and --tested as then, or cloak again"
                )
        return replace(
            self,
            published=tuple(one for one in self.published if one.photo in wanted),
            held=tuple(one for one in self.held if one.photo in wanted),
        )


def publish(
    engine: Engine, photos: Sequence[Path], on_photos: Callable[[int], None] = lambda count: None
) -> Publication:
    """Cloak photos in batches of BATCH_PHOTOS; a photo's folder is its user. on_photos: gets the size of each batch."""
    published: list[Published] = []
    held: list[Held] = []
    seconds = 0.0
    for start in range(0, len(photos), BATCH_PHOTOS):
        batch = photos[start : start + BATCH_PHOTOS]
        originals = [photo.read_bytes() for photo in batch]
        started = time.perf_counter()
        results = engine.protect([request(photo) for photo in batch])
        seconds += time.perf_counter() - started
        for photo, original, result in zip(batch, originals, results, strict=True):
            digest = hashlib.sha256(original).hexdigest()
            if isinstance(result, Protected):
                published.append(_published(photo, original, digest, result))
            else:
                held.append(Held(key(photo), digest, f"{type(result).__name__}: {result}"))
        on_photos(len(batch))
    return Publication(
        engine.fingerprint,
        asdict(engine.settings),
        tuple(published),
        tuple(held),
        seconds / max(1, len(photos)),
    )


def request(photo: Path) -> Request:
    """Return the request for a photo whose folder is named after its user."""
    return Request(photo.read_bytes(), photo.parent.name)


def key(photo: Path) -> str:
    """Return "person/name" of a photo."""
    return f"{photo.parent.name}/{photo.name}"


def _published(photo: Path, original: bytes, digest: str, result: Protected) -> Published:
    source = decode(original)
    before, after = (in_srgb(p, source.colour) for p in (source.pixels, decode(result.data).pixels))
    faces = result.report.faces
    return Published(
        photo=key(photo),
        original_sha256=digest,
        suffix=result.suffix,
        data=result.data,
        as_user=_central(faces, before).person == photo.parent.name,
        faces=tuple(CloakedFace(face, _ms_ssim(before, after, face)) for face in faces),
    )


def _ms_ssim(before: Pixels, after: Pixels, face: FaceReport) -> float:
    x0, y0, x1, y1 = region_of(face.box, before)
    one, other = (to_tensor(pixels[y0:y1, x0:x1])[None] for pixels in (before, after))
    return ms_ssim(one, other)


def _central(faces: Sequence[FaceReport], pixels: Pixels) -> FaceReport:
    middle = np.array(pixels.shape[1::-1]) / 2
    return min(faces, key=lambda f: float(np.linalg.norm(np.reshape(f.box, (2, 2)).mean(axis=0) - middle)))
