"""In words: how strong a cloak is against recognisers that took no part in it.

A report has cosines to the recognisers a cloak was computed against. How they go with what other recognisers make of
the same photos was measured; the figures are in evaluation/RESULTS.md, *One photo, in words*.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

_VERIFIER = "dlib"  # driven below its limit in every photo: what it says does not tell photos apart
# Largest mean cosine of the surrogates besides _VERIFIER to the face's own clean embedding -> what that means.
_LEVELS = (
    (-0.10, "strong: recognisers that took no part will hardly ever know this face"),
    (0.10, "good: most recognisers that took no part will not know this face"),
    (0.30, "fair: about one in five recognisers that took no part will still know this face"),
)
_WEAKEST = "weak: a recogniser that took no part will probably still know this face"
_UNKNOWN = "unknown: it was computed against one recogniser alone, which tells nothing about others"
NO_FACE = "there is no cloak: no face was found"


def mean_cosine(cosine_own: Mapping[str, float]) -> float | None:
    """Mean of a face's cosines (extractor -> -1..1, as in `FaceReport`) that tell; None if none does."""
    telling = [cosine for name, cosine in cosine_own.items() if name != _VERIFIER]
    return sum(telling) / len(telling) if telling else None


def in_words(cosine_own: Mapping[str, float]) -> str:
    """Say how strong a face's cloak is; cosine_own: extractor -> cosine, as in `FaceReport`."""
    cosine = mean_cosine(cosine_own)
    if cosine is None:
        return _UNKNOWN
    return next((words for limit, words in _LEVELS if cosine <= limit), _WEAKEST)


def weakest(faces: Iterable[Mapping[str, float]]) -> str:
    """Say how strong a photo's cloaks are, by the weakest of its faces; each as for `in_words`."""
    each = list(faces)
    if not each:
        return NO_FACE
    return in_words(max(each, key=lambda face: mean_cosine(face) or 0.0))
