"""Trackers that train a network on their gallery: an existing one, or a small one from scratch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from fawkes_engine.errors import EvaluationError
from fawkes_engine.evaluation.metrics.rates import Rate, outcomes, rate
from fawkes_engine.evaluation.studies.gallery import KNOWN_PEOPLE
from fawkes_engine.evaluation.studies.material import Material, StudyPhoto, people_of
from fawkes_engine.evaluation.studies.result import Row, Study, Table
from fawkes_engine.evaluation.trackers import finetune
from fawkes_engine.evaluation.trackers.sightings import Crop, batches, detected
from fawkes_engine.evaluation.trackers.tracker import Tracker
from fawkes_engine.evaluation.trackers.training import as_bytes, predict, train
from fawkes_engine.extractors.base import ARCFACE_CHIP_PX, ARCFACE_TEMPLATE

FINE_TUNE_EPOCHS = 2
_CHIP_PX = 64  # about half of ArcFace's chip: as much as a network of this size can use
_WIDTHS = (24, 48, 96, 192)
_EPOCHS, _RATE = 20, 0.1
_SHIFT_PX = 3
CROP = Crop(_CHIP_PX, ARCFACE_TEMPLATE * (_CHIP_PX / ARCFACE_CHIP_PX))


def fine_tune(material: Material) -> Study:
    """Measure recognition by each PyTorch tracker after its whole network was trained on its gallery.

    Raises:
        EvaluationError: no tracker has a trainable network.
    """
    networks = [tracker for tracker in material.trackers if tracker.network]
    if not networks:
        raise EvaluationError("only PyTorch trackers can be fine-tuned: add one, such as --tracker dlib")
    rows = [
        Row((tracker.name,), tuple(_fine_tuned(material, tracker, p) for p in material.learned.values()))
        for tracker in networks
    ]
    return material.study(
        title="Fine-tuned trackers",
        method="All layers of the tracker's network, and a linear layer on top, were trained on its gallery, for "
        f"{FINE_TUNE_EPOCHS} epochs; {len(people_of(material.others))} other people.",
        tables=(Table("Recognised", ("tracker",), tuple(material.learned), tuple(rows)),),
    )


def scratch(material: Material) -> Study:
    """Measure recognition by a small network trained on nothing but the gallery."""
    everybody = [*material.users, *people_of([*material.others, *material.more_others])]
    known = everybody[: KNOWN_PEOPLE[-1]]
    rates = tuple(_from_scratch(material, photos, known) for photos in material.learned.values())
    size = sum(weight.numel() for weight in _network(len(known), material.seed).parameters())
    return material.study(
        title="A tracker trained from scratch",
        method=f"A convolutional network of {size / 1000:.0f} thousand weights behind chips of {_CHIP_PX} px, trained "
        f"for {_EPOCHS} epochs to tell {len(known)} people apart by their photos.",
        tables=(
            Table("Recognised", ("tracker",), tuple(material.learned), (Row(("from scratch",), rates),)),
        ),
    )


def small_network(first: nn.Module, widths: Sequence[int], classes: int, seed: int) -> nn.Sequential:
    """Return a plain network, chips (N, 3, S, S), [0, 1] -> logits (N, classes): one halving per width.

    first: scales the chips (N, 3, S, S).
    """
    layers = [first]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for before, width in zip((3, *widths), widths, strict=False):
            conv = nn.Conv2d(before, width, 3, stride=2, padding=1, bias=False)
            layers += [conv, nn.BatchNorm2d(width), nn.ReLU()]
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], classes)]
    return nn.Sequential(*layers)


def _network(people: int, seed: int) -> nn.Module:
    return small_network(nn.BatchNorm2d(3, affine=False), _WIDTHS, people, seed)


def _fine_tuned(material: Material, tracker: Tracker, photos: Sequence[StudyPhoto]) -> Rate:
    material.on_step(f"fine-tuning {tracker.name}")
    gallery = detected([*material.sightings(material.others), *material.sightings(photos)])
    asked = detected(material.sightings(material.tested))
    named = finetune.fine_tuned(tracker, gallery, asked, epochs=FINE_TUNE_EPOCHS, seed=material.seed)
    return rate(outcomes([sighting.person for sighting in asked], named), material.seed)


def _from_scratch(material: Material, photos: Sequence[StudyPhoto], known: Sequence[str]) -> Rate:
    material.on_step(f"training a network from scratch on {len(known)} people")
    piles = [material.sightings(pile) for pile in (material.others, material.more_others, photos) if pile]
    gallery = [sighting for pile in piles for sighting in detected(pile) if sighting.person in known]
    asked = detected(material.sightings(material.tested))
    chips, asked_chips = (as_bytes(batches(sightings, CROP)) for sightings in (gallery, asked))
    model = _network(len(known), material.seed).to(material.trackers[0].device)
    labels = torch.tensor([known.index(sighting.person) for sighting in gallery])
    train(model, chips, labels, epochs=_EPOCHS, rate=_RATE, seed=material.seed, shift_px=_SHIFT_PX)
    named = [known[i] for i in predict(model.eval(), asked_chips).argmax(dim=1).tolist()]
    return rate(outcomes([sighting.person for sighting in asked], named), material.seed)
