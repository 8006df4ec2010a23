"""The engine: loads its models once and stays resident; photos in, verified photos out.

decode -> detect -> embed -> target -> optimise together, fit -> per photo: encode, verify
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby

from fawkes_engine import device
from fawkes_engine.cloak.optimise import CLOAK
from fawkes_engine.errors import NotProtected, Refusal
from fawkes_engine.fingerprint import fingerprint
from fawkes_engine.identity.targets import Pool
from fawkes_engine.modes import FULL_STRENGTH, MODES, Mode, ModeName
from fawkes_engine.pipeline.batching import each, groups, no_sign, or_refusal, together, within
from fawkes_engine.pipeline.draft import Draft
from fawkes_engine.pipeline.photos import Course, Pipeline
from fawkes_engine.pipeline.stopwatch import Stage
from fawkes_engine.pipeline.verify import unlike_owners
from fawkes_engine.pipeline.work import Work
from fawkes_engine.pipeline.write import Written, write
from fawkes_engine.steps import Phase, Step
from fawkes_engine.types import EngineSettings, FaceReport, Look, Protected, Report, Request, TargetStore

_SECOND_TRY = 2  # step multiplier for photos that failed verification


class Engine:
    """Protects photos; keep one per device and process, since loading takes seconds.

    pipeline: the loaded models and processing steps. stopwatch: time spent per stage, over all photos so far.
    fingerprint: differs between engines whose cloaks differ. device_name: the compute device, for display.

    Raises on construction:
        EngineError: unknown extractor or device. WeightsError: weights missing or wrong.
    """

    def __init__(self, settings: EngineSettings, targets: TargetStore) -> None:
        pool = Pool.load()
        self.pipeline = Pipeline.load(settings, targets, pool)
        self.stopwatch = self.pipeline.stopwatch
        self.fingerprint = fingerprint(settings, self.pipeline.ensemble.names, pool)
        self.device_name = device.called(self.pipeline.device)

    @property
    def settings(self) -> EngineSettings:
        """The settings the engine was created with."""
        return self.pipeline.settings

    def warm_up(self) -> None:
        """Run every model once, so that the first photo does not pay for it."""
        self.pipeline.warm_up()

    def protect(
        self, requests: Sequence[Request], *, on_step: Callable[[Step], None] | None = None
    ) -> list[Protected | Refusal]:
        """Cloak every face of every photo; one result per request, in order.

        A photo that cannot be protected yields its Refusal and does not affect the others. A photo's result does
        not depend on the others, with two exceptions: a user's first photos choose the user's target together, and a
        person's mean face is refined by each of the first 16 photos that show the person. That holds to the bit on one
        thread and on two; on more, PyTorch was seen to round sums by how many faces pass together.
        on_step: called often, with how far the photos are that are worked on together; also a sign of life.
        """
        results: list[Protected | Refusal] = []
        for mode, alike in groupby(requests, partial(_mode_for, self.settings)):
            for group in groups(list(alike)):
                results += self._protect_together(group, mode, on_step or no_sign)
        return results

    def looks(self, request: Request, strengths: Sequence[int]) -> list[Look]:
        """Cloak a photo once and return how it would look at each of several strengths.

        There is no second try, which `protect` gives a photo whose whole cloak fails verification.

        Raises:
            Refusal: it cannot be cloaked at any strength.
        """
        pipeline, mode = self.pipeline, _mode_for(self.settings, request)
        (work,) = self._identified([pipeline.open(request)])
        if isinstance(work, Refusal):
            raise work
        (draft,) = pipeline.cloak([pipeline.draft(work, mode.budget)], _course(pipeline, mode), no_sign)
        return [self._look(draft.at(strength)) for strength in strengths]

    def enroll(self, user: str, photos: Sequence[bytes]) -> int:
        """Learn a user's face: the one that most of these photos show.

        Returns how many photos show it. Raises:
            Refusal: a photo cannot be read, or shows no face.
        """
        works = [self.pipeline.open(Request(data, user)) for data in photos]
        identifier = self.pipeline.identifier
        with identifier.people.up_to_date():
            return identifier.enroll(user, works)

    def _protect_together(
        self, requests: Sequence[Request], mode: Mode, on_step: Callable[[Step], None]
    ) -> list[Protected | Refusal]:
        started, pipeline = time.perf_counter(), self.pipeline
        works = self._identified(list(self._opened(requests, on_step)))
        cloak = partial(pipeline.cloak, course=_course(pipeline, mode), on_step=within(Phase.CLOAK, on_step))
        drafts = together(cloak, each(partial(pipeline.draft, budget=mode.budget), works))
        opened = sum(isinstance(draft, Draft) for draft in drafts)
        seconds = (time.perf_counter() - started) / max(1, opened)
        results = each(partial(self._finish, seconds=seconds, on_step=on_step), drafts)
        failed = {
            i: (draft, result)
            for i, (draft, result) in enumerate(zip(drafts, results, strict=True))
            if isinstance(draft, Draft) and isinstance(result, NotProtected) and _may_pass(draft, result)
        }
        again = self._tried_again(list(failed.values()), mode, seconds, on_step)
        for i, result in zip(failed, again, strict=True):
            results[i] = result
        return results

    def _opened(
        self, requests: Sequence[Request], on_step: Callable[[Step], None]
    ) -> Iterator[Work | Refusal]:
        for number, request in enumerate(requests, start=1):
            yield or_refusal(self.pipeline.open, request)
            on_step(Step(Phase.FIND, number / len(requests)))

    def _identified(self, works: Sequence[Work | Refusal]) -> list[Work | Refusal]:
        """Identify every face; a user without a target gets one from all of the user's photos together."""
        identifier = self.pipeline.identifier
        with self.stopwatch.stage(Stage.RECOGNISE), identifier.people.up_to_date():
            identifier.meet_users([work for work in works if isinstance(work, Work)])
            return each(identifier.identified, works)

    def _tried_again(
        self,
        failed: Sequence[tuple[Draft, NotProtected]],
        mode: Mode,
        seconds: float,
        on_step: Callable[[Step], None],
    ) -> list[Protected | Refusal]:
        """Retry failed photos together, with more steps and a schedule that favours the verifying extractor.

        seconds: spent on each of them so far.
        """
        started, pipeline = time.perf_counter(), self.pipeline
        course = Course(pipeline.ensemble.second_try, CLOAK, _SECOND_TRY * mode.steps, mode.budget)
        cloak = partial(pipeline.cloak, course=course, on_step=within(Phase.AGAIN, on_step))
        drafts = together(cloak, each(self._to_redo, failed))
        seconds += (time.perf_counter() - started) / max(1, len(failed))
        return each(partial(self._finish, seconds=seconds, on_step=on_step), drafts)

    def _to_redo(self, failed: tuple[Draft, NotProtected]) -> Draft:
        """Return a draft without the cloaks of the failed faces, or without any; faces missed so far are added."""
        draft, failure = failed
        if failure.faces:
            return draft.without(failure.faces)
        pipeline, work = self.pipeline, draft.work
        written = self._written(draft.as_requested)
        with self.stopwatch.stage(Stage.VERIFY):
            missed = pipeline.verifier.missed(work, written)
        if not missed:
            return draft.without(draft.cloaks)
        every = [*work.faces, *work.left, *missed]  # faces found only in the written file are cloaked too
        with self.stopwatch.stage(Stage.RECOGNISE):
            work = pipeline.identifier.identified(pipeline.embed(work.request, work.photo, every))
        return pipeline.draft(work, draft.preview.budget)

    def _finish(self, draft: Draft, *, seconds: float, on_step: Callable[[Step], None]) -> Protected:
        """Encode and verify. Raises NotProtected."""
        started = time.perf_counter()
        on_step(Step(Phase.CHECK))
        scaled, request = draft.as_requested, draft.work.request
        written = self._written(scaled)
        faces = self._measured(scaled, written)
        return Protected(
            data=written.data,
            sha256=hashlib.sha256(written.data).hexdigest(),
            suffix=draft.work.photo.suffix,
            report=Report(
                faces=faces,
                seconds=seconds + time.perf_counter() - started,
                fingerprint=self.fingerprint,
                mode=request.mode or mode_of(self.settings),
                strength=request.strength,
            ),
        )

    def _look(self, draft: Draft) -> Look:
        scaled = draft.as_requested
        written = self._written(scaled)
        boxes = tuple(face.box for face in draft.work.faces)
        try:
            faces, held = self._measured(scaled, written), None
        except NotProtected as refusal:
            faces, held = (), str(refusal)
        return Look(draft.work.request.strength, written.data, boxes, faces, held)

    def _measured(self, draft: Draft, written: Written) -> tuple[FaceReport, ...]:
        with self.stopwatch.stage(Stage.VERIFY):
            return self.pipeline.verifier.measure(draft, written, unlike_owners)

    def _written(self, draft: Draft) -> Written:
        with self.stopwatch.stage(Stage.ENCODE):
            return write(draft)


def _mode_for(settings: EngineSettings, request: Request) -> Mode:
    """Return the mode that a photo is to be cloaked in: the request's, or the engine's own."""
    return MODES[request.mode] if request.mode else _own_mode(settings)


def _own_mode(settings: EngineSettings) -> Mode:
    return Mode(settings.budget, settings.steps, settings.second_turns)


def _course(pipeline: Pipeline, mode: Mode) -> Course:
    return Course(pipeline.ensemble.turns(mode.second_turns), CLOAK, mode.steps, mode.budget)


def _may_pass(draft: Draft, failure: NotProtected) -> bool:
    """Whether a second try may help: not where a face was to get only a part of its cloak, which is then too little."""
    return draft.work.request.strength == FULL_STRENGTH or not failure.faces


def mode_of(settings: EngineSettings) -> ModeName | None:
    """Return the mode whose settings these are, None if they are those of none."""
    mine = _own_mode(settings)
    return next((name for name, mode in MODES.items() if mode == mine), None)
