"""Whether cloaks can be detected: a small network learns cloaked from clean on some people, tested on others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fawkes_engine.evaluation.metrics.rates import Rate, bootstrap
from fawkes_engine.evaluation.studies.learning import small_network
from fawkes_engine.evaluation.studies.linkage import area_under_roc
from fawkes_engine.evaluation.studies.material import Material, StudyPhoto, folds
from fawkes_engine.evaluation.studies.result import Row, Study, Table
from fawkes_engine.evaluation.trackers.sightings import Crop, batches, detected
from fawkes_engine.evaluation.trackers.training import as_bytes, predict, train
from fawkes_engine.extractors.base import ARCFACE_CHIP_PX, ARCFACE_TEMPLATE
from fawkes_engine.image.filters import gaussian_blur
from fawkes_engine.photo.decode import decode
from fawkes_engine.photo.encode import encode

FOLDS = 4
FALSE_ALARMS = (0.01, 0.05, 0.2)  # shares of clean photos taken for cloaked ones
_CROP = Crop(ARCFACE_CHIP_PX, ARCFACE_TEMPLATE)  # keeps a face of 100 px at nearly native size
_WIDTHS = (16, 32, 64)
_EPOCHS, _RATE, _SHIFT_PX = 30, 0.05, 2
_SIGMA_PX, _GAIN = 1.5, 16.0  # of the high-pass; the gain brings its output to about 1


@dataclass(frozen=True, slots=True)
class Scores:
    """The detector's scores: the higher, the more likely cloaked. people, cloaked, values: N each."""

    people: npt.NDArray[np.str_]
    cloaked: npt.NDArray[np.bool_]
    values: npt.NDArray[np.float32]


class HighPass(nn.Module):
    """Chips (N, 3, S, S) minus their blur: without it a network this small learns faces, not cloaks."""

    def forward(self, chips: Tensor) -> Tensor:
        """See the class."""
        return _GAIN * (chips - gaussian_blur(chips, _SIGMA_PX))


def detection(material: Material) -> Study:
    """Measure the ROC of a cloak detector, per mode, on people it never saw."""
    rows = []
    for mode in material.cloaked:
        material.on_step(f"learning to detect {mode} cloaks")
        rows.append(Row((mode,), roc(_scores(material, mode), material.seed)))
    found = tuple(f"found at {share:.0%} false alarms".replace("%", " %") for share in FALSE_ALARMS)
    return material.study(
        title="Detecting cloaks",
        method="A convolutional network behind a high-pass filter learned to distinguish cloaked photos from clean "
        f"ones, re-encoded in the same format and quality, on {FOLDS - 1} of {FOLDS} folds of the people, and was "
        "tested on the other fold.",
        tables=(Table("Detected", ("mode",), ("area under the ROC", *found), tuple(rows)),),
    )


def roc(scores: Scores, seed: int) -> tuple[Rate, ...]:
    """Return the area under the ROC, and the share of cloaked photos found at each of FALSE_ALARMS."""
    people = np.unique(scores.people)
    parts = [
        [scores.values[(scores.people == p) & (scores.cloaked == c)] for c in (True, False)] for p in people
    ]

    def pooled(drawn: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        return np.concatenate([parts[i][0] for i in drawn]), np.concatenate([parts[i][1] for i in drawn])

    def found_at(share: float) -> Callable[[npt.NDArray[np.int64]], float]:
        def found(drawn: npt.NDArray[np.int64]) -> float:
            cloaked, clean = pooled(drawn)
            return float((cloaked > np.quantile(clean, 1 - share)).mean())

        return found

    return (
        bootstrap(len(people), lambda drawn: area_under_roc(*pooled(drawn)), seed),
        *(bootstrap(len(people), found_at(share), seed) for share in FALSE_ALARMS),
    )


def rewritten(original: bytes, published: bytes) -> bytes:
    """Encode an original like its published file, without a cloak: else the encoding would give the cloak away."""
    photo = decode(original)
    return encode(photo, photo.pixels, decode(published).jpeg_quality)


def _scores(material: Material, mode: str) -> Scores:
    originals = {photo.name: photo.data for photo in material.originals}
    cloaked = material.cloaked[mode]
    clean = [StudyPhoto(photo.name, rewritten(originals[photo.name], photo.data)) for photo in cloaked]
    chips, people = zip(*(_chips(material, photos) for photos in (clean, cloaked)), strict=True)
    labels = torch.cat([torch.full((len(some),), i) for i, some in enumerate(chips)])
    whose = np.array([*people[0], *people[1]])
    values = np.empty(len(whose), np.float32)
    for held_out in folds(material.users, FOLDS):
        asked = np.isin(whose, held_out)
        values[asked] = _learned(material, torch.cat(chips), labels, torch.from_numpy(asked))
    return Scores(whose, labels.numpy().astype(bool), values)


def _learned(material: Material, chips: Tensor, labels: Tensor, asked: Tensor) -> npt.NDArray[np.float32]:
    model = small_network(HighPass(), _WIDTHS, 2, material.seed).to(material.trackers[0].device)
    train(
        model,
        chips[~asked],
        labels[~asked],
        epochs=_EPOCHS,
        rate=_RATE,
        seed=material.seed,
        shift_px=_SHIFT_PX,
    )
    logits = predict(model.eval(), chips[asked])
    return np.asarray((logits[:, 1] - logits[:, 0]).numpy())


def _chips(material: Material, photos: Sequence[StudyPhoto]) -> tuple[Tensor, list[str]]:
    """Return chips (N, 3, S, S) uint8 and the person in each."""
    seen = detected(material.sightings(photos))
    return as_bytes(batches(seen, _CROP)), [sighting.person for sighting in seen]
