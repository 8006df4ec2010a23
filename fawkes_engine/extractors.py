"""The surrogates: each turns an aligned chip into a unit embedding, and owns its crop and normalisation.

Embeddings are mean-centred before they are normalised: dlib's descriptors share a large mean (cosine 0.83
between strangers), which would hide most of what tells two people apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fawkes_engine import dlibnet
from fawkes_engine.faces import Face, Similarity
from fawkes_engine.types import EngineError

# oneDNN's convolutions add in the same order for any number of images from two on, but not for one (measured).
_SMALLEST_BATCH = 2


@dataclass(frozen=True, slots=True)
class Extractor:
    """A face recogniser that gradients pass through.

    name: its key in the registry, in targets and in reports.
    chip_px: side of the square chip it takes. template: (5, 2), where the five landmarks lie on the chip, px.
    network: chips (N, 3, chip_px, chip_px), RGB, [0, 1] -> raw embeddings (N, D).
    mean: (D,), the raw embedding of the average stranger.
    """

    name: str
    chip_px: int
    template: npt.NDArray[np.float64]
    network: nn.Module
    mean: Tensor

    def onto_photo(self, face: Face) -> Similarity:
        """Return the transform from chip pixels to the photo's pixels that aligns this face."""
        return Similarity.fit(self.template, face.landmarks)

    def embed(self, chips: Tensor) -> Tensor:
        """Chips (N, 3, S, S), RGB, [0, 1] -> unit, mean-centred embeddings (N, D).

        A face's embedding and its gradient do not depend on the others in the batch.
        """
        count = len(chips)
        if count < _SMALLEST_BATCH:
            chips = torch.cat([chips, chips[:1].expand(_SMALLEST_BATCH - count, -1, -1, -1)])
        raw = self.network(chips.contiguous(memory_format=torch.channels_last))
        return F.normalize(raw[:count] - self.mean, dim=1)


def load(name: str, mean: npt.NDArray[np.float32], device: torch.device) -> Extractor:
    """Load a registered extractor; mean is the pool's average raw embedding for it.

    Raises:
        EngineError: no such extractor. WeightsError: its weights are missing or wrong.
    """
    if name not in _REGISTRY:
        raise EngineError(f"unknown extractor {name!r}; known: {', '.join(sorted(_REGISTRY))}")
    return _REGISTRY[name](torch.from_numpy(mean).to(device), device)


def _dlib(mean: Tensor, device: torch.device) -> Extractor:
    network = dlibnet.DlibNet.load().to(device).to(memory_format=torch.channels_last)
    return Extractor("dlib", dlibnet.CHIP_PX, _DLIB_TEMPLATE, network, mean)


_REGISTRY: dict[str, Callable[[Tensor, torch.device], Extractor]] = {"dlib": _dlib}

# dlib's chip puts its mean face (dlib/image_transforms/interpolation.h, mean_face_shape_x/y) into the square
# with a padding of 0.25 on each side. The five rows are what MTCNN marks: eye centres (mean of the six points
# of each eye), nose tip, mouth corners.
_DLIB_TEMPLATE = (
    np.array(
        [
            [0.225492, 0.215990],
            [0.754761, 0.215990],
            [0.490127, 0.515625],
            [0.254149, 0.780233],
            [0.726104, 0.780233],
        ]
    )
    + 0.25
) * (dlibnet.CHIP_PX / 1.5)
