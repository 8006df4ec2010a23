"""The cloak: a perturbation of each face that moves its embedding away from the clean one and toward the target.

The loss per face, with a new augmentation v at every step, on the mean-centred unit embeddings f_e of one extractor:

    loss = aim.target_weight * (1 - cos(f_e(v(w(x) + d)), target_e)) + aim.own_weight * cos(f_e(v(w(x) + d)), own_e)
           + DSSIM_WEIGHT * DSSIM(x, x + d) / limit

where w is a smooth warp (`image.warp`) and own_e, the clean embedding, lies halfway between f_e(x) and the mean of the
person's clean faces: a tracker is queried with other photos of the person than x.

The extractors take turns: momentum averages their gradients, and three cost as much as one (using all of them at every
step gains 0.05 in cosine for three times the time).

Pulling toward the target alone transfers poorly to unseen trackers; pushing away from the clean embedding more than
doubles protection there at equal DSSIM, and the stronger the pull, the weaker the push. What w moves, unseen trackers
see almost as the surrogates do. After every step d and w are projected into the budget, see `state`.

Axes: N faces, S side of the square canvas, P side of a chip, K control points of a warp per row and per column.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fawkes_engine.cloak.state import CloakState
from fawkes_engine.cloak.subjects import Subject
from fawkes_engine.extractors import Extractor
from fawkes_engine.modes import Budget

DSSIM_WEIGHT = 0.15
_CHECK_EVERY = 10
# The loop's limits are estimates at working size, corrected by exact measurements at these fractions of the steps.
_CALIBRATE_AT = (1 / 4, 1 / 2)


@dataclass(frozen=True, slots=True)
class Aim:
    """Loss weights and stopping criterion; the identity a face is moved toward is its `Goal`.

    target_weight, own_weight: of the pull toward the target and the push away from the clean embedding, see above.
    near_target, away_from_own: a face is done when, as published, its cosine to the target is at least the first and
    to the clean embedding at most the second.
    """

    target_weight: float
    own_weight: float
    near_target: float
    away_from_own: float


CLOAK = Aim(target_weight=0.1, own_weight=2.0, near_target=0.95, away_from_own=-0.2)


@dataclass(frozen=True, slots=True)
class Cloak:
    """The result for one face.

    points: (2, K, K), control points of the warp, px of the canvas. delta: (3, S, S), to be added to the warped canvas.
    steps: optimiser steps spent.
    """

    points: Tensor
    delta: Tensor
    steps: int


def optimise(
    subjects: Sequence[Subject],
    turns: Sequence[Extractor],
    budget: Budget,
    *,
    aim: Aim,
    steps: int,
    on_step: Callable[[float], None],
) -> list[Cloak]:
    """Cloak faces together; the result for a face does not depend on the others.

    turns: the schedule, one extractor per step, repeated; an extractor may occur several times.
    Canvases may differ in size and are batched by size; only the recognisers get all faces at once.
    on_step: called after every optimiser step with the share of them that is done, 0 to 1.
    """
    by_side = defaultdict(list)
    for i, subject in enumerate(subjects):
        by_side[subject.canvas.shape[2]].append(i)
    states = [CloakState.start([subjects[i] for i in places], budget) for places in by_side.values()]
    _descend(states, turns, budget, aim=aim, steps=steps, on_step=on_step)
    cloaks: dict[int, Cloak] = {}
    for state, places in zip(states, by_side.values(), strict=True):
        made = map(Cloak, state.best_points, state.faces.whole(state.best), state.best_step)
        cloaks |= zip(places, made, strict=True)
    return [cloaks[i] for i in range(len(subjects))]


def _descend(
    states: Sequence[CloakState],
    turns: Sequence[Extractor],
    budget: Budget,
    *,
    aim: Aim,
    steps: int,
    on_step: Callable[[float], None],
) -> None:
    """Step until all faces are done, calibrating the limits and keeping the best cloaks on the way."""
    surrogates = list({extractor.name: extractor for extractor in turns}.values())
    calibrations = [round(share * steps) for share in _CALIBRATE_AT]
    for step in range(steps):
        # one view per round of the schedule, so that every extractor sees every view
        loss = _loss(states, aim, turns[step % len(turns)], step // len(turns))
        gradients = torch.autograd.grad(loss, [x for state in states for x in (state.delta, state.points)])
        for state, delta, points in zip(states, gradients[::2], gradients[1::2], strict=True):
            state.descend(delta, step=step, of=steps)
            state.move(points, step=step, of=steps)
        on_step((step + 1) / steps)
        if step + 1 in calibrations:
            for state in states:
                state.calibrate(budget)
        elif step + 1 > calibrations[-1] and ((step + 1) % _CHECK_EVERY == 0 or step + 1 == steps):
            _keep_best(states, aim, surrogates, steps=step + 1)
            if all(bool(state.done.all()) for state in states):
                return


def _cosines(
    states: Sequence[CloakState], extractor: Extractor, chips: Sequence[Tensor]
) -> tuple[Tensor, Tensor | None]:
    """Cosines (N,) of faces to their clean embeddings, and to their targets, if any; chips: (n, 3, P, P) each."""
    embedding = extractor.embed(torch.cat(tuple(chips)))
    own = torch.cat([state.faces.clean_embedding[extractor.name] for state in states])
    to_own = (embedding * own).sum(dim=1)
    if extractor.name not in states[0].faces.target:
        return to_own, None
    target = torch.cat([state.faces.target[extractor.name] for state in states])
    return to_own, (embedding * target).sum(dim=1)


def _loss(states: Sequence[CloakState], aim: Aim, extractor: Extractor, view_number: int) -> Tensor:
    """Scalar: the sum over faces, so that each face's gradient does not depend on the others."""
    own, target = _cosines(states, extractor, [state.viewed(extractor, view_number) for state in states])
    attack = aim.own_weight * own.sum()
    if target is not None:
        attack = attack - aim.target_weight * target.sum()
    visible = [(state.dssim() / state.dssim_limit).sum() for state in states]
    return attack + DSSIM_WEIGHT * torch.stack(visible).sum()


@torch.no_grad()
def _keep_best(
    states: Sequence[CloakState], aim: Aim, extractors: Sequence[Extractor], *, steps: int
) -> None:
    """Keep each face's current cloak if, as it would be published, it is better than its best so far."""
    count = sum(len(state.faces.each) for state in states)
    score = torch.zeros(count, device=states[0].delta.device)
    done = torch.ones_like(score, dtype=torch.bool)
    rounded = [(state.cloaked() * 255).round() / 255 for state in states]  # to 8 bits
    for extractor in extractors:
        chips = [state.faces.chips(extractor, canvas) for state, canvas in zip(states, rounded, strict=True)]
        own, target = _cosines(states, extractor, chips)
        score -= aim.own_weight * own
        done &= own <= aim.away_from_own
        if target is not None:
            score += aim.target_weight * target
            done &= target >= aim.near_target
    start = 0
    for state in states:
        here = slice(start, start := start + len(state.faces.each))
        state.keep_best(score[here], done[here], steps=steps)
