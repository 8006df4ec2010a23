"""The steps every photo goes through, for cloaks and decoys alike: open, cloak, then write and verify."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from fawkes_engine import device as devices
from fawkes_engine.cloak.optimise import Aim, Cloak, optimise
from fawkes_engine.cloak.subjects import Subject
from fawkes_engine.errors import NoFace
from fawkes_engine.extractors import Extractor
from fawkes_engine.extractors.ensemble import Ensemble
from fawkes_engine.face.detect import Face
from fawkes_engine.face.search import FaceSearch
from fawkes_engine.identity.people import People
from fawkes_engine.identity.targets import Pool
from fawkes_engine.modes import Budget
from fawkes_engine.photo.decode import Photo, decode
from fawkes_engine.pipeline.batching import evenly
from fawkes_engine.pipeline.draft import Draft
from fawkes_engine.pipeline.identify import Identifier
from fawkes_engine.pipeline.preview import Preview
from fawkes_engine.pipeline.stopwatch import Stage, Stopwatch
from fawkes_engine.pipeline.verify import Verifier
from fawkes_engine.pipeline.work import Work
from fawkes_engine.types import EngineSettings, Request, TargetStore


@dataclass(frozen=True, slots=True)
class Course:
    """How faces are optimised.

    turns: the schedule, one extractor per step, repeated. steps: maximum number. budget: as the drafts' previews have.
    """

    turns: Sequence[Extractor]
    aim: Aim
    steps: int
    budget: Budget


class Pipeline:
    """The loaded models and the processing steps; the engine that holds a pipeline decides the order.

    ensemble, identifier, verifier: the parts. stopwatch: time spent per stage, over all photos so far.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        search: FaceSearch,
        identifier: Identifier,
        settings: EngineSettings,
        device: torch.device,
    ) -> None:
        self.ensemble = ensemble
        self.identifier = identifier
        self.verifier = Verifier(search, ensemble)
        self.settings = settings
        self.device = device
        self.stopwatch = Stopwatch()
        self._search = search

    @classmethod
    def load(cls, settings: EngineSettings, targets: TargetStore, pool: Pool) -> Pipeline:
        """Choose the device, set PyTorch's threads and memory limit for this process, and load the models.

        Raises:
            EngineError: unknown extractor or device. WeightsError: weights missing or wrong.
        """
        device = devices.chosen(settings.device)
        if threads := settings.threads or devices.threads(device):
            torch.set_num_threads(threads)
        devices.limit_memory(device, settings.max_gpu_memory_gib)
        search = FaceSearch(device)
        ensemble = Ensemble(settings, pool, device)
        identifier = Identifier(People(targets, pool), ensemble.names, device)
        return cls(ensemble, search, identifier, settings, device)

    def warm_up(self) -> None:
        """Run every model once, so that the first photo does not pay for it."""
        self._search.warm_up()
        self.ensemble.warm_up()

    def open(self, request: Request) -> Work:
        """Decode a photo, find its faces and embed them.

        Raises:
            Refusal: it cannot be read, or shows no face although one is required.
        """
        with self.stopwatch.stage(Stage.DECODE):
            photo = decode(request.data, request.metadata, request.heic)
        with self.stopwatch.stage(Stage.DETECT):
            faces = self._search.every(photo.pixels)
        if not faces and not request.publish_faceless:
            raise NoFace("no face was found, so nothing was cloaked")
        with self.stopwatch.stage(Stage.RECOGNISE):
            return self.embed(request, photo, faces)

    def embed(self, request: Request, photo: Photo, faces: Sequence[Face]) -> Work:
        """Embed these faces of a photo with every extractor."""
        clean = self.ensemble.embed(photo.pixels, faces, self.ensemble.names, photo.colour)
        return Work(request, photo, faces, clean)

    def draft(self, work: Work, budget: Budget) -> Draft:
        """Return the draft of a photo whose faces all have goals; none has a cloak yet."""
        return Draft(work, Preview(work, budget, self.settings.jpeg_quality, self.device))

    def cloak(self, drafts: Sequence[Draft], course: Course, on_step: Callable[[float], None]) -> list[Draft]:
        """Give every uncloaked face a cloak that is inside the budget by itself.

        Faces of all photos are optimised together, in batches that fit in memory; a face's cloak does not depend on
        the others. on_step: called often, with the share of the work that is done, 0 to 1.
        """
        faces = [(number, i) for number, draft in enumerate(drafts) for i in draft.uncloaked]
        faces.sort(key=lambda face: drafts[face[0]].work.canvases[face[1]].side)  # few sizes per batch
        made: list[dict[int, Cloak]] = [{} for _ in drafts]
        done = 0
        for batch in evenly(faces, self.settings.batch_faces or devices.faces_together(self.device)):

            def tell(share: float, before: int = done, here: int = len(batch)) -> None:
                on_step((before + share * here) / len(faces))

            cloaks = self._cloaked_together([(drafts[number], i) for number, i in batch], course, tell)
            done += len(batch)
            for (number, i), cloak in zip(batch, cloaks, strict=True):
                made[number][i] = cloak
        return [draft.adding(cloaks) for draft, cloaks in zip(drafts, made, strict=True)]

    def _cloaked_together(
        self, faces: Sequence[tuple[Draft, int]], course: Course, on_step: Callable[[float], None]
    ) -> list[Cloak]:
        with self.stopwatch.stage(Stage.OPTIMISE):
            cloaks = optimise(
                [self._subject(draft, i) for draft, i in faces],
                course.turns,
                course.budget,
                aim=course.aim,
                steps=course.steps,
                on_step=on_step,
            )
        fitted = []
        with self.stopwatch.stage(Stage.ENCODE):
            for (draft, i), cloak in zip(faces, cloaks, strict=True):
                on_step(1.0)
                fitted.append(draft.preview.fitted(i, cloak))
        return fitted

    def _subject(self, draft: Draft, index: int) -> Subject:
        work, preview = draft.work, draft.preview
        face, canvas = work.faces[index], work.canvases[index]
        cut = canvas.cut(work.photo.pixels)
        directions = canvas.directions(cut)
        return Subject(
            canvas=cut.to(self.device),
            mask=canvas.mask().to(self.device),
            region=canvas.canvas_region(),
            height_px=face.height_px * canvas.scale,
            onto_canvas={e.name: canvas.onto_canvas(e.onto_photo(face)) for e in self.ensemble.turns()},
            target=work.goals[index].vectors,
            clean_embedding=self.identifier.clean_embedding(work, index),
            directions=None if directions is None else directions.to(self.device),
            seed=_seed(work.request.data, index),
            encoding=preview.encoding.alone[index],
            visibility_of=partial(preview.visibility_of, index),
        )


def _seed(data: bytes, index: int) -> int:
    return int.from_bytes(hashlib.sha256(data).digest()[:6], "big") + index
