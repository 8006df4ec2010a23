"""What cloaks cost: how visible they are, how many photos are held, and how long it takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fawkes_engine.evaluation.data.publication import CloakedFace, Publication

_REPORTED = ("dssim", "dssim_224", "colour_mean", "colour_p99", "moved")


@dataclass(frozen=True, slots=True)
class Figure:
    """Statistics of one figure over all published faces."""

    mean: float
    median: float
    smallest: float
    largest: float


@dataclass(frozen=True, slots=True)
class Costs:
    """The costs for a set of photos.

    held: photo -> reason. as_stranger: published photos in which the user was taken for somebody else, with another
    target. visibility: by measure; units as in `FaceReport`, and ms_ssim (1 = identical). cosines: to the
    face's own clean embedding and to the target, per extractor the cloak was computed against.
    """

    photos: int
    published: int
    held: dict[str, str]
    as_stranger: list[str]
    faces: int
    visibility: dict[str, Figure]
    cosines: dict[str, Figure]
    seconds_per_photo: float


def costs(publication: Publication) -> Costs:
    """Summarise a publication."""
    faces = [face for photo in publication.published for face in photo.faces]
    visibility = {name: _figure([getattr(f.report, name) for f in faces]) for name in _REPORTED if faces}
    if faces:
        visibility["ms_ssim"] = _figure([f.ms_ssim for f in faces])
    return Costs(
        photos=len(publication.published) + len(publication.held),
        published=len(publication.published),
        held={one.photo: one.reason for one in publication.held},
        as_stranger=[one.photo for one in publication.published if not one.as_user],
        faces=len(faces),
        visibility=visibility,
        cosines=_cosines(faces),
        seconds_per_photo=publication.seconds_per_photo,
    )


def _cosines(faces: Sequence[CloakedFace]) -> dict[str, Figure]:
    figures = {}
    for name in faces[0].report.cosine_own if faces else ():
        figures[f"own, {name}"] = _figure([f.report.cosine_own[name] for f in faces])
        figures[f"target, {name}"] = _figure([f.report.cosine_target[name] for f in faces])
    return figures


def _figure(values: Sequence[float]) -> Figure:
    return Figure(float(np.mean(values)), float(np.median(values)), min(values), max(values))
