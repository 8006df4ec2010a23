"""The strongest tracker here: it fine-tunes its whole network on its gallery, not only a classifier on top.

A linear layer on top of the network is initialised as a nearest-centroid classifier, then both learn by SGD to name
the gallery's photos. N faces, D numbers per embedding, P people.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fawkes_engine.evaluation.trackers.heads import Labelled, centroids_of, unit
from fawkes_engine.evaluation.trackers.sightings import Sighting, batches
from fawkes_engine.evaluation.trackers.tracker import Tracker
from fawkes_engine.evaluation.trackers.training import as_bytes, predict, train

NAME = "fine-tuned"  # among the heads

_RATE = 1e-2  # a tenth of it hardly changes dlib's network, five times of it destroys what it had learned
_LOGIT_SCALE = 16.0  # of cosines, as in NormFace (Wang et al. 2017): the softmax of bare cosines is too flat


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

    The network's batch statistics, if any, stay frozen. Chips are mirrored at random. Training runs on the tracker's
    device: on a CPU an epoch takes a few times as long as embedding the gallery.
    """
    assert tracker.network is not None
    known = tracker.describe(gallery)
    mean = known.vectors.mean(axis=0)
    people, centroids = centroids_of(Labelled(known.names, unit(known.vectors - mean)))
    chips, asked = (as_bytes(batches(sightings, tracker.crop)) for sightings in (gallery, queries))
    labels = torch.tensor([people.index(name) for name in known.names])
    model = _Classifier(tracker.network, *(torch.from_numpy(v).to(tracker.device) for v in (mean, centroids)))
    train(model, chips, labels, epochs=epochs, rate=_RATE, seed=seed)
    return [people[i] for i in predict(model, asked).argmax(dim=1).tolist()]
