"""Recognition rates and their confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_RESAMPLES = 2000
_Z = 1.96  # 95 % of a normal distribution are within this many standard deviations


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many of a person's photos were tested, and how many were named correctly."""

    person: str
    recognised: int
    tried: int


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of photos, 0..1, with its 95 % interval: over people, or over the photos of one person."""

    share: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.share:.1%} [{self.low:.1%}, {self.high:.1%}]"

    @property
    def complement(self) -> Rate:
        """1 - share, with its interval: the protection where this is the recognition."""
        return Rate(1 - self.share, 1 - self.high, 1 - self.low)


def outcomes(truths: Sequence[str], named: Sequence[str]) -> list[Outcome]:
    """Count each person's correctly named photos, people by name."""
    hits = [(truth, truth == name) for truth, name in zip(truths, named, strict=True)]
    return [
        Outcome(p, sum(hit for truth, hit in hits if truth == p), sum(truth == p for truth, _ in hits))
        for p in sorted(set(truths))
    ]


def rate(people: Sequence[Outcome], seed: int) -> Rate:
    """Return the share of correctly named photos; the interval is a bootstrap over people, not photos."""
    recognised = np.array([o.recognised for o in people])
    tried = np.array([o.tried for o in people])
    return bootstrap(len(people), lambda drawn: float(recognised[drawn].sum() / tried[drawn].sum()), seed)


def bootstrap(people: int, statistic: Callable[[npt.NDArray[np.int64]], float], seed: int) -> Rate:
    """Return a statistic over everybody, with its bootstrap interval over people resampled with replacement.

    statistic: indices of people (P,), 0 to people - 1 -> a share.
    """
    drawn = np.random.default_rng(seed).integers(people, size=(_RESAMPLES, people))
    low, high = np.percentile([statistic(some) for some in drawn], [2.5, 97.5])
    return Rate(statistic(np.arange(people)), float(low), float(high))


def rate_of_one(recognised: int, tried: int) -> Rate:
    """Return the share of one person's photos; Wilson's interval (1927), which holds for few photos and at 0 and 1.

    It assumes independent photos, which those of one occasion are not.
    """
    share, z2 = recognised / tried, _Z**2
    middle = (share + z2 / (2 * tried)) / (1 + z2 / tried)
    half = _Z * math.sqrt(share * (1 - share) / tried + z2 / (4 * tried**2)) / (1 + z2 / tried)
    return Rate(share, max(0.0, middle - half), min(1.0, middle + half))
