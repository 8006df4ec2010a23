"""Rewrites the graph of a trained network into a faster one that computes the same, up to rounding."""

from __future__ import annotations

from typing import Any

from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from fawkes_engine.extractors.layers import Affine, BatchNorm, as_convolution, scale_and_shift

# Keys that `Trace` sets in a node's `meta`: its value's shape, and that value's minimum and maximum
SHAPE, RANGE = "shape", "range"


class Trace(fx.Interpreter):
    """Runs a network on one image and records the shape and range of each node's value."""

    def run_node(self, n: fx.Node) -> Any:  # noqa: ANN401
        """Run a node and record its value's shape and range."""
        value = super().run_node(n)
        if isinstance(value, Tensor) and value.is_floating_point() and value.numel():
            n.meta[SHAPE] = tuple(value.shape)
            n.meta[RANGE] = (float(value.min()), float(value.max()))
        return value


def simplify(network: fx.GraphModule) -> None:
    """Fold BatchNorms, drop dropouts, make linear layers convolutions; in place.

    The network must be in evaluation mode and traced. Unknown patterns are left as they are.
    """
    for rewrite in (_drop, _fold_into_previous, _linear_to_convolution, _fold_into_next, _norm_to_affine):
        for node in list(network.graph.nodes):
            module = called(network, node)
            if module is not None and SHAPE in node.meta:
                rewrite(network, node, module)
        network.graph.eliminate_dead_code()  # so that the next rewrite sees the current users of each node
    network.delete_all_unused_submodules()
    network.recompile()


def called(network: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    """Return the module that a node calls, None if it does something else."""
    return network.get_submodule(str(node.target)) if node.op == "call_module" else None


def replace(network: fx.GraphModule, node: fx.Node, module: nn.Module, source: fx.Node) -> None:
    """Make a node call another module, with `source` as its only input."""
    network.set_submodule(str(node.target), module)
    node.args, node.kwargs = (source,), {}


def _bypass(network: fx.GraphModule, node: fx.Node) -> None:
    node.replace_all_uses_with(node.all_input_nodes[0])
    network.graph.erase_node(node)


def _drop(network: fx.GraphModule, node: fx.Node, module: nn.Module) -> None:
    if isinstance(module, nn.Dropout | nn.Identity):
        _bypass(network, node)


def _fold_into_previous(network: fx.GraphModule, node: fx.Node, norm: nn.Module) -> None:
    """Fold a BatchNorm into the layer before it, if nothing else uses that layer's result."""
    if not isinstance(norm, BatchNorm):
        return
    before = node.all_input_nodes[0]
    layer = called(network, before)
    if len(before.users) > 1 or not isinstance(layer, nn.Conv2d | nn.Linear):
        return
    folded = (
        fuse_conv_bn_eval(layer, norm) if isinstance(layer, nn.Conv2d) else fuse_linear_bn_eval(layer, norm)
    )
    network.set_submodule(str(before.target), folded)
    _bypass(network, node)


def _linear_to_convolution(network: fx.GraphModule, node: fx.Node, linear: nn.Module) -> None:
    """Replace a linear layer by a convolution over the maps before flattening, or over rows as maps of 1 x 1."""
    if not isinstance(linear, nn.Linear) or len(node.meta[SHAPE]) != 2:
        return
    source = node.all_input_nodes[0]
    maps = source.all_input_nodes[0] if isinstance(called(network, source), nn.Flatten) else source
    if len(maps.meta[SHAPE]) == 4:
        rows, columns = maps.meta[SHAPE][2:]
    else:
        rows = columns = 1
        maps = _insert(network, node, nn.Unflatten(1, (linear.in_features, 1, 1)), source)
    convolved = _insert(network, node, as_convolution(linear, rows, columns), maps)
    replace(network, node, nn.Flatten(), convolved)


def _insert(network: fx.GraphModule, node: fx.Node, module: nn.Module, source: fx.Node) -> fx.Node:
    """Return a new node before `node` that calls a new module."""
    name = f"{node.target}_{type(module).__name__.lower()}"
    network.add_submodule(name, module)
    with network.graph.inserting_before(node):
        inserted = network.graph.call_module(name, (source,))
    inserted.meta[SHAPE] = ()
    return inserted


def _fold_into_next(network: fx.GraphModule, node: fx.Node, norm: nn.Module) -> None:
    """Fold a BatchNorm into the convolution after it, if that is its only user and has no zero padding."""
    if not isinstance(norm, nn.BatchNorm2d) or len(node.users) > 1:
        return
    conv = called(network, next(iter(node.users)))
    if not isinstance(conv, nn.Conv2d) or conv.padding != (0, 0) or conv.groups > 1:
        return
    scale, shift = scale_and_shift(norm)
    offset = conv.weight.data.sum(dim=(2, 3)) @ shift
    conv.bias = nn.Parameter(offset if conv.bias is None else conv.bias.data + offset)
    conv.weight.data = conv.weight.data * scale.view(-1, 1, 1)
    _bypass(network, node)


def _norm_to_affine(network: fx.GraphModule, node: fx.Node, norm: nn.Module) -> None:
    """Replace a BatchNorm by an affine layer, whose backward pass computes no gradients of weights."""
    dims = len(node.meta[SHAPE])
    if (isinstance(norm, nn.BatchNorm2d) and dims == 4) or (isinstance(norm, nn.BatchNorm1d) and dims == 2):
        replace(network, node, Affine(norm), node.all_input_nodes[0])
