"""The tracker's side: it finds faces in published files, describes them, and names the nearest person it knows.

It has no command of its own; `tests.benchmarks.protection` takes trackers by their specification:

    --tracker dlib        the engine's own extractor, with the tracker's own detection and alignment
    --tracker onnx:FILE   HSE-FaceRes (MobileNet, VGGFace2), never used by the engine; needs `pip install onnxruntime`
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps
from torch import Tensor

from fawkes_engine import extractors
from fawkes_engine.canvas import to_tensor
from fawkes_engine.faces import Face, FaceDetector, Pixels, Similarity
from fawkes_engine.targets import Pool
from fawkes_engine.views import sample_chips

Vectors = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]

_BATCH_CHIPS = 16
_RESAMPLES = 2000
_HSE_CHIP_PX = 224
_HSE_TEMPLATE = np.array([[0.36, 0.42], [0.64, 0.42], [0.50, 0.63]]) * _HSE_CHIP_PX  # eye centres, nose base
# From the nose tip to the middle of the mouth, the nose base comes after this share of the way: 0.516, 0.628 and
# 0.780 are their heights in dlib's mean face (points 30, 33 and the mouth's corners).
_NOSE_BASE = (0.628 - 0.516) / (0.780 - 0.516)


@dataclass(frozen=True, slots=True)
class Embedder:
    """A tracker's face recogniser.

    name: for tables. chip_px: side of its square chip. template: (K, 2), where `points` lie on the chip, px.
    points: five landmarks (5, 2) -> (K, 2), those it aligns by. network: chips (N, 3, S, S), RGB, [0, 1] -> (N, D).
    """

    name: str
    chip_px: int
    template: Points
    points: Callable[[Points], Points]
    network: Callable[[Tensor], Vectors]


@dataclass(frozen=True, slots=True)
class Sighting:
    """One photo of a person. vectors: embedder's name -> (D,); None if no face was detected."""

    person: str
    vectors: Mapping[str, Vectors] | None


@dataclass(frozen=True, slots=True)
class Labelled:
    """Faces and whose they are. names: N. vectors: (N, D)."""

    names: tuple[str, ...]
    vectors: Vectors


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many of a person's photos were tried, and how many were given the right name."""

    person: str
    recognised: int
    tried: int


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of photos, 0..1, with its 95 % interval over people."""

    share: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.share:.1%} [{self.low:.1%}, {self.high:.1%}]"


def embedder(specification: str) -> Embedder:
    """Load the tracker's recogniser from "dlib" or "onnx:FILE".

    Raises:
        ValueError: neither of both.
    """
    if specification == "dlib":
        return _dlib()
    kind, _, file = specification.partition(":")
    if kind == "onnx" and file:
        return _hse(file)
    raise ValueError(f"unknown tracker {specification!r}; known: dlib, onnx:FILE")


def look(
    photos: Sequence[tuple[str, bytes]], detector: FaceDetector, embedders: Sequence[Embedder]
) -> list[Sighting]:
    """Describe the face nearest the middle of each photo, given as person and file."""
    found: list[int] = []
    chips: dict[str, list[Tensor]] = {e.name: [] for e in embedders}
    for i, (_, data) in enumerate(photos):
        pixels = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
        face = _central(detector.detect(pixels), pixels)
        if face is None:
            continue
        found.append(i)
        for e in embedders:
            chips[e.name].append(_chip(pixels, face.landmarks, e))
    vectors = {e.name: _embedded(e, chips[e.name]) for e in embedders}
    rows = {i: {name: v[row] for name, v in vectors.items()} for row, i in enumerate(found)}
    return [Sighting(person, rows.get(i)) for i, (person, _) in enumerate(photos)]


def labelled(sightings: Iterable[Sighting], tracker: str) -> Labelled:
    """Return the detected faces as one tracker embeds them."""
    found = [(s.person, s.vectors[tracker]) for s in sightings if s.vectors is not None]
    return Labelled(tuple(person for person, _ in found), np.stack([v for _, v in found]))


def cosines(faces: Labelled, *, same_person: bool) -> Vectors:
    """Cosines (K,) of all pairs of different photos that show the same person, or of all that do not."""
    unit = _unit(faces.vectors)
    names = np.array(faces.names)
    wanted = np.triu((names[:, None] == names[None]) == same_person, k=1)
    pairs: Vectors = (unit @ unit.T)[wanted]
    return pairs


def by_nearest_photo(gallery: Labelled, queries: Vectors) -> list[str]:
    """Name each query (N, D) after the gallery photo with the highest cosine, both centred by the gallery's mean."""
    mean = gallery.vectors.mean(axis=0)
    return _nearest(gallery.names, _unit(gallery.vectors - mean), _unit(queries - mean))


def by_nearest_centroid(gallery: Labelled, queries: Vectors) -> list[str]:
    """Name each query (N, D) after the person whose centred photos have the mean with the highest cosine."""
    mean = gallery.vectors.mean(axis=0)
    known = _unit(gallery.vectors - mean)
    people = sorted(set(gallery.names))
    names = np.array(gallery.names)
    centroids = np.stack([known[names == person].mean(axis=0) for person in people])
    return _nearest(people, _unit(centroids), _unit(queries - mean))


def outcomes(queries: Labelled, named: Sequence[str]) -> list[Outcome]:
    """Count the right names for each person of the queries."""
    hits = [(truth, truth == name) for truth, name in zip(queries.names, named, strict=True)]
    people = sorted(set(queries.names))
    return [
        Outcome(p, sum(hit for truth, hit in hits if truth == p), sum(truth == p for truth, _ in hits))
        for p in people
    ]


def rate(people: Sequence[Outcome], seed: int) -> Rate:
    """Return the share of photos given the right name; the interval is a bootstrap over people, not photos."""
    recognised = np.array([o.recognised for o in people])
    tried = np.array([o.tried for o in people])
    drawn = np.random.default_rng(seed).integers(len(people), size=(_RESAMPLES, len(people)))
    shares = recognised[drawn].sum(axis=1) / tried[drawn].sum(axis=1)
    low, high = np.percentile(shares, [2.5, 97.5])
    return Rate(float(recognised.sum() / tried.sum()), float(low), float(high))


def _nearest(names: Sequence[str], known: Vectors, queries: Vectors) -> list[str]:
    return [names[i] for i in (queries @ known.T).argmax(axis=1)]


def _central(faces: Sequence[Face], pixels: Pixels) -> Face | None:
    """Return the face nearest the middle of the photo, whom the photo is of."""
    middle = np.array(pixels.shape[1::-1]) / 2
    return min(faces, key=lambda f: float(np.linalg.norm(f.landmarks.mean(axis=0) - middle)), default=None)


def _chip(pixels: Pixels, landmarks: Points, e: Embedder) -> Tensor:
    height, width = pixels.shape[:2]
    side = max(height, width)  # chips are sampled from squares
    square = np.pad(pixels, ((0, side - height), (0, side - width), (0, 0)), mode="edge")
    onto_photo = Similarity.fit(e.template, e.points(landmarks))
    return sample_chips(to_tensor(square)[None], [onto_photo], e.chip_px)


@torch.no_grad()
def _embedded(e: Embedder, chips: Sequence[Tensor]) -> Vectors:
    batches = (torch.cat(list(chips[i : i + _BATCH_CHIPS])) for i in range(0, len(chips), _BATCH_CHIPS))
    return np.concatenate([e.network(batch) for batch in batches])


def _unit(vectors: Vectors) -> Vectors:
    unit: Vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


def _dlib() -> Embedder:
    extractor = extractors.load("dlib", Pool.load().mean("dlib"), torch.device("cpu"))
    return Embedder(
        name="dlib",
        chip_px=extractor.chip_px,
        template=extractor.template,
        points=lambda landmarks: landmarks,
        network=lambda chips: extractor.embed(chips).numpy(),
    )


def _hse(file: str) -> Embedder:
    import onnxruntime  # here, so that nothing else needs it

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return Embedder(
        name="HSE-FaceRes",
        chip_px=_HSE_CHIP_PX,
        template=_HSE_TEMPLATE,
        points=_eyes_and_nose_base,
        network=lambda chips: _unit(session.run(["embedding"], {"image": (chips * 255).numpy()})[0]),
    )


def _eyes_and_nose_base(landmarks: Points) -> Points:
    nose_tip, mouth = landmarks[2], landmarks[3:5].mean(axis=0)
    return np.stack([landmarks[0], landmarks[1], nose_tip + _NOSE_BASE * (mouth - nose_tip)])
