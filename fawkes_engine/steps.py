"""How far the engine is, as it tells whoever waits for it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Phase(Enum):
    """What the engine does with the photos of a batch, in this order; the value is for display."""

    FIND = "finding faces"
    CLOAK = "cloaking"
    AGAIN = "cloaking again"  # those that failed verification
    CHECK = "checking"


@dataclass(frozen=True, slots=True)
class Step:
    """How far a batch is. share: how much of the phase is done, 0 to 1; None where that cannot be told."""

    phase: Phase
    share: float | None = None
