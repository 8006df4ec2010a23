"""Small face recognisers as ONNX files, with weights drawn by a seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

Shape = Sequence[int | str]
SIDE = 16
SIZE = 10  # of an embedding


@dataclass
class Graph:
    """A small recogniser under construction; its nodes are chained."""

    generator: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    nodes: list[NodeProto] = field(default_factory=list)
    weights: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    last: str = "data"

    def add(self, op: str, *weights: npt.NDArray[Any], **attributes: Any) -> Graph:
        names = [f"{op}_{len(self.nodes)}_{number}" for number in range(len(weights))]
        self.weights |= dict(zip(names, weights, strict=True))
        result = f"value_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, [self.last, *names], [result], **attributes))
        self.last = result
        return self

    def random(self, *shape: int) -> npt.NDArray[np.float32]:
        return self.generator.normal(0, 0.3, shape).astype(np.float32)

    def conv_bn_prelu(self, channels_in: int, channels: int, *, group: int = 1) -> Graph:
        kernel = self.random(channels, channels_in // group, 3, 3)
        self.add("Conv", kernel, pads=[1, 1, 1, 1], strides=[2, 2], group=group)
        return self.batch_norm(channels).add("PRelu", np.abs(self.random(channels, 1, 1)))

    def batch_norm(self, channels: int) -> Graph:
        gamma, beta, mean = (self.random(channels) + offset for offset in (1, 0, 0))
        return self.add("BatchNormalization", gamma, beta, mean, np.abs(self.random(channels)) + 0.5)

    def write(
        self,
        path: Path,
        *,
        takes: Shape = (1, 3, SIDE, SIDE),
        gives: Shape = (1, SIZE),
        weights_are_inputs: bool = False,
    ) -> Path:
        inputs = [helper.make_tensor_value_info("data", TensorProto.FLOAT, takes)]
        if weights_are_inputs:
            inputs += [
                helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
                for name, value in self.weights.items()
            ]
        graph = helper.make_graph(
            self.nodes,
            "recogniser",
            inputs,
            [helper.make_tensor_value_info(self.last, TensorProto.FLOAT, gives)],
            [numpy_helper.from_array(value, name) for name, value in self.weights.items()],
        )
        # from 14 on the reference evaluator's BatchNormalization is that of a trained network
        opset = [helper.make_opsetid("", 15)]
        onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
        return path


def mobile_net(graph: Graph) -> Graph:
    """Like SFace: convolutions, depthwise ones, a BatchNorm, dropout, a linear layer over the map, a BatchNorm."""
    graph.conv_bn_prelu(3, 8).conv_bn_prelu(8, 8, group=8).batch_norm(8)
    graph.add("Dropout", np.array(0.4, np.float32)).add("Flatten")
    graph.add("Gemm", graph.random(SIZE, 8 * 16), graph.random(SIZE), transB=1)
    return graph.batch_norm(SIZE)
