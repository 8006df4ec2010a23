"""A tracker's face recogniser, named by its specification.

    dlib (or another extractor of `fawkes_engine.extractors`)   the engine's own networks, PyTorch
    onnx:FILE[@INPUT]                                            any other, run by onnxruntime (see onnx.py)

The tracker detects and aligns faces itself, on the published file: it does not know which faces the engine found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from fawkes_engine import extractors
from fawkes_engine.errors import EngineError, EvaluationError, WeightsError
from fawkes_engine.evaluation.trackers import onnx
from fawkes_engine.evaluation.trackers.heads import Labelled, Vectors, unit
from fawkes_engine.evaluation.trackers.sightings import Crop, Sighting, batches, detected
from fawkes_engine.identity.targets import Pool

_ONNX = "onnx:"
_NO_MEAN = np.zeros((), np.float32)


@dataclass(frozen=True, slots=True)
class Tracker:
    """A recogniser and the crop it expects.

    name: in tables. input: how chips are cut and scaled. sha256: of an ONNX file, None for an extractor, whose
    weights are pinned. embed: chips (N, 3, S, S), RGB, [0, 1] -> embeddings (N, D). network: the same as a PyTorch
    module, which can be trained; None for an ONNX file. device: where the chips must be.
    """

    name: str
    input: str
    sha256: str | None
    crop: Crop
    embed: Callable[[Tensor], Vectors]
    network: nn.Module | None
    device: torch.device

    @torch.no_grad()
    def describe(self, sightings: Sequence[Sighting]) -> Labelled:
        """Return unit embeddings of the faces of those photos that show one."""
        found = detected(sightings)
        vectors = [self.embed(chips.to(self.device)) for chips in batches(found, self.crop)]
        if not vectors:
            return Labelled((), np.zeros((0, 0), np.float32))
        return Labelled(tuple(s.person for s in found), unit(np.concatenate(vectors)))


def load(
    specification: str, device: torch.device, *, pool: Pool | None = None, models_dir: Path | None = None
) -> Tracker:
    """Load a tracker's recogniser.

    pool: centre an extractor's embeddings as the pool's are, to be comparable with those; by default they are not
    centred, since heads centre by the tracker's gallery. models_dir: of the fetched weights, None = the default one.

    Raises:
        EvaluationError: a specification of neither kind, or a file that cannot be used.
        WeightsError: an extractor's weights are missing or wrong.
    """
    if specification.startswith(_ONNX):
        return _onnx(specification.removeprefix(_ONNX))
    try:
        mean = pool.mean(specification) if pool else _NO_MEAN
        extractor = extractors.load(specification, mean, device, models_dir)
    except WeightsError:
        raise
    except EngineError as error:
        raise EvaluationError(f"{error}; for a file, say onnx:FILE") from error
    return Tracker(
        name=extractor.name,
        input=extractor.name,
        sha256=None,
        crop=Crop(extractor.chip_px, extractor.template),
        embed=lambda chips: extractor.embed(chips).cpu().numpy(),
        network=extractor.network,
        device=device,
    )


def load_trackers(specifications: Sequence[str], device: torch.device) -> list[Tracker]:
    """Load several trackers as `load` does; duplicate names are refused, since results are keyed by name."""
    loaded = [load(specification, device) for specification in specifications]
    names = [tracker.name for tracker in loaded]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise EvaluationError(f"two trackers are called {twice}; name each once, or rename a file")
    return loaded


def _onnx(specification: str) -> Tracker:
    model = onnx.load(specification)
    return Tracker(
        name=model.path.name,
        input=model.input,
        sha256=model.sha256,
        crop=model.crop,
        embed=model.embed,
        network=None,
        device=torch.device("cpu"),
    )
