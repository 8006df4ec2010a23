"""The engine: loads its models once and stays resident; photos in, verified photos out.

    decode -> detect -> embed -> target -> optimise together -> per photo: fit, encode, verify
"""

from __future__ import annotations

import hashlib
import io
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fawkes_engine import extractors as registry
from fawkes_engine.canvas import Canvas, to_tensor
from fawkes_engine.cloak import Cloak, Subject, optimise
from fawkes_engine.extractors import Extractor
from fawkes_engine.faces import Face, FaceDetector, Pixels, Similarity
from fawkes_engine.photo import Photo, as_written, decode, encode
from fawkes_engine.targets import Pool, choose
from fawkes_engine.types import (
    EngineSettings,
    FaceReport,
    NoFace,
    NotProtected,
    Protected,
    Refusal,
    Report,
    Request,
    Target,
    TargetStore,
)
from fawkes_engine.views import sample_chips
from fawkes_engine.visibility import Visibility, measure

VERSION = "1"  # of the cloak: changes whenever the same photo would get another cloak
# A face counts as protected when a tracker's cosine to its own clean embedding is at most this, and it looks
# more like the target than like itself, on every extractor, after encoding and a new detection.
OWN_COSINE_LIMIT = 0.3
_ENCODING_SHARE = 0.4  # of the budget, which JPEG alone may use up before its quality is raised
_QUALITIES = (97, 99, 100)
_FIT_ROUNDS = 8


@dataclass(slots=True)
class _Work:
    """One photo on its way through the engine."""

    request: Request
    photo: Photo
    faces: list[Face]
    canvases: list[Canvas]
    own: dict[str, Tensor]  # extractor -> (faces, D)
    quality: int = 0
    cloaks: list[Cloak] = field(default_factory=list)


class Engine:
    """Protects photos; keep one per device and process, since loading takes seconds.

    Raises on construction:
        EngineError: unknown extractor or device. WeightsError: weights missing or wrong.
    """

    def __init__(self, settings: EngineSettings, targets: TargetStore) -> None:
        if settings.threads:
            torch.set_num_threads(settings.threads)
        self.device = _device(settings.device)
        self._settings = settings
        self._targets = targets
        self._pool = Pool.load()
        self._detector = FaceDetector(self.device)
        self._extractors = [registry.load(n, self._pool.means[n], self.device) for n in settings.extractors]
        self.fingerprint = _fingerprint(settings, self._pool)

    @property
    def device_name(self) -> str:
        """What the engine computes on, for people."""
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu"

    def warm_up(self) -> None:
        """Run every model once, so that the first photo does not pay for it."""
        self._detector.detect(np.zeros((256, 256, 3), np.uint8))
        for extractor in self._extractors:
            extractor.embed(torch.zeros(1, 3, extractor.chip_px, extractor.chip_px, device=self.device))

    def protect(
        self, requests: Sequence[Request], *, on_step: Callable[[], None] | None = None
    ) -> list[Protected | Refusal]:
        """Cloak every face of every photo; one result per request, in order.

        A photo that cannot be protected gives its Refusal and does not disturb the others. A photo's result does
        not depend on the others, except that the first photos of a user choose the user's target together.
        on_step is called many times, as a sign of life.
        """
        alive = on_step or _ignore
        started = time.perf_counter()
        results: list[Protected | Refusal | _Work] = [_or_refusal(self._open, r) for r in requests]
        works = [r for r in results if isinstance(r, _Work)]
        self._choose_targets(works)
        self._cloak(works, alive)
        seconds = (time.perf_counter() - started) / max(1, len(works))
        finish = partial(self._finish, seconds=seconds, on_step=alive)
        return [_or_refusal(finish, r) if isinstance(r, _Work) else r for r in results]

    def _open(self, request: Request) -> _Work:
        photo = decode(request.data)
        faces = self._detector.detect(photo.pixels)
        if not faces:
            raise NoFace("no face was found")
        return self._work(request, photo, faces)

    def _work(self, request: Request, photo: Photo, faces: list[Face]) -> _Work:
        canvases = [Canvas.around(face, photo.pixels) for face in faces]
        work = _Work(request, photo, faces, canvases, self._embed(photo.pixels, faces, canvases))
        work.quality = self._jpeg_quality(work)
        return work

    @torch.no_grad()
    def _embed(self, pixels: Pixels, faces: Sequence[Face], canvases: Sequence[Canvas]) -> dict[str, Tensor]:
        """Embed faces as they are in a photo: extractor -> (faces, D)."""
        embedded = {}
        for extractor in self._extractors:
            chips = [
                sample_chips(
                    canvas.cut(pixels).to(self.device)[None],
                    [canvas.onto_canvas(Similarity.fit(extractor.template, face.landmarks))],
                    extractor.chip_px,
                )
                for face, canvas in zip(faces, canvases, strict=True)
            ]
            embedded[extractor.name] = extractor.embed(torch.cat(chips))
        return embedded

    def _jpeg_quality(self, work: _Work) -> int:
        """Return the lowest quality, from the settings' and the source's on, that leaves the cloak its budget."""
        lowest = max(self._settings.jpeg_quality, min(work.photo.jpeg_quality, 100))
        if work.photo.format != "JPEG":
            return lowest
        for quality in (lowest, *(q for q in _QUALITIES if q > lowest)):
            untouched = (self._look(work, i, quality, None) for i in range(len(work.faces)))
            if all(seen.share_of(self._settings.budget) <= _ENCODING_SHARE for seen in untouched):
                break
        return quality

    def _look(self, work: _Work, index: int, quality: int, delta: Tensor | None) -> Visibility:
        """Return what a person can see of one face's delta (3, S, S) in the file as it will be published."""
        canvas = work.canvases[index]
        rows, columns = canvas.blocks(work.photo.pixels)
        here = canvas.seen_from(columns.start, rows.start)
        piece = work.photo.pixels[rows, columns].copy()
        if delta is not None:
            here.add(delta, piece)
        written = as_written(work.photo, piece, quality)
        x0, y0, x1, y1 = here.region
        before = work.photo.pixels[rows, columns][y0:y1, x0:x1]
        return _compare(before, written[y0:y1, x0:x1], work.faces[index], self.device)

    def _choose_targets(self, works: Sequence[_Work]) -> None:
        """Give every user of these photos who has none a target, from all the user's photos here."""
        by_user = defaultdict(list)
        for work in works:
            by_user[work.request.user].append(work)
        for user, theirs in by_user.items():
            if self._targets.get(user) is None:
                own = _of_the_user(theirs)
                self._targets.add(user, choose(self._pool, own, [w.request.data for w in theirs]))

    def _target(self, user: str) -> Target:
        target = self._targets.get(user)
        assert target is not None  # _choose_targets ran first
        return target

    def _cloak(self, works: Sequence[_Work], on_step: Callable[[], None]) -> None:
        """Optimise the faces of all photos, those with canvases of one size together."""
        by_side: dict[int, list[tuple[_Work, int]]] = defaultdict(list)
        for work in works:
            work.cloaks = [Cloak(torch.empty(0), 0)] * len(work.faces)
            for i, canvas in enumerate(work.canvases):
                by_side[canvas.side].append((work, i))
        for places in by_side.values():
            for start in range(0, len(places), self._settings.batch_faces):
                batch = places[start : start + self._settings.batch_faces]
                cloaks = optimise(
                    [self._subject(work, i) for work, i in batch],
                    self._extractors,
                    self._settings.budget,
                    steps=self._settings.steps,
                    on_step=on_step,
                )
                for (work, i), cloak in zip(batch, cloaks, strict=True):
                    work.cloaks[i] = cloak

    def _subject(self, work: _Work, index: int) -> Subject:
        face, canvas = work.faces[index], work.canvases[index]
        target = self._target(work.request.user)
        return Subject(
            canvas=canvas.cut(work.photo.pixels).to(self.device),
            mask=canvas.mask().to(self.device),
            region=canvas.canvas_region(),
            height_px=face.height_px * canvas.scale,
            onto_canvas={
                e.name: canvas.onto_canvas(Similarity.fit(e.template, face.landmarks)) for e in self._extractors
            },
            target={e.name: torch.tensor(target.vectors[e.name], device=self.device) for e in self._extractors},
            own={e.name: work.own[e.name][index] for e in self._extractors},
            grey=work.photo.grey,
            seed=_seed(work.request.data, index),
            look=partial(self._look, work, index, work.quality),
        )

    def _finish(self, work: _Work, *, seconds: float, on_step: Callable[[], None]) -> Protected:
        started = time.perf_counter()
        data, strangers = self._write(work)
        if strangers:  # cloaking one face can uncover another that was missed before
            work = self._work(work.request, work.photo, [*work.faces, *strangers])
            self._cloak([work], on_step)
            data, strangers = self._write(work)
        if strangers:
            raise NotProtected(f"a face that was not cloaked was found in the result{_where(strangers[0])}")
        faces = self._verified(work, data)
        return Protected(
            data=data,
            sha256=hashlib.sha256(data).hexdigest(),
            suffix=work.photo.suffix,
            report=Report(
                faces=faces,
                target=self._target(work.request.user).identity,
                seconds=seconds + time.perf_counter() - started,
                fingerprint=self.fingerprint,
            ),
        )

    def _write(self, work: _Work) -> tuple[bytes, list[Face]]:
        """Fit every cloak into the budget, encode, and detect again: the file, and faces that were not cloaked."""
        pixels = work.photo.pixels.copy()
        for i, (canvas, cloak) in enumerate(zip(work.canvases, work.cloaks, strict=True)):
            canvas.add(self._fitted(work, i, cloak.delta), pixels)
        data = encode(work.photo, pixels, work.quality)
        found = self._detector.detect(decode(data).pixels)
        return data, [face for face in found if not any(face.overlaps(known) for known in work.faces)]

    def _fitted(self, work: _Work, index: int, delta: Tensor) -> Tensor:
        """Scale a delta down until it is inside the budget as published."""
        for _ in range(_FIT_ROUNDS):
            share = self._look(work, index, work.quality, delta).share_of(self._settings.budget)
            if share <= 1:
                break
            delta = delta * max(0.5, 0.99 * share**-0.5)
        return delta

    def _verified(self, work: _Work, data: bytes) -> tuple[FaceReport, ...]:
        """Measure every face on the decoded file.

        Raises:
            NotProtected: a face still looks like its owner, or its cloak is too visible.
        """
        published = decode(data).pixels
        again = self._detector.detect(published)
        seen_faces = [next((a for a in again if a.overlaps(face)), face) for face in work.faces]
        embedded = self._embed(published, seen_faces, work.canvases)
        target = self._target(work.request.user)
        reports = []
        for i, face in enumerate(work.faces):
            x0, y0, x1, y1 = work.canvases[i].region
            seen = _compare(work.photo.pixels[y0:y1, x0:x1], published[y0:y1, x0:x1], face, self.device)
            reports.append(
                FaceReport(
                    box=face.box,
                    height_px=face.height_px,
                    dssim=seen.dssim,
                    dssim_224=seen.dssim_224,
                    colour_mean=seen.colour_mean,
                    colour_p99=seen.colour_p99,
                    cosine_own={n: float(e[i] @ work.own[n][i]) for n, e in embedded.items()},
                    cosine_target={
                        n: float(e[i] @ torch.tensor(target.vectors[n], device=self.device))
                        for n, e in embedded.items()
                    },
                    steps=work.cloaks[i].steps,
                )
            )
        return tuple(reports)


def _compare(before: Pixels, after: Pixels, face: Face, device: torch.device) -> Visibility:
    return measure(to_tensor(before)[None].to(device), to_tensor(after)[None].to(device), face.height_px)


def _or_refusal(step, item):
    try:
        return step(item)
    except Refusal as refusal:
        return refusal


def _of_the_user(works: Sequence[_Work]) -> dict[str, np.ndarray]:
    """Embeddings (n, D) of the face most of these photos show: of the largest face in each, those like the medoid."""
    largest = {name: torch.stack([w.own[name][0] for w in works]) for name in works[0].own}
    likeness = torch.stack([e @ e.T for e in largest.values()]).mean(dim=0)
    same = likeness[likeness.sum(dim=1).argmax()] > SAME_PERSON_COSINE
    return {name: e[same].cpu().numpy() for name, e in largest.items()}


SAME_PERSON_COSINE = 0.5


def _device(name: str) -> torch.device:
    if name != "auto":
        return torch.device(name)
    try:
        torch.zeros(1, device="cuda")
    except (AssertionError, RuntimeError):
        return torch.device("cpu")
    return torch.device("cuda")


def _fingerprint(settings: EngineSettings, pool: Pool) -> str:
    told = f"{VERSION} {settings.extractors} {settings.budget} {settings.steps} {settings.jpeg_quality} {pool.version}"
    return f"{VERSION}-{'+'.join(settings.extractors)}-{hashlib.sha256(told.encode()).hexdigest()[:8]}"


def _seed(data: bytes, index: int) -> int:
    return int.from_bytes(hashlib.sha256(data).digest()[:6], "big") + index


def _where(face: Face) -> str:
    x, y = face.landmarks.mean(axis=0)
    return f" at {x:.0f}, {y:.0f}"


def _ignore() -> None:
    return
