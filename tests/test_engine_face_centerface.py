"""CenterFace computes in strips what its layers compute at once, for less memory.

With AVX2 alone, on more than one thread, to the bit.
"""

from __future__ import annotations

from importlib import resources

import numpy as np
import onnx
import onnx2torch
import pytest
import torch
from engine_pictures import astronaut, scaled

from fawkes_engine.extractors.alone import is_possible
from fawkes_engine.face import centerface
from fawkes_engine.face.centerface import CenterFaceDetector

pytestmark = pytest.mark.numeric


@pytest.mark.parametrize("shape", [(640, 300), (257, 90), (40, 500)])
def test_in_strips_each_value_is_the_one_of_the_layers_at_once(shape: tuple[int, int]) -> None:
    weights = resources.files("fawkes_engine") / "data" / "centerface.onnx"
    at_once = onnx2torch.convert(onnx.load_model_from_string(weights.read_bytes())).eval()
    at_once = at_once.to(memory_format=torch.channels_last)
    detector = CenterFaceDetector(torch.device("cpu"))
    picture = np.ascontiguousarray(scaled(astronaut(), 1.3)[: shape[0], : shape[1]])
    levels = centerface._bordered(picture)
    with torch.no_grad():
        for strips, whole in zip(detector._network(levels), at_once(levels), strict=True):
            assert torch.allclose(strips, whole, atol=1e-4)
            may_differ = torch.get_num_threads() == 1 or not is_possible(torch.device("cpu"))
            assert torch.equal(strips, whole) or may_differ
