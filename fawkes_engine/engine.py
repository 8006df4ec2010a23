"""The engine: loads its models once and stays resident; photos in, verified photos out.

decode -> detect -> embed -> target -> optimise together -> per photo: fit, encode, verify
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from fawkes_engine import device
from fawkes_engine.cloak.optimise import CLOAK, Aim, optimise
from fawkes_engine.cloak.state import Subject
from fawkes_engine.errors import NoFace, NotProtected, Refusal
from fawkes_engine.extractors import Extractor
from fawkes_engine.extractors.ensemble import Ensemble
from fawkes_engine.face.detect import Face, FaceDetector
from fawkes_engine.identity.people import People
from fawkes_engine.identity.targets import Pool
from fawkes_engine.photo.decode import Photo, decode
from fawkes_engine.pipeline import verify
from fawkes_engine.pipeline.batching import evenly, every_face, groups, no_sign, or_refusal
from fawkes_engine.pipeline.identify import Identifier
from fawkes_engine.pipeline.stopwatch import Stage, Stopwatch
from fawkes_engine.pipeline.work import Work, Written
from fawkes_engine.types import EngineSettings, FaceReport, Protected, Report, Request, TargetStore

VERSION = "7"  # of the cloak: changes whenever the same photo would get another cloak
_SECOND_TRY = 2  # times the steps, for a photo that does not pass verification


@dataclass(frozen=True, slots=True)
class _Redone:
    """A photo that failed verification, and the numbers of its faces that are cloaked once more."""

    work: Work
    faces: tuple[int, ...]


class Engine:
    """Protects photos; keep one per device and process, since loading takes seconds.

    fingerprint: tells engines apart whose cloaks differ. device_name: what it computes on, for people.
    stopwatch: where the time of all photos so far went.

    Raises on construction:
        EngineError: unknown extractor or device. WeightsError: weights missing or wrong.
    """

    def __init__(self, settings: EngineSettings, targets: TargetStore) -> None:
        self.stopwatch = Stopwatch()
        self._settings = settings
        self._device = device.chosen(settings.device)
        if threads := settings.threads or device.threads(self._device):
            torch.set_num_threads(threads)
        device.limit_memory(self._device, settings.max_gpu_memory_gib)
        pool = Pool.load()
        self._detector = FaceDetector(self._device)
        self._ensemble = Ensemble(settings, pool, self._device)
        self._identifier = Identifier(People(targets, pool), self._ensemble.names, self._device)
        self.fingerprint = _fingerprint(settings, self._ensemble.names, pool)
        self.device_name = device.called(self._device)

    @property
    def settings(self) -> EngineSettings:
        """What the engine was made with."""
        return self._settings

    def warm_up(self) -> None:
        """Run every model once, so that the first photo does not pay for it."""
        self._detector.detect(np.zeros((256, 256, 3), np.uint8))
        self._ensemble.warm_up()

    def protect(
        self, requests: Sequence[Request], *, on_step: Callable[[], None] | None = None
    ) -> list[Protected | Refusal]:
        """Cloak every face of every photo; one result per request, in order.

        A photo that cannot be protected gives its Refusal and does not disturb the others. A photo's result does
        not depend on the others, except that the first photos of a user choose the user's target together, and that
        people's faces are known better with each of the first 16 photos that show them.
        on_step is called many times, as a sign of life.
        """
        results: list[Protected | Refusal] = []
        for group in groups(requests):
            results += self._protect_together(group, on_step or no_sign)
        return results

    def _protect_together(
        self, requests: Sequence[Request], alive: Callable[[], None]
    ) -> list[Protected | Refusal]:
        started = time.perf_counter()
        opened: list[Work | Refusal] = []
        for request in requests:
            opened.append(or_refusal(self._open, request))
            alive()
        with self.stopwatch.stage(Stage.RECOGNISE), self._identifier.people.up_to_date():
            self._identifier.meet_users([work for work in opened if isinstance(work, Work)])
            opened = [or_refusal(self._identified, w) if isinstance(w, Work) else w for w in opened]
        works = [work for work in opened if isinstance(work, Work)]
        self._cloak(every_face(works), self._ensemble.turns, CLOAK, self._settings.steps, alive)
        seconds = (time.perf_counter() - started) / max(1, len(works))
        finish = partial(self._finish, seconds=seconds, on_step=alive)
        results = [or_refusal(finish, work) if isinstance(work, Work) else work for work in opened]
        failed = {
            i: (work, result)
            for i, (work, result) in enumerate(zip(opened, results, strict=True))
            if isinstance(work, Work) and isinstance(result, NotProtected)
        }
        for i, result in zip(failed, self._tried_again(list(failed.values()), seconds, alive), strict=True):
            results[i] = result
        return results

    def enroll(self, user: str, photos: Sequence[bytes]) -> int:
        """Learn a user's face from photos of the user; the face that most of them show is the user's.

        Returns how many photos show it. Raises:
            Refusal: a photo cannot be read, or shows no face.
        """
        works = [self._open(Request(data, user)) for data in photos]
        with self._identifier.people.up_to_date():
            return self._identifier.enroll(user, works)

    def _open(self, request: Request) -> Work:
        with self.stopwatch.stage(Stage.DECODE):
            photo = decode(request.data, request.metadata, request.heic)
        with self.stopwatch.stage(Stage.DETECT):
            faces = self._detector.search(photo.pixels)
        if not faces and not request.publish_faceless:
            raise NoFace("no face was found, so nothing was cloaked")
        with self.stopwatch.stage(Stage.RECOGNISE):
            return self._work(request, photo, faces)

    def _work(self, request: Request, photo: Photo, faces: Sequence[Face]) -> Work:
        own = self._ensemble.embed(photo.pixels, faces, self._ensemble.names, photo.colour)
        settings = self._settings
        return Work(request, photo, faces, own, settings.budget, settings.jpeg_quality, self._device)

    def _identified(self, work: Work) -> Work:
        """Name every face, strangers too; with only_mine, leave theirs as they are."""
        people = self._identifier.names(work)
        work = replace(work, people=people, goals=list(map(self._identifier.goal, people)))
        if not work.request.only_mine:
            return work
        mine = [i for i, person in enumerate(people) if person == work.request.user]
        if not mine and not work.request.publish_faceless:
            raise NoFace(f"none of the faces is known as {work.request.user}'s, so nothing was cloaked")
        return work.only(mine)

    def _cloak(
        self,
        faces: Iterable[tuple[Work, int]],
        turns: Sequence[Extractor],
        aim: Aim,
        steps: int,
        on_step: Callable[[], None],
    ) -> None:
        """Optimise faces of photos together, as many at once as fit in memory."""
        places = sorted(faces, key=lambda place: place[0].canvases[place[1]].side)  # of few sizes, each batch
        size = self._settings.batch_faces or device.faces_together(self._device)
        for batch in evenly(places, size):
            with self.stopwatch.stage(Stage.OPTIMISE):
                cloaks = optimise(
                    [self._subject(work, i) for work, i in batch],
                    turns,
                    self._settings.budget,
                    aim=aim,
                    steps=steps,
                    on_step=on_step,
                )
            for (work, i), cloak in zip(batch, cloaks, strict=True):
                work.cloaks[i] = cloak

    def _subject(self, work: Work, index: int) -> Subject:
        face, canvas = work.faces[index], work.canvases[index]
        return Subject(
            canvas=canvas.cut(work.photo.pixels).to(self._device),
            mask=canvas.mask().to(self._device),
            region=canvas.canvas_region(),
            height_px=face.height_px * canvas.scale,
            onto_canvas={e.name: canvas.onto_canvas(e.onto_photo(face)) for e in self._ensemble.turns},
            target=work.goals[index].vectors,
            clean_embedding=self._identifier.clean_embedding(work, index),
            grey=work.photo.grey,
            seed=_seed(work.request.data, index),
            encoding=work.encoding.alone[index],
            visibility_of=partial(work.visibility_of, index),
        )

    def _finish(self, work: Work, *, seconds: float, on_step: Callable[[], None]) -> Protected:
        """Encode and verify. Raises NotProtected."""
        started = time.perf_counter()
        on_step()
        written, found = self._written(work)
        faces = self._verified(work, written, found)
        return Protected(
            data=written.data,
            sha256=hashlib.sha256(written.data).hexdigest(),
            suffix=work.photo.suffix,
            report=Report(
                faces=faces,
                seconds=seconds + time.perf_counter() - started,
                fingerprint=self.fingerprint,
            ),
        )

    def _tried_again(
        self, failed: Sequence[tuple[Work, NotProtected]], seconds: float, on_step: Callable[[], None]
    ) -> list[Protected | Refusal]:
        """Cloak photos that failed once more, together and harder, and so that the one who verifies turns more often.

        seconds: that each of them has taken.
        """
        started = time.perf_counter()
        redone = [or_refusal(self._to_redo, one) for one in failed]
        faces = [(one.work, i) for one in redone if isinstance(one, _Redone) for i in one.faces]
        self._cloak(faces, self._ensemble.second_try, CLOAK, _SECOND_TRY * self._settings.steps, on_step)
        seconds += (time.perf_counter() - started) / max(1, len(failed))
        finish = partial(self._finish, seconds=seconds, on_step=on_step)
        return [or_refusal(finish, one.work) if isinstance(one, _Redone) else one for one in redone]

    def _to_redo(self, failed: tuple[Work, NotProtected]) -> _Redone:
        """Return what is to be cloaked once more: the faces to blame, or all of them, and those missed so far."""
        work, failure = failed
        if failure.faces:
            return _Redone(work, failure.faces)
        _, found = self._written(work)
        missed = work.not_known(found)
        if missed:  # faces that only the second look finds are cloaked too
            every = [*work.faces, *work.left, *missed]
            with self.stopwatch.stage(Stage.RECOGNISE):
                work = self._identified(self._work(work.request, work.photo, every))
        return _Redone(work, tuple(range(len(work.faces))))

    def _written(self, work: Work) -> tuple[Written, Sequence[Face]]:
        """Encode the photo; also returns the faces that are found in the decoded file."""
        with self.stopwatch.stage(Stage.ENCODE):
            written = work.write()
        with self.stopwatch.stage(Stage.VERIFY):
            return written, self._detector.detect(written.pixels)

    def _verified(self, work: Work, written: Written, found: Sequence[Face]) -> tuple[FaceReport, ...]:
        embed = partial(self._ensemble.embed, colour=work.photo.colour)
        with self.stopwatch.stage(Stage.VERIFY):
            embedded = verify.measure(work, written, found, embed, verify.unlike_owners)
        return tuple(self._report(work, written, embedded, i) for i in range(len(work.faces)))

    def _report(self, work: Work, written: Written, embedded: Mapping[str, Tensor], index: int) -> FaceReport:
        face, goal, seen = work.faces[index], work.goals[index], written.seen[index]
        return FaceReport(
            box=face.box,
            height_px=face.height_px,
            person=work.people[index],
            target=goal.identity,
            dssim=seen.dssim,
            dssim_224=seen.dssim_224,
            colour_mean=seen.colour_mean,
            colour_p99=seen.colour_p99,
            cosine_own={n: float(e[index] @ work.clean_embeddings[n][index]) for n, e in embedded.items()},
            cosine_target={
                n: float(e[index] @ goal.vectors[n]) for n, e in embedded.items() if n in goal.vectors
            },
            steps=work.cloaks[index].steps,
        )


def _fingerprint(settings: EngineSettings, names: Sequence[str], pool: Pool) -> str:
    told = (
        VERSION,
        tuple(names),
        settings.budget,
        settings.steps,
        [name for name in names if name in settings.second_turns],
        settings.jpeg_quality,
        pool.version,
    )
    return f"{VERSION}-{'+'.join(names)}-{hashlib.sha256(repr(told).encode()).hexdigest()[:8]}"


def _seed(data: bytes, index: int) -> int:
    return int.from_bytes(hashlib.sha256(data).digest()[:6], "big") + index
