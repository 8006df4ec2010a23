"""The training loop of trackers that train a network: SGD, augmented by random mirroring and small shifts."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_BATCH = 32
_MOMENTUM = 0.9
_LARGEST_GRADIENT = 1.0  # norm; most of these networks have no batch normalisation to keep steps small

Loss = Callable[[Tensor, Tensor], Tensor]


def train(
    model: nn.Module,
    chips: Tensor,
    wanted: Tensor,
    *,
    epochs: int,
    rate: float,
    seed: int,
    shift_px: int = 0,
    loss: Loss = F.cross_entropy,
) -> None:
    """Train a model in place, on its device; the learning rate falls linearly to zero.

    chips: (N, 3, S, S) uint8. wanted: (N, ...), targets of the loss, such as labels. shift_px: maximum random shift of
    each batch in each direction.
    """
    device = next(model.parameters()).device
    draw = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.SGD(model.parameters(), lr=rate, momentum=_MOMENTUM)
    steps = max(1, epochs * -(-len(chips) // _BATCH))
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, total_iters=steps)
    for _ in range(epochs):
        for batch in torch.split(torch.randperm(len(chips), generator=draw), _BATCH):
            shown = _varied(chips[batch].to(device).float() / 255, shift_px, draw)
            missed = loss(model(shown), wanted[batch].to(device))
            optimiser.zero_grad()
            missed.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), _LARGEST_GRADIENT)
            optimiser.step()
            schedule.step()


def as_bytes(chips: Iterable[Tensor]) -> Tensor:
    """Join batches of chips in [0, 1] as (N, 3, S, S) uint8, a quarter of the memory."""
    return torch.cat([some.mul(255).round().clamp(0, 255).byte() for some in chips])


@torch.no_grad()
def predict(model: nn.Module, chips: Tensor) -> Tensor:
    """Chips (N, 3, S, S) uint8 -> the model's outputs (N, ...), on the CPU."""
    device = next(model.parameters()).device
    return torch.cat([model(some.to(device).float() / 255).cpu() for some in torch.split(chips, _BATCH)])


def _varied(chips: Tensor, shift_px: int, draw: torch.Generator) -> Tensor:
    mirrored = torch.rand(len(chips), generator=draw) < 0.5
    chips[mirrored] = chips[mirrored].flip(3)
    if not shift_px:
        return chips
    down, right = (int(n) for n in torch.randint(2 * shift_px + 1, (2,), generator=draw))
    rows, columns = chips.shape[2:]
    return F.pad(chips, (shift_px,) * 4, mode="replicate")[..., down : down + rows, right : right + columns]
