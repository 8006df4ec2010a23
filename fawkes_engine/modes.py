"""How visible a cloak may be, and the modes: trade-offs between time, visibility and protection.

This module imports neither torch nor numpy, as `types`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Budget:
    """How visible a cloak may be; all limits hold on every face after 8-bit rounding.

    warp: how far a point of the face may be moved, as a share of the face's height; 0 = no warp. The other limits are
    on what is added to the warped face (the defaults are between those of engine 11, which protected too little, and
    `strong`'s: evaluation/RESULTS.md, Engine 13):
    dssim: maximum (1 - SSIM) / 2, both at native size and with the face region scaled to 224 px.
    colour_mean, colour_p99: maximum CIEDE2000 of the smoothed colour shift: mean and 99th percentile.
    """

    dssim: float = 0.010
    colour_mean: float = 1.2
    colour_p99: float = 3.6
    warp: float = 0.025


@dataclass(frozen=True, slots=True)
class Mode:
    """A trade-off between time, visibility and protection; measured in evaluation/RESULTS.md.

    budget: the visibility budget of every face. steps: maximum optimiser steps per face. second_turns: extractors
    that, if in use, get two turns in each round of the schedule, at no cost in time.
    """

    budget: Budget
    steps: int
    second_turns: tuple[str, ...] = ()


ModeName = Literal["quick", "standard", "strong"]
MODES: Mapping[ModeName, Mode] = {
    "quick": Mode(Budget(), steps=36),
    "standard": Mode(Budget(), steps=60),
    # the others are fooled long before this budget is used up
    "strong": Mode(
        Budget(dssim=0.015, colour_mean=1.5, colour_p99=4.5, warp=0.03),
        steps=60,
        second_turns=("sface",),
    ),
}
DEFAULT_MODE: ModeName = "standard"
STRONGEST_MODE: ModeName = "strong"
FULL_STRENGTH = 100  # the cloak as it was computed; below, both of its parts are scaled down
