"""A surrogate: it turns an aligned chip into a unit embedding, and defines its crop and normalisation.

Embeddings are mean-centred before they are normalised: dlib's descriptors share a large mean (cosine 0.83
between strangers), which would hide most of what tells two people apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fawkes_engine.face.align import Similarity
from fawkes_engine.face.detect import Face

# Where ArcFace-type recognisers expect the five landmarks on a chip of 112 px (insightface's arcface_dst):
# eye centres, nose tip, mouth corners.
ARCFACE_TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
ARCFACE_CHIP_PX = 112


@dataclass(frozen=True, slots=True)
class Extractor:
    """A differentiable face recogniser.

    name: its key in the registry, in targets and in reports.
    chip_px: side of the square chip it takes. template: (5, 2), where the five landmarks lie on the chip, px.
    network: chips (N, 3, chip_px, chip_px), RGB, [0, 1] -> raw embeddings (N, D).
    mean: (D,) or a scalar, the raw embedding of the average stranger.
    in_pairs: whether an odd number of chips gets one of them twice where a gradient is wanted, see `embed`.
    """

    name: str
    chip_px: int
    template: npt.NDArray[np.float64]
    network: nn.Module
    mean: Tensor
    in_pairs: bool = True

    def onto_photo(self, face: Face) -> Similarity:
        """Return the transform from chip pixels to the photo's pixels that aligns this face."""
        return Similarity.fit(self.template, face.landmarks)

    def embed(self, chips: Tensor) -> Tensor:
        """Chips (N, 3, S, S), RGB, [0, 1] -> unit, mean-centred embeddings (N, D).

        A face's gradient, and the embedding it goes through, do not depend on the others in the batch.
        """
        count = len(chips)
        if count % 2 and chips.requires_grad and self.in_pairs:
            # oneDNN sums even batches in one order, batches of one, five or seven in another (measured)
            chips = torch.cat([chips, chips[:1]])
        raw = self.network(chips.contiguous(memory_format=torch.channels_last))
        return F.normalize(raw[:count].float() - self.mean, dim=1)
