"""Values shared between the engine's modules: requests, settings, targets, reports, results.

This module imports neither torch nor numpy, so that a supervisor process can use it and stay small.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol

from fawkes_engine.modes import DEFAULT_MODE, FULL_STRENGTH, MODES, Budget, ModeName


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How the engine works; equal settings and equal weights give equal cloaks on one machine.

    extractors: names of the registered surrogates a cloak is computed against, dlib among them; empty = the best set
        on disk (`weights.catalog.best_on_disk`).
    budget: the visibility budget of every face.
    steps: maximum optimiser steps per face. second_turns: as in `Mode`.
    jpeg_quality: minimum Pillow quality of new blocks in JPEG output; a better source raises it.
    batch_faces: maximum faces optimised together, which bounds memory; None = what suits the device.
    device: "auto" (CUDA if it works, else CPU), "cpu", "cuda" or "cuda:N".
    threads: CPU threads for arithmetic, 0 = all cores, or one beside a graphics card.
    models_dir: folder of the fetched weights, None = `weights.catalog.default_folder()`.
    max_gpu_memory_gib: what PyTorch may allocate on a graphics card, besides the CUDA context; None = all of it.
    """

    extractors: tuple[str, ...] = ()
    budget: Budget = MODES[DEFAULT_MODE].budget
    steps: int = MODES[DEFAULT_MODE].steps
    second_turns: tuple[str, ...] = MODES[DEFAULT_MODE].second_turns
    jpeg_quality: int = 95
    batch_faces: int | None = None
    device: str = "auto"
    threads: int = 0
    models_dir: Path | None = None
    max_gpu_memory_gib: float | None = None

    @classmethod
    def of_mode(cls, name: ModeName) -> EngineSettings:
        """Return the settings of a mode; everything else has its default."""
        mode = MODES[name]
        return cls(budget=mode.budget, steps=mode.steps, second_turns=mode.second_turns)


@dataclass(frozen=True, slots=True)
class MetadataPolicy:
    """Which of a photo's allow-listed metadata is kept; anything not on the list never is.

    gps: where it was taken. camera: camera, lens and exposure. all: anything besides what tells the colours and the
    resolution; False overrides the others.
    """

    gps: bool = False
    camera: bool = True
    all: bool = True


class HeicAs(Enum):
    """The format a HEIC or HEIF photo is published in."""

    JPEG = "jpeg"
    HEIC = "heic"


@dataclass(frozen=True, slots=True)
class Request:
    """One photo to protect.

    data: the file's bytes as exported. user: whose outbox it came from.
    only_mine: leave the faces of other people as they are.
    publish_faceless: re-encode a photo in which no face is found instead of refusing it.
    metadata, heic: how it is written, as above.
    mode: whose budget and steps the cloak gets, None = the engine's own. strength: 0 to 100, percent of that cloak.
    """

    data: bytes
    user: str
    only_mine: bool = False
    publish_faceless: bool = False
    metadata: MetadataPolicy = MetadataPolicy()
    heic: HeicAs = HeicAs.JPEG
    mode: ModeName | None = None
    strength: int = FULL_STRENGTH


@dataclass(frozen=True, slots=True)
class MeanFace:
    """A person's mean clean embedding for one extractor.

    vector: (D,), mean of the unit embeddings of the first faces seen. faces: number of faces averaged.
    """

    vector: tuple[float, ...]
    faces: int


@dataclass(frozen=True, slots=True)
class Target:
    """The identity one person is moved toward in every photo, chosen once; no two people share one.

    identity: id in the pool. pool: version of the pool it was chosen from.
    vectors: extractor name -> unit vector of the mean-centred embedding, as plain floats.
    known_by: extractor name -> unit embeddings of the person's clean face, by which it is recognised.
    chosen_at: UTC, ISO 8601. chosen_from: sha256 (hex) of the photos it was chosen from.
    mean_faces: extractor name -> the person's mean clean face, from which cloaks move away.
    """

    identity: str
    pool: str
    vectors: Mapping[str, tuple[float, ...]]
    known_by: Mapping[str, tuple[tuple[float, ...], ...]]
    chosen_at: str
    chosen_from: tuple[str, ...]
    mean_faces: Mapping[str, MeanFace] = field(default_factory=dict)


class TargetStore(Protocol):
    """Where targets live between runs; the engine never changes which identity a person has.

    A person is a user's name, or `STRANGER` plus a suffix for someone else in a user's photo.
    """

    def get(self, person: str) -> Target | None:
        """The person's target, or None before the first photo."""

    def people(self) -> Iterable[str]:
        """Everyone who has a target."""

    def add(self, person: str, target: Target) -> Target:
        """Store a person's first target durably; return the one already there if another process was first.

        May raise for a person whose earlier target is lost, since published photos carry that one.
        """

    def learn(self, person: str, target: Target) -> None:
        """Durably update a known person's embeddings (known_by, mean_faces); the identity stays."""

    def alone(self) -> AbstractContextManager[None]:
        """Return an exclusive lock across processes: two engines must not both register the same person."""


STRANGER = "~"


@dataclass(frozen=True, slots=True)
class FaceReport:
    """One cloaked face, measured on the decoded output file against the decoded input.

    box: x0, y0, x1, y1 of the detection, px in the upright photo. height_px: its native height.
    person: who it was identified as. target: id of the identity it was moved toward.
    dssim: at native size; dssim_224: with the region scaled to 224 px high (0 = identical).
    colour_mean, colour_p99: CIEDE2000 of the smoothed colour shift. All four compare with the warped original.
    moved: how far at most a point was moved, as a share of the height.
    cosine_own, cosine_target: extractor -> cosine of the cloaked, mean-centred embedding to the face's own
        clean embedding and to the target (-1..1).
    steps: optimiser steps spent. landmarks: x, y of the detection, as those of `face.detect.Face`; none in reports of
        before engine 14.
    """

    box: tuple[float, float, float, float]
    height_px: int
    person: str
    target: str
    dssim: float
    dssim_224: float
    colour_mean: float
    colour_p99: float
    moved: float
    cosine_own: Mapping[str, float]
    cosine_target: Mapping[str, float]
    steps: int
    landmarks: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What was done to one photo.

    faces: those that were cloaked. seconds: the photo's share of its batch's wall time. mode: the request's or the
    engine's, None if the settings are those of no mode. strength: as in `Request`.
    """

    faces: tuple[FaceReport, ...]
    seconds: float
    fingerprint: str
    mode: ModeName | None = None
    strength: int = FULL_STRENGTH


@dataclass(frozen=True, slots=True)
class Protected:
    """An encoded, verified photo. Only `Engine.protect` makes one, and only this may be published.

    data: the complete output file. sha256: hex digest of data. suffix: file extension that fits the format
    (".jpg", ".png", ...); the source's own name is kept when its extension already fits.
    """

    data: bytes
    sha256: str
    suffix: str
    report: Report


@dataclass(frozen=True, slots=True)
class Look:
    """How a photo would look at one strength; never a `Protected`.

    data: the complete file. boxes: of the cloaked faces, as in `FaceReport`. faces: their reports, empty if the photo
    would be held. held: why it would be, None if it would be published.
    """

    strength: int
    data: bytes
    boxes: tuple[tuple[float, float, float, float], ...]
    faces: tuple[FaceReport, ...]
    held: str | None


@dataclass(frozen=True, slots=True)
class Decoy:
    """A photo of somebody else whose face was moved toward a user's own; never a `Protected`.

    data: the complete output file. suffix: file extension that fits the format. face: as `FaceReport`, where target is
    the user and cosine_target the decoy's similarity to the user's clean face. cosine_before: the same for the photo
    as it was. seconds: the photo's share of its batch's wall time.
    """

    data: bytes
    suffix: str
    face: FaceReport
    cosine_before: Mapping[str, float]
    seconds: float
