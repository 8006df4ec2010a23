"""Classifiers (heads): how a tracker names a face, given embeddings of people it knows.

All heads use unit embeddings, centred by the mean of the tracker's gallery and normalised again: a direction common
to all faces does not discriminate. N queries, K gallery photos, D numbers per embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from fawkes_engine.errors import EvaluationError

Vectors = npt.NDArray[np.float32]

_INVERSE_PENALTY = 1.0  # C of logistic regression
_ITERATIONS, _TOLERANCE = 1000, 1e-7  # far beyond where names stop changing, after some 100 iterations


@dataclass(frozen=True, slots=True)
class Labelled:
    """Labelled embeddings. names: K people. vectors: (K, D); (0, 0) if there are none."""

    names: tuple[str, ...]
    vectors: Vectors

    @classmethod
    def joined(cls, parts: Iterable[Labelled]) -> Labelled:
        """Concatenate faces of the same tracker; at least one part must have some."""
        some = [part for part in parts if part.names]
        return cls(tuple(n for part in some for n in part.names), np.concatenate([p.vectors for p in some]))


Head = Callable[[Labelled, Vectors], list[str]]


def nearest_photo(gallery: Labelled, queries: Vectors) -> list[str]:
    """Name each query (N, D) after the gallery photo with the highest cosine (1-NN)."""
    known, asked = _centred(gallery, queries)
    return _best(gallery.names, asked @ known.T)


def nearest_centroid(gallery: Labelled, queries: Vectors) -> list[str]:
    """Name each query (N, D) after the person whose mean embedding has the highest cosine."""
    known, asked = _centred(gallery, queries)
    people, centroids = centroids_of(Labelled(gallery.names, known))
    return _best(people, asked @ centroids.T)


def linear(gallery: Labelled, queries: Vectors) -> list[str]:
    """Name each query (N, D) by multinomial logistic regression on standardised embeddings, C = 1.

    As the linear tracker of Radiya-Dixit et al. (ICLR 2022). The loss is convex and its minimiser unique, so the
    result depends on nothing but the faces; a person with one photo is a class like any other.
    """
    known, asked = _centred(gallery, queries)
    spread = known.std(axis=0)
    # double precision: in single, rounding decides between two people who are nearly as likely
    x, q = (torch.from_numpy(v / np.where(spread > 0, spread, 1)).double() for v in (known, asked))
    people = sorted(set(gallery.names))
    y = torch.tensor([people.index(name) for name in gallery.names])
    weight = torch.zeros(len(people), x.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(len(people), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [weight, bias],
        max_iter=_ITERATIONS,
        tolerance_grad=_TOLERANCE,
        tolerance_change=1e-9,
        line_search_fn="strong_wolfe",
    )

    def loss() -> float:
        optimiser.zero_grad()
        fit = F.cross_entropy(F.linear(x, weight, bias), y, reduction="sum")
        total: torch.Tensor = (fit + weight.square().sum() / (2 * _INVERSE_PENALTY)) / len(x)
        total.backward()  # type: ignore[no-untyped-call]
        return float(total.detach())

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        return _best(people, F.linear(q, weight, bias).numpy())


HEADS: Mapping[str, Head] = {"nearest": nearest_photo, "centroid": nearest_centroid, "linear": linear}


def check_heads(names: Iterable[str]) -> None:
    """Raise EvaluationError for a name that is not in HEADS."""
    for name in names:
        if name not in HEADS:
            raise EvaluationError(f"unknown head {name!r}; known: {', '.join(HEADS)}")


def centroids_of(faces: Labelled) -> tuple[list[str], Vectors]:
    """Return people by name, and each one's mean embedding (P, D), normalised."""
    people = sorted(set(faces.names))
    names = np.array(faces.names)
    return people, unit(np.stack([faces.vectors[names == person].mean(axis=0) for person in people]))


def unit(vectors: Vectors) -> Vectors:
    """Normalise (N, D) to unit length; a row of zeros stays."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), np.float32)


def _centred(gallery: Labelled, queries: Vectors) -> tuple[Vectors, Vectors]:
    mean = gallery.vectors.mean(axis=0)
    return unit(gallery.vectors - mean), unit(queries - mean)


def _best(names: Sequence[str], scores: Vectors) -> list[str]:
    """Return for each row of scores (N, K) the name of the column with the highest."""
    return [names[i] for i in scores.argmax(axis=1)]
