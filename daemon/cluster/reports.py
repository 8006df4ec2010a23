"""Whether a report is one of this photo: its faces, whom they show, their targets, and figures that can be."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor

from fawkes_engine import STRANGER, Budget, FaceReport, ModeName, NotProtected, Report, TargetStore
from fawkes_engine.extractors import KNOWN_BY
from fawkes_engine.face.detect import Face, Pixels
from fawkes_engine.pipeline.verify import where
from fawkes_engine.pipeline.work import Work

_BOX_OFF, _BOX_OFF_PX = 0.1, 2  # of a face's height, and px: another machine rounds otherwise
_COSINE_OFF = 0.1
_ROUNDED = 1.001
_MOST_STEPS = 10_000
_MOST_FACES = 1000
_MOST_RECOGNISERS, _LONGEST_NAME = 16, 4096


def check_report(
    report: Report,
    work: Work,
    embedded: Sequence[Mapping[str, Tensor]],
    targets: TargetStore,
    mode: ModeName | None,
    budget: Budget,
) -> None:
    """Raise NotProtected for a report that is not of these cloaked faces.

    embedded: of the cloaked faces, as published first. targets: everyone's. mode, budget: that the photo was to have.
    """
    is_of_request = (report.mode, report.strength) == (mode, work.request.strength)
    if not is_of_request or not 0 <= report.seconds < math.inf or len(report.faces) != len(work.faces):
        raise NotProtected("its report is of another photo or other settings")
    left, known = list(report.faces), set(targets.people())
    for i, face in enumerate(work.faces):
        told = next((one for one in left if _is_of(one, face)), None)
        if told is None:
            raise NotProtected(f"its report does not tell of the face {where(face)}")
        left.remove(told)
        target = targets.get(told.person) if told.person in known else None  # no name of another file
        if target is None or target.identity != told.target or not _may_be(told.person, work.people[i]):
            raise NotProtected(f"the face {where(face)} was moved toward a target that is not its owner's")
        cloaked, clean = embedded[0][KNOWN_BY][i], work.clean_embeddings[KNOWN_BY][i]
        toward = clean.new_tensor(target.vectors[KNOWN_BY])
        measured = {"own": float(cloaked @ clean), "target": float(cloaked @ toward)}
        if not (_is_possible(told, budget) and _fits(told, measured)):
            raise NotProtected(f"the figures for the face {where(face)} cannot be right")


def faces_told(report: Report, pixels: Pixels) -> list[Face]:
    """Return the faces that a report says were cloaked in a photo (H, W, 3).

    Raises NotProtected where they are too many, or none can be.
    """
    if len(report.faces) > _MOST_FACES:
        raise NotProtected("its report tells of too many faces")
    faces = []
    for told in report.faces:
        if not told.landmarks:
            continue
        points, box = np.array(told.landmarks, np.float64), np.array(told.box, np.float64)
        if points.shape != (5, 2) or not _can_lie(points, box, pixels):
            raise NotProtected("its report tells of a face where none can be")
        faces.append(Face(told.box, points, 1.0))
    return faces


def _can_lie(points: npt.NDArray[np.float64], box: npt.NDArray[np.float64], pixels: Pixels) -> bool:
    """Whether landmarks (5, 2) are around their box, and the box is about in the photo (H, W, 3)."""
    size, photo = box[2:] - box[:2], np.array(pixels.shape[1::-1])
    is_in_photo = (
        (size > 0).all() and (size <= 2 * photo).all() and (box[2:] > 0).all() and (box[:2] < photo).all()
    )
    return bool(is_in_photo and (points > box[:2] - size).all() and (points < box[2:] + size).all())


def _is_of(told: FaceReport, face: Face) -> bool:
    most = _BOX_OFF * face.height_px + _BOX_OFF_PX
    return all(abs(a - b) <= most for a, b in zip(told.box, face.box, strict=True))


def _may_be(person: str, known: str) -> bool:
    """Whether a node may take a face for this person, whom the coordinator knows as that one, or not at all ("").

    Strangers may be taken for each other, as two machines round differently, but not for users, nor users for them.
    """
    return person == known or all(name.startswith(STRANGER) or not name for name in (person, known))


def _is_possible(told: FaceReport, budget: Budget) -> bool:
    within = (
        (told.dssim, budget.dssim),
        (told.dssim_224, budget.dssim),
        (told.colour_mean, budget.colour_mean),
        (told.colour_p99, budget.colour_p99),
        (told.moved, budget.warp),
    )
    names = {*told.cosine_own, *told.cosine_target}
    cosines = (*told.cosine_own.values(), *told.cosine_target.values())
    return (
        all(0 <= figure <= _ROUNDED * most for figure, most in within)
        and abs(told.height_px - (told.box[3] - told.box[1])) <= 1
        and 0 <= told.steps <= _MOST_STEPS
        and len(names) <= _MOST_RECOGNISERS
        and all(len(name) <= _LONGEST_NAME and name.isprintable() for name in names)
        and all(abs(cosine) <= _ROUNDED for cosine in cosines)
    )


def _fits(told: FaceReport, measured: Mapping[str, float]) -> bool:
    """Whether the figures of the recogniser that verifies are those that were measured here."""
    pairs = ((told.cosine_own, measured["own"]), (told.cosine_target, measured["target"]))
    return all(abs(cosines.get(KNOWN_BY, math.nan) - here) <= _COSINE_OFF for cosines, here in pairs)
