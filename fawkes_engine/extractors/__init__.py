"""The registry of surrogates: one small module per family, each with its crop, normalisation and weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fawkes_engine.extractors import dlib
from fawkes_engine.extractors.base import Extractor
from fawkes_engine.types import EngineError

__all__ = ["Extractor", "load"]

_REGISTRY: dict[str, Callable[[Tensor, torch.device], Extractor]] = {"dlib": dlib.load}


def load(name: str, mean: npt.NDArray[np.float32], device: torch.device) -> Extractor:
    """Load a registered extractor; mean is the pool's average raw embedding for it.

    Raises:
        EngineError: no such extractor. WeightsError: its weights are missing or wrong.
    """
    if name not in _REGISTRY:
        raise EngineError(f"unknown extractor {name!r}; known: {', '.join(sorted(_REGISTRY))}")
    return _REGISTRY[name](torch.from_numpy(mean).to(device), device)
