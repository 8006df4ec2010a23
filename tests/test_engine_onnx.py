"""Recognisers read from ONNX files, against ONNX's own reference evaluator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import Tensor

from fawkes_engine import EngineError, WeightsError
from fawkes_engine.extractors import onnx as onnx_family
from fawkes_engine.extractors.base import ARCFACE_CHIP_PX, ARCFACE_TEMPLATE, Extractor

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


def normalising(graph: Graph, offset: float, scale: float) -> Graph:
    return graph.add("Sub", np.array([offset], np.float32)).add("Mul", np.array([scale], np.float32))


def load(path: Path) -> Extractor:
    return onnx_family.load("small", path, torch.zeros(()), torch.device("cpu"))


def chips(count: int = 3) -> Tensor:
    return torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def assert_computes(path: Path, *, offset: float, scale: float) -> None:
    """The file's own result, chip by chip, for levels normalised like this."""
    x = chips()
    evaluator = ReferenceEvaluator(str(path))
    levels = ((x * 255 - offset) / scale).numpy()
    theirs = [np.asarray(evaluator.run(None, {"data": level[None]}))[0, 0] for level in levels]
    ours = load(path).network(x).numpy()
    np.testing.assert_allclose(ours, np.stack(theirs), rtol=1e-4, atol=1e-4)


def test_a_graph_for_one_image_takes_many(tmp_path: Path) -> None:
    assert_computes(mobile_net(Graph()).write(tmp_path / "small.onnx"), offset=127.5, scale=127.5)


def test_a_reshape_to_one_image_takes_many(tmp_path: Path) -> None:
    graph = Graph().conv_bn_prelu(3, 8).add("Reshape", np.array([1, 4, 16, 8]))
    graph.add("Conv", graph.random(SIZE, 4, 16, 8)).add("Reshape", np.array([1, SIZE]))
    assert_computes(graph.write(tmp_path / "small.onnx"), offset=127.5, scale=127.5)


def test_weights_among_the_inputs_are_no_pictures(tmp_path: Path) -> None:
    path = mobile_net(Graph()).write(tmp_path / "small.onnx", weights_are_inputs=True)
    assert_computes(path, offset=127.5, scale=127.5)


def test_a_graph_that_normalises_gets_levels(tmp_path: Path) -> None:
    path = mobile_net(normalising(Graph(), 127.5, 1 / 128)).write(tmp_path / "small.onnx")
    assert_computes(path, offset=0, scale=1)


def test_a_pooled_embedding_of_any_batch(tmp_path: Path) -> None:
    graph = Graph().conv_bn_prelu(3, 8).batch_norm(8).conv_bn_prelu(8, SIZE)
    graph.add("GlobalAveragePool").add("Flatten")
    graph.add("Gemm", graph.random(SIZE, SIZE), graph.random(SIZE), transB=1)
    path = graph.write(tmp_path / "small.onnx", takes=("n", 3, SIDE, SIDE), gives=("n", SIZE))
    assert_computes(path, offset=127.5, scale=127.5)


def test_the_template_is_arcfaces_at_the_chips_size(tmp_path: Path) -> None:
    extractor = load(mobile_net(Graph()).write(tmp_path / "small.onnx"))
    assert (extractor.name, extractor.chip_px) == ("small", SIDE)
    np.testing.assert_allclose(extractor.template / SIDE, ARCFACE_TEMPLATE / ARCFACE_CHIP_PX)


def test_gradients_pass_and_a_face_does_not_depend_on_the_others(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        extractor = load(mobile_net(Graph()).write(tmp_path / "small.onnx"))
        x = chips(5).requires_grad_()
        together, alone = extractor.embed(x), extractor.embed(x[3:4])
        assert torch.equal(together[3], alone[0])
        (gradient,) = torch.autograd.grad(together[:, 0].sum(), x, retain_graph=True)
        (gradient_alone,) = torch.autograd.grad(alone[:, 0].sum(), x)
        assert torch.equal(gradient[3], gradient_alone[3])
        assert bool((gradient != 0).float().mean() > 0.9)
    finally:
        torch.set_num_threads(before)
    assert not any(p.requires_grad for p in extractor.network.parameters())


def test_a_missing_file_is_a_weights_error(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"gone\.onnx: No such file"):
        load(tmp_path / "gone.onnx")


def test_a_damaged_file_is_a_weights_error(tmp_path: Path) -> None:
    whole = mobile_net(Graph()).write(tmp_path / "small.onnx").read_bytes()
    for damaged in (whole[:-1], whole[: len(whole) // 2], b"", b"<html>not found</html>"):
        path = tmp_path / "damaged.onnx"
        path.write_bytes(damaged)
        with pytest.raises(WeightsError, match="fetch it again"):
            load(path)


@pytest.mark.parametrize(
    "takes", [(1, 1, SIDE, SIDE), (1, 3, SIDE, 20), (1, 3, "h", "w"), (1, SIDE, SIDE, 3), (1, 3)]
)
def test_a_graph_that_takes_no_chips_is_refused(takes: Shape, tmp_path: Path) -> None:
    path = Graph().add("Flatten").write(tmp_path / "small.onnx", takes=takes)
    with pytest.raises(EngineError, match="no face recogniser of the usual kind"):
        load(path)


def unknown_operation(graph: Graph) -> Graph:
    return mobile_net(graph.add("QuantizeLinear", np.array(0.1, np.float32), np.array(0, np.uint8)))


def no_convolution(graph: Graph) -> Graph:
    return graph.add("Flatten").add("Gemm", graph.random(3 * SIDE * SIDE, SIZE))


def levels_of_0_to_1(graph: Graph) -> Graph:
    return mobile_net(normalising(graph, 0.5, 2.0))


def a_map(graph: Graph) -> Graph:
    return graph.conv_bn_prelu(3, 8)


def no_gradient(graph: Graph) -> Graph:
    return graph.conv_bn_prelu(3, 8).add("Floor").add("Flatten")


def a_mixed_batch(graph: Graph) -> Graph:
    return (
        graph.conv_bn_prelu(3, 8)
        .add("ReduceSum", np.array([0]))
        .add("Flatten")
        .add("Reshape", np.array([1, -1]))
    )


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (unknown_operation, "QuantizeLinear"),
        (no_convolution, "no convolution"),
        (levels_of_0_to_1, r"-1\.0\.\.509"),
        (a_map, r"\(2, 8, 8, 8\)"),
        (no_gradient, "no gradient"),
        (a_mixed_batch, "two chips|others in the batch"),
    ],
)
def test_what_cannot_be_a_surrogate_is_refused(
    build: Callable[[Graph], Graph], reason: str, tmp_path: Path
) -> None:
    path = build(Graph()).write(tmp_path / "small.onnx")
    with pytest.raises(EngineError, match=rf"small\.onnx cannot be used: .*({reason})"):
        load(path)
