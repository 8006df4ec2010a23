"""The warp as a part of a cloak: it stays inside its region and budget, and does a large part of the work."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from batches import ENGINE_THREADS
from engine_pictures import Shelf, encoded, opened, portrait

from fawkes_engine import Budget, EngineSettings, NotProtected, Protected, Request
from fawkes_engine.cloak.optimise import CLOAK, Cloak
from fawkes_engine.cloak.state import CloakState
from fawkes_engine.cloak.subjects import Subject
from fawkes_engine.engine import Engine
from fawkes_engine.face.align import Similarity
from fawkes_engine.face.canvas import Canvas, region_of
from fawkes_engine.face.detect import Face
from fawkes_engine.image.warp import POINTS
from fawkes_engine.pipeline.draft import Draft
from fawkes_engine.pipeline.photos import Course
from fawkes_engine.pipeline.verify import unlike_owners
from fawkes_engine.pipeline.work import Work
from fawkes_engine.pipeline.write import write
from fawkes_engine.types import Protected as Result

pytestmark = pytest.mark.numeric
SETTINGS = EngineSettings(extractors=("dlib",), steps=20, device="cpu", threads=ENGINE_THREADS)
LIGHT_ALONE = replace(SETTINGS, budget=Budget(warp=0.0))


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(SETTINGS, Shelf())


def png() -> bytes:
    return encoded(portrait(), "PNG")


@pytest.fixture(scope="module")
def cloaked(engine: Engine) -> Result:
    (result,) = engine.protect([Request(png(), "ada")])
    assert isinstance(result, Protected), result
    return result


@pytest.fixture(scope="module")
def draft(engine: Engine) -> Draft:
    """A finished draft of the portrait."""
    pipeline = engine.pipeline
    work = pipeline.open(Request(png(), "ada"))
    with pipeline.identifier.people.up_to_date():
        pipeline.identifier.meet_users([work])
        work = pipeline.identifier.identified(work)
    course = Course(pipeline.ensemble.turns(), CLOAK, 8, SETTINGS.budget)
    (made,) = pipeline.cloak([pipeline.draft(work, SETTINGS.budget)], course, lambda _share: None)
    return made


def test_a_face_is_moved_within_its_budget(cloaked: Result) -> None:
    (face,) = cloaked.report.faces

    assert 0.2 * Budget().warp < face.moved <= Budget().warp
    assert face.dssim <= Budget().dssim


def test_outside_the_region_a_lossless_photo_keeps_every_level(cloaked: Result) -> None:
    (face,) = cloaked.report.faces
    before, after = portrait(), np.asarray(opened(cloaked.data).convert("RGB"))
    x0, y0, x1, y1 = region_of(face.box, before)
    same = np.ones(before.shape[:2], bool)
    same[y0:y1, x0:x1] = False

    assert np.array_equal(before[same], after[same])
    assert not np.array_equal(before, after)


def test_a_warp_takes_a_face_farther_from_its_owner_than_light_alone(cloaked: Result) -> None:
    (alone,) = Engine(LIGHT_ALONE, Shelf()).protect([Request(png(), "ada")])
    assert isinstance(alone, Protected), alone

    assert alone.report.faces[0].moved == 0
    assert cloaked.report.faces[0].cosine_own["dlib"] < alone.report.faces[0].cosine_own["dlib"] - 0.1


def test_the_limits_are_on_what_is_added_to_the_warped_face(draft: Draft) -> None:
    written = write(draft)

    assert not np.array_equal(written.warped, draft.work.photo.pixels)
    assert written.seen[0].dssim <= draft.preview.budget.dssim
    against_the_original = draft.work.canvases[0].compare(
        draft.work.photo.pixels, written.pixels, draft.work.faces[0].height_px, torch.device("cpu")
    )
    assert against_the_original.dssim > 1.5 * written.seen[0].dssim


def test_a_face_that_is_moved_too_far_is_refused(engine: Engine, draft: Draft) -> None:
    far = draft.adding({0: _stretched(draft.cloaks[0], 3.0)})

    with pytest.raises(NotProtected, match="too visible"):
        engine.pipeline.verifier.measure(far, write(far), _anything)
    engine.pipeline.verifier.measure(draft, write(draft), _anything)


def test_a_face_that_the_edge_cuts_is_moved_less(draft: Draft) -> None:
    (whole,) = _states(draft, Canvas.around(draft.work.faces[0], portrait()))
    x0, y0, x1, y1 = draft.work.faces[0].box
    left = round((x0 + x1) / 2)
    cut_box = Face((0, y0, x1 - left, y1), np.zeros((5, 2)), 1.0)
    (cut,) = _states(draft, Canvas.around(cut_box, portrait()[:, left:]))

    assert whole == pytest.approx(Budget().warp * draft.work.faces[0].height_px, rel=0.02)
    assert cut < 0.7 * whole


def _states(draft: Draft, canvas: Canvas) -> list[float]:
    """How far control points may be moved on a canvas, px."""
    side = canvas.side
    subject = Subject(
        canvas=torch.rand(3, side, side),
        mask=canvas.mask(),
        region=canvas.canvas_region(),
        height_px=draft.work.faces[0].height_px * canvas.scale,
        onto_canvas={},
        target={},
        clean_embedding={},
        directions=None,
        seed=0,
        encoding=draft.preview.encoding.alone[0],
        visibility_of=lambda *_: draft.preview.encoding.alone[0],
    )
    return [float(limit) for limit in CloakState.start([subject], Budget()).points_limit.flatten()]


def test_a_large_face_is_warped_at_its_own_size_as_at_half(draft: Draft) -> None:
    rows, columns = np.mgrid[:1200, :1200]
    photo = np.stack([rows * 255 / 1200, columns * 255 / 1200, rows * 0], axis=2).astype(np.uint8)
    half = photo[::2, ::2].copy()
    face = Face((300, 300, 800, 900), np.zeros((5, 2)), 1.0)
    large, small = Canvas.around(face, photo), Canvas.around(face.moved(Similarity(0.5 + 0j, 0j)), half)
    points = draft.cloaks[0].points

    large.warp(points * large.side / small.side, photo)
    small.warp(points, half)

    assert np.abs(photo[::2, ::2].astype(int) - half).max() <= 2


def _stretched(cloak: Cloak, by: float) -> Cloak:
    assert cloak.points.shape == (2, POINTS, POINTS)
    assert math.isfinite(float(cloak.points.sum()))
    return replace(cloak, points=cloak.points * by)


def _anything(work: Work, embeddings: object) -> None:
    """In place of `unlike_owners`, as eight steps are few."""
    assert callable(unlike_owners)
    assert work.faces
