"""Reports of what a node did to a photo: whom it shows, toward which target, and figures that can be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from engine_pictures import Shelf, encoded, portrait

from daemon.cluster.reports import check_report
from fawkes_engine import Budget, FaceReport, NotProtected, Report, Request, Target
from fawkes_engine.face.detect import Box, Face
from fawkes_engine.photo.decode import decode
from fawkes_engine.pipeline.work import Work

BOX: Box = (100.0, 50.0, 180.0, 150.0)
CLEAN, CLOAKED = torch.eye(4)[:1], torch.tensor([[0.1, 0.3, 0.0, 0.0]])
TOLD = FaceReport(
    box=BOX,
    height_px=100,
    person="ada",
    target="nobody-07",
    dssim=0.006,
    dssim_224=0.005,
    colour_mean=0.9,
    colour_p99=2.9,
    moved=0.02,
    cosine_own={"dlib": 0.1, "sface": 0.5},
    cosine_target={"dlib": 0.3, "sface": 0.4},
    steps=60,
)
REPORT = Report(faces=(TOLD,), seconds=2.0, fingerprint="1", mode="standard", strength=100)


@pytest.fixture
def shelf() -> Shelf:
    shelf = Shelf()
    vectors = {"dlib": (0.0, 1.0, 0.0, 0.0)}
    for person, identity in (("ada", "nobody-07"), ("bob", "nobody-08"), ("~0123456789ab", "nobody-09")):
        shelf.add(person, Target(identity, "1", vectors, {}, "2026-01-02T03:04:05+00:00", ()))
    return shelf


def check(report: Report, shelf: Shelf, person: str = "ada") -> None:
    data = encoded(portrait(), "PNG")
    face = Face(BOX, np.zeros((5, 2)), 0.99)
    work = Work(Request(data, "ada"), decode(data), [face], {"dlib": CLEAN}, [person])
    check_report(report, work, [{"dlib": CLOAKED}], shelf, "standard", Budget())


def with_face(**fields: object) -> Report:
    return replace(REPORT, faces=(replace(TOLD, **fields),))  # type: ignore[arg-type]


def test_an_honest_report_passes(shelf: Shelf) -> None:
    check(REPORT, shelf)
    check(with_face(box=(101.0, 48.0, 181.0, 149.0), height_px=101), shelf)  # as another machine rounds


def test_strangers_may_be_taken_for_each_other_but_not_for_users(shelf: Shelf) -> None:
    stranger = with_face(person="~0123456789ab", target="nobody-09")
    for known in ("", "~ba9876543210"):
        check(stranger, shelf, known)
        with pytest.raises(NotProtected, match="target"):
            check(REPORT, shelf, known)
    with pytest.raises(NotProtected, match="target"):
        check(stranger, shelf, "ada")


@pytest.mark.parametrize(
    "change",
    [
        lambda: replace(REPORT, faces=()),
        lambda: replace(REPORT, faces=(TOLD, TOLD)),
        lambda: replace(REPORT, strength=50),
        lambda: replace(REPORT, mode="strong"),
        lambda: replace(REPORT, seconds=float("nan")),
        lambda: replace(REPORT, seconds=-1.0),
        lambda: with_face(box=(0.0, 0.0, 10.0, 10.0), height_px=10),
        lambda: with_face(box=(float("nan"),) * 4),
        lambda: with_face(box=(100.0, float("nan"), 180.0, 150.0)),
        lambda: with_face(height_px=1),
        lambda: with_face(person="bob", target="nobody-08"),
        lambda: with_face(person="eve"),
        lambda: with_face(person="../ada"),
        lambda: with_face(target="nobody-08"),
        lambda: with_face(dssim=0.5),
        lambda: with_face(dssim_224=float("nan")),
        lambda: with_face(colour_mean=1.1 * Budget().colour_mean),
        lambda: with_face(colour_p99=-1.0),
        lambda: with_face(moved=1.0),
        lambda: with_face(cosine_own={"dlib": 0.3}),
        lambda: with_face(cosine_own={"sface": 0.1}),
        lambda: with_face(cosine_own={"dlib": 0.1, "sface": 2.0}),
        lambda: with_face(cosine_own={"dlib": 0.1, "\x1b[2J": 0.1}),
        lambda: with_face(cosine_own={"dlib": 0.1, **{str(n): 0.1 for n in range(20)}}),
        lambda: with_face(cosine_target={"dlib": float("nan")}),
        lambda: with_face(steps=-1),
    ],
)
def test_reports_of_another_photo_or_with_figures_that_cannot_be_are_told(
    change: Callable[[], Report], shelf: Shelf
) -> None:
    with pytest.raises(NotProtected):
        check(change(), shelf)
