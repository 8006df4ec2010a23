"""Rewrites ONNX graphs, such as converted TensorFlow networks, into what the converter to PyTorch knows.

It knows neither padding that depends on the size of the maps (`auto_pad`) nor weights that a node holds (`Constant`),
and recognisers here take pictures whose channels come first.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnx import ValueInfoProto, helper

_SAME = (b"SAME_UPPER", b"SAME_LOWER")
_CHANNELS = 3


def rewrite(model: onnx.ModelProto) -> None:
    """Rewrite a model in place; it computes the same.

    Raises:
        ValueError: it pads maps of a size that is not known.
    """
    _channels_first(model.graph)
    _constants_as_weights(model.graph)
    _explicit_padding(model)


def pictures(graph: onnx.GraphProto) -> list[ValueInfoProto]:
    """Return a graph's inputs; old files list its weights among them."""
    weights = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in weights]


def sizes(value: ValueInfoProto) -> list[int]:
    """Return the shape of a value, 0 where it is free."""
    return [int(dim.dim_value) for dim in value.type.tensor_type.shape.dim]


def _channels_first(graph: onnx.GraphProto) -> None:
    """Make a graph that takes pictures n x S x S x 3 take n x 3 x S x S; others stay as they are."""
    match [(value, sizes(value)) for value in pictures(graph)]:
        case [(taken, [_, rows, columns, channels])] if channels == _CHANNELS < rows == columns:
            first = f"{taken.name}/channels_first"
            turned = helper.make_node("Transpose", [first], [taken.name], name=first, perm=[0, 2, 3, 1])
            graph.node.insert(0, turned)
            batch, *_ = taken.type.tensor_type.shape.dim
            kind = taken.type.tensor_type.elem_type
            size = [batch.dim_value or batch.dim_param or None, _CHANNELS, rows, columns]
            taken.CopyFrom(helper.make_tensor_value_info(first, kind, size))


def _constants_as_weights(graph: onnx.GraphProto) -> None:
    """Make the tensors that `Constant` nodes hold weights of the graph."""
    for node in [node for node in graph.node if node.op_type == "Constant"]:
        (attribute,) = node.attribute
        if attribute.name == "value":  # a tensor; numbers alone are no weights
            weight = graph.initializer.add()
            weight.CopyFrom(attribute.t)
            weight.name = node.output[0]
            graph.node.remove(node)


def _explicit_padding(model: onnx.ModelProto) -> None:
    """Replace `auto_pad` by the padding that it stands for. Raises ValueError if the size of the maps is not known."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    shapes = {value.name: sizes(value) for value in (*inferred.input, *inferred.value_info)}
    weights = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    for node in model.graph.node:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        how = attributes.get("auto_pad")
        if how not in _SAME:
            continue
        kernel = attributes.get("kernel_shape") or weights.get(node.input[1], [])[2:]
        maps = shapes.get(node.input[0], [])[2:]
        if not kernel or len(maps) != len(kernel) or not all(maps):
            raise ValueError(f"the size of the maps that {node.op_type} {node.name} pads is not known")
        ones = [1] * len(kernel)
        strides, dilations = attributes.get("strides", ones), attributes.get("dilations", ones)
        pads = _same(maps, kernel, strides, dilations, upper=how == _SAME[0])
        kept = [a for a in node.attribute if a.name not in ("auto_pad", "pads")]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute("pads", pads)])


def _same(
    maps: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    *,
    upper: bool,
) -> list[int]:
    """Padding before and after each axis that gives maps of the size divided by the stride, rounded up."""
    totals = [
        max(0, (-(-size // stride) - 1) * stride + (side - 1) * dilation + 1 - size)
        for size, side, stride, dilation in zip(maps, kernel, strides, dilations, strict=True)
    ]
    less, more = [total // 2 for total in totals], [-(-total // 2) for total in totals]
    return [*less, *more] if upper else [*more, *less]
