"""The strongest tracker here: it trains its whole network on its gallery, not only a rule behind it.

A linear layer behind the network starts as the nearest-centroid rule, then both learn by SGD to name the gallery's
photos. N faces, D numbers per embedding, P people.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fawkes_engine.evaluation.heads import Labelled, centroids_of, unit
from fawkes_engine.evaluation.sightings import Sighting, batches
from fawkes_engine.evaluation.trackers import Tracker

NAME = "fine-tuned"  # among the heads

_BATCH = 32
_RATE, _MOMENTUM = (
    1e-2,
    0.9,
)  # a tenth of it hardly moves dlib's network, five times of it undoes what it knew
_LOGIT_SCALE = (
    16.0  # of a cosine, as NormFace (Wang et al. 2017) needs one: a cosine's own softmax is too flat
)
_LARGEST_GRADIENT = 1.0  # the network has no batch normalisation left that would keep a step small


class _Classifier(nn.Module):
    """Chips (N, 3, S, S), RGB, [0, 1] -> logits (N, P): scaled cosines to one learned vector per person."""

    def __init__(self, network: nn.Module, mean: Tensor, people: Tensor) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).requires_grad_()
        self.people = nn.Parameter(people.clone())
        self.mean = mean

    def forward(self, chips: Tensor) -> Tensor:
        centred = F.normalize(F.normalize(self.network(chips), dim=1) - self.mean, dim=1)
        return _LOGIT_SCALE * centred @ F.normalize(self.people, dim=1).T


def fine_tuned(
    tracker: Tracker, gallery: Sequence[Sighting], queries: Sequence[Sighting], *, epochs: int, seed: int
) -> list[str]:
    """Train a copy of the tracker's PyTorch network on the gallery, then name each query; all photos show a face.

    The network's batch statistics, if it has any, stay those it came with. Chips are mirrored at random. It runs
    where the tracker is: on a CPU an epoch takes a few times as long as embedding the gallery.
    """
    assert tracker.network is not None
    known = tracker.describe(gallery)
    mean = known.vectors.mean(axis=0)
    people, centroids = centroids_of(Labelled(known.names, unit(known.vectors - mean)))
    chips = torch.cat([_bytes(batch) for batch in batches(gallery, tracker.crop)])
    labels = torch.tensor([people.index(name) for name in known.names])
    model = _Classifier(tracker.network, *(torch.from_numpy(v).to(tracker.device) for v in (mean, centroids)))
    _train(model, chips, labels, device=tracker.device, epochs=epochs, seed=seed)
    with torch.no_grad():
        logits = [model(batch.to(tracker.device)).cpu().numpy() for batch in batches(queries, tracker.crop)]
    return [people[i] for i in np.concatenate(logits).argmax(axis=1)]


def _train(
    model: _Classifier, chips: Tensor, labels: Tensor, *, device: torch.device, epochs: int, seed: int
) -> None:
    """Chips (N, 3, S, S) uint8, labels (N,)."""
    draw = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.SGD(model.parameters(), lr=_RATE, momentum=_MOMENTUM)
    for _ in range(epochs):
        for batch in torch.split(torch.randperm(len(chips), generator=draw), _BATCH):
            shown = chips[batch].to(device).float() / 255
            mirrored = torch.rand(len(batch), generator=draw) < 0.5
            shown[mirrored] = shown[mirrored].flip(3)
            loss = F.cross_entropy(model(shown), labels[batch].to(device))
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), _LARGEST_GRADIENT)
            optimiser.step()


def _bytes(chips: Tensor) -> Tensor:
    """Chips in [0, 1] as uint8: a quarter of the memory."""
    return chips.mul(255).round().clamp(0, 255).byte()
