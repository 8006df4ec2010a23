"""Models of TensorFlow.js become ONNX models that compute the same; the oracle is their definition, in PyTorch."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from benchmarks.tfjs_to_onnx import converted
from onnx.reference import ReferenceEvaluator

pytestmark = pytest.mark.numeric
SIDE, CHANNELS, SIZE = 8, 4, 5
Weights = dict[str, npt.NDArray[np.float32]]


def node(name: str, op: str, *inputs: str, **attr: Any) -> dict[str, Any]:
    return {"name": name, "op": op, "input": list(inputs), "attr": attr}


def convolution(padding: bytes, stride: int, *fused: bytes) -> dict[str, Any]:
    return {
        "strides": {"list": {"i": ["1", str(stride), str(stride), "1"]}},
        "padding": {"s": base64.b64encode(padding).decode()},
        "fused_ops": {"list": {"s": [base64.b64encode(one).decode() for one in fused]}},
    }


NODES = [
    {
        "name": "image",
        "op": "Placeholder",
        "attr": {"shape": {"shape": {"dim": [{"size": str(s)} for s in (-1, SIDE, SIDE, 3)]}}},
    },
    node("conv", "_FusedConv2D", "image", "kernel", "bias", **convolution(b"SAME", 2, b"BiasAdd")),
    # a PReLU, as TensorFlow writes it
    node("relu", "Relu", "conv"),
    node("abs", "Abs", "conv"),
    node("negative", "Sub", "conv", "abs"),
    node("scaled", "Mul", "negative", "slope"),
    node("prelu", "Add", "relu", "scaled"),
    node(
        "depthwise",
        "FusedDepthwiseConv2dNative",
        *("prelu", "kernel2", "bias2"),
        **convolution(b"SAME", 1, b"BiasAdd", b"Relu"),
    ),
    node("rows", "Reshape", "depthwise", "shape"),
    node("dense", "MatMul", "rows", "matrix"),
    node("square", "Square", "dense"),
    node("sum", "Sum", "square", "axis"),
    node("rsqrt", "Rsqrt", "sum"),
    node("embedding", "Mul", "dense", "rsqrt"),
]


def weights() -> Weights:
    random = np.random.default_rng(0)
    shapes = {
        "kernel": (3, 3, 3, CHANNELS),
        "bias": (CHANNELS,),
        "slope": (CHANNELS,),
        "kernel2": (3, 3, CHANNELS, 1),
        "bias2": (CHANNELS,),
        "matrix": (16 * CHANNELS, SIZE),
    }
    return {name: random.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}


def write(folder: Path, nodes: list[dict[str, Any]]) -> Path:
    values = {**weights(), "shape": np.array([-1, 16 * CHANNELS], np.int32), "axis": np.array([1], np.int32)}
    (folder / "tiny.bin").write_bytes(b"".join(array.tobytes() for array in values.values()))
    listed = [{"name": n, "shape": list(a.shape), "dtype": str(a.dtype)} for n, a in values.items()]
    described = {
        "modelTopology": {"node": [node(name, "Const") for name in values] + nodes},
        "weightsManifest": [{"paths": ["tiny.bin"], "weights": listed}],
    }
    (folder / "tiny.json").write_text(json.dumps(described))
    return folder / "tiny.json"


def expected(pictures: torch.Tensor) -> torch.Tensor:
    """What TensorFlow computes of (N, 3, S, S): with a stride of 2, SAME pads the end alone."""
    w = {name: torch.from_numpy(array) for name, array in weights().items()}
    x = F.conv2d(F.pad(pictures, (0, 1, 0, 1)), w["kernel"].permute(3, 2, 0, 1), w["bias"], stride=2)
    x = F.prelu(x, 2 * w["slope"])
    x = F.conv2d(x, w["kernel2"].permute(2, 3, 0, 1), w["bias2"], padding=1, groups=CHANNELS).relu()
    return F.normalize(x.permute(0, 2, 3, 1).flatten(1) @ w["matrix"], dim=1)


def test_a_graph_model_computes_as_in_tensorflow(tmp_path: Path) -> None:
    pictures = torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1)) * 2 - 1
    (computed,) = ReferenceEvaluator(converted(write(tmp_path, NODES))).run(None, {"image": pictures.numpy()})
    np.testing.assert_allclose(np.asarray(computed), expected(pictures).numpy(), atol=1e-5)


def test_an_operation_that_is_not_known_is_told(tmp_path: Path) -> None:
    path = write(tmp_path, [*NODES[:2], node("odd", "LeakyRelu", "conv")])
    with pytest.raises(ValueError, match="odd is a LeakyRelu, which is not known here"):
        converted(path)
