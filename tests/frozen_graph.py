"""Writes frozen TensorFlow graphs with Google's own protobuf, from the messages' published definitions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_FIELD = descriptor_pb2.FieldDescriptorProto
_DT_FLOAT, _DT_INT32 = 1, 3
# message: field: (number, type, repeated); a type is another message's name or a scalar's number
_MESSAGES = {
    "GraphDef": {"node": (1, "NodeDef", True), "version": (3, _FIELD.TYPE_INT32, False)},
    "NodeDef": {
        "name": (1, _FIELD.TYPE_STRING, False),
        "op": (2, _FIELD.TYPE_STRING, False),
        "input": (3, _FIELD.TYPE_STRING, True),
        "attr": (5, "Attr", True),  # a map is a repeated message of key and value
    },
    "Attr": {"key": (1, _FIELD.TYPE_STRING, False), "value": (2, "AttrValue", False)},
    "AttrValue": {
        "f": (4, _FIELD.TYPE_FLOAT, False),
        "type": (6, _FIELD.TYPE_INT32, False),
        "tensor": (8, "Tensor", False),
    },
    "Tensor": {
        "dtype": (1, _FIELD.TYPE_INT32, False),
        "tensor_shape": (2, "Shape", False),
        "tensor_content": (4, _FIELD.TYPE_BYTES, False),
        "float_val": (5, _FIELD.TYPE_FLOAT, True),
    },
    "Shape": {"dim": (2, "Dim", True)},
    "Dim": {"size": (1, _FIELD.TYPE_INT64, False), "name": (2, _FIELD.TYPE_STRING, False)},
}


def frozen_graph(constants: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """The constants, float32 or int32, among what else a graph holds."""
    graph = _message_class("GraphDef")()
    graph.version = 24
    graph.node.add(name="input", op="Placeholder").attr.add(key="dtype").value.type = _DT_FLOAT
    for name, array in constants.items():
        node = graph.node.add(name=name, op="Const")
        dtype = _DT_FLOAT if array.dtype == np.float32 else _DT_INT32
        node.attr.add(key="dtype").value.type = dtype
        tensor = node.attr.add(key="value").value.tensor
        tensor.dtype = dtype
        for size in array.shape:
            tensor.tensor_shape.dim.add(size=size)
        tensor.tensor_content = array.tobytes()
    scalar = graph.node.add(name="block/mul/x", op="Const").attr.add(key="value").value.tensor
    scalar.dtype = _DT_FLOAT
    scalar.float_val.append(0.17)
    graph.node.add(name="norm", op="FusedBatchNorm", input=["input"]).attr.add(key="epsilon").value.f = 0.001
    return bytes(graph.SerializeToString())


def _message_class(name: str) -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="graph.proto", package="test", syntax="proto3")
    for message, fields in _MESSAGES.items():
        described = file.message_type.add(name=message)
        for field, (number, kind, repeated) in fields.items():
            label = _FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL
            added = described.field.add(name=field, number=number, label=label)
            if isinstance(kind, str):
                added.type, added.type_name = _FIELD.TYPE_MESSAGE, f".test.{kind}"
            else:
                added.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"test.{name}"))
