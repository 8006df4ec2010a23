"""Reads the weights out of a frozen TensorFlow graph (`.pb`) without TensorFlow.

The file is one GraphDef message in protobuf's wire format (protobuf.dev/programming-guides/encoding). Only these
fields are read (tensorflow/core/framework/{graph,node_def,attr_value,tensor,tensor_shape}.proto):

    GraphDef.node = 1 -> NodeDef.name = 1, op = 2, attr = 5 -> map entry: key = 1, value = 2
    AttrValue.tensor = 8 -> TensorProto.dtype = 1, tensor_shape = 2, tensor_content = 4
    TensorShapeProto.dim = 2 -> Dim.size = 1
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fawkes_engine.errors import WeightsError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types
_DT_FLOAT = 1  # tensorflow/core/framework/types.proto


def read_weights(path: Path) -> dict[str, npt.NDArray[np.float32]]:
    """Return every float32 constant that is stored as a block of bytes, by its node's name.

    TensorFlow stores all tensors of more than one distinct value this way; its lists of single values are scalars
    and fills, not weights.

    Raises:
        WeightsError: the file cannot be read, or is not a complete GraphDef.
    """
    try:
        graph = memoryview(path.read_bytes())
    except OSError as error:
        raise WeightsError(f"cannot read the weights {path}: {error.strerror}") from error
    weights = {}
    try:
        for node in _messages(graph, 1):
            name, op = (bytes(_last(node, field)).decode() for field in (1, 2))
            if op == "Const" and (array := _constant(node)) is not None:
                weights[name] = array
    except ValueError as error:
        raise WeightsError(f"{path} is damaged, or not a frozen TensorFlow graph: {error}") from error
    return weights


def _constant(node: memoryview) -> npt.NDArray[np.float32] | None:
    """Return the value of a Const node where it is a block of float32, else None."""
    attributes = {bytes(_last(entry, 1)): _last(entry, 2) for entry in _messages(node, 5)}
    tensor = _last(attributes.get(b"value", memoryview(b"")), 8)
    content = _last(tensor, 4)
    if _number(tensor, 1) != _DT_FLOAT or not content:
        return None
    shape = [_number(dim, 1) for dim in _messages(_last(tensor, 2), 2)]
    if len(content) != 4 * math.prod(shape):
        raise ValueError(f"{len(content)} bytes for a tensor of shape {shape}")
    return np.frombuffer(content, "<f4").reshape(shape).copy()


def _messages(message: memoryview, field: int) -> Iterator[memoryview]:
    """Yield each value of a repeated field of messages or strings."""
    return (value for number, value in _fields(message) if number == field and isinstance(value, memoryview))


def _last(message: memoryview, field: int) -> memoryview:
    """Return a singular field of bytes, empty where it is absent; the last one counts, as protobuf says."""
    values = list(_messages(message, field))
    return values[-1] if values else memoryview(b"")


def _number(message: memoryview, field: int) -> int:
    """Return a singular integer field, 0 where it is absent."""
    numbers = [value for number, value in _fields(message) if number == field and isinstance(value, int)]
    return numbers[-1] if numbers else 0


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield (field number, value); integers as int, messages and strings as a view, fixed-width numbers are skipped."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        field, wire_type = key >> 3, key & 7
        if wire_type == _VARINT:
            value, position = _varint(message, position)
            yield field, value
            continue
        if wire_type == _BYTES:
            size, position = _varint(message, position)
        elif wire_type in (_FIXED32, _FIXED64):
            size = 4 if wire_type == _FIXED32 else 8
        else:
            raise ValueError(f"wire type {wire_type} at byte {position}")
        if size > len(message) - position:
            raise ValueError("the file is cut short")
        if wire_type == _BYTES:
            yield field, message[position : position + size]
        position += size


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """Return the base-128 number at a position, least significant group first, and the position behind it."""
    number = 0
    for count, byte in enumerate(message[position : position + 10]):
        number |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            return number, position + count + 1
    raise ValueError("the file is cut short")
