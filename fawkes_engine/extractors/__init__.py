"""The registry of surrogates: one small module per family, each with its crop, normalisation and weights.

dlib                               inside a Python package; always there, and used to identify people
sface, facenet-casia, ...          fetched, see `fawkes_engine.weights.catalog`
onnx:FILE                          any ArcFace-style recogniser that a user has
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from fawkes_engine.errors import EngineError
from fawkes_engine.extractors import dlib
from fawkes_engine.extractors.base import Extractor
from fawkes_engine.weights import catalog

__all__ = ["KNOWN_BY", "Extractor", "load"]

KNOWN_BY = catalog.ALWAYS_THERE  # the extractor that identifies people
_ONNX = "onnx:"


def load(
    name: str, mean: npt.NDArray[np.float32], device: torch.device, models_dir: Path | None = None
) -> Extractor:
    """Load a registered extractor; mean is the pool's average raw embedding for it.

    models_dir: folder of the fetched weights, None = `weights.catalog.default_folder()`.

    Raises:
        EngineError: no such extractor, or none in the file. WeightsError: its weights are missing or wrong.
    """
    average = torch.from_numpy(mean).to(device)
    if name == KNOWN_BY:
        return dlib.load(average, device)
    if name.startswith(_ONNX):
        weights = Path(name.removeprefix(_ONNX)).expanduser()
    elif name in catalog.CATALOG:
        weights = catalog.check(name, models_dir or catalog.default_folder())
    else:
        known = ", ".join([KNOWN_BY, *catalog.CATALOG])
        raise EngineError(f"unknown extractor {name!r}; known: {known} and {_ONNX}FILE")
    if name.startswith(_ONNX) or weights.suffix == ".onnx":
        from fawkes_engine.extractors import onnx

        return onnx.load(name, weights, average, device)
    from fawkes_engine.extractors import facenet, lightcnn

    load_family = lightcnn.load if name == "lightcnn" else facenet.load
    return load_family(name, weights, average, device)
