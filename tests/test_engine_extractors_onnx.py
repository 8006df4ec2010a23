"""Recognisers read from ONNX files, against ONNX's own reference evaluator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from batches import two_threads
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from small_onnx import SIDE, SIZE, Graph, Shape, mobile_net
from torch import Tensor

from fawkes_engine import EngineError, WeightsError
from fawkes_engine.extractors import onnx
from fawkes_engine.extractors.base import ARCFACE_CHIP_PX, ARCFACE_TEMPLATE, Extractor

pytestmark = pytest.mark.numeric


def normalising(graph: Graph, offset: float, scale: float) -> Graph:
    return graph.add("Sub", np.array([offset], np.float32)).add("Mul", np.array([scale], np.float32))


def load(path: Path) -> Extractor:
    return onnx.load("small", path, torch.zeros(()), torch.device("cpu"))


def chips(count: int = 3) -> Tensor:
    return torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def assert_computes(
    path: Path, *, offset: float = 127.5, scale: float = 127.5, axes: Sequence[int] = (0, 1, 2)
) -> None:
    """The file's own result, chip by chip, for levels normalised like this, their axes in the file's order."""
    x = chips()
    evaluator = ReferenceEvaluator(str(path))
    levels = ((x * 255 - offset) / scale).permute(0, *(1 + axis for axis in axes)).numpy()
    theirs = [np.asarray(evaluator.run(None, {"data": level[None]}))[0, 0] for level in levels]
    ours = load(path).network(x).numpy()
    # values up to 6, of 164 products in a row at most: float32 may lose 164 x 2^-24 = 10^-5 of them at the very worst,
    # before things cancel, and does lose 3e-7 (measured)
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


CHANNELS_LAST = (1, SIDE, SIDE, 3)


def from_tensorflow(how: str = "SAME_UPPER") -> Graph:
    """A small recogniser as conversions of TensorFlow networks are; an odd padding keeps the size of its maps."""
    graph = Graph().add("Transpose", perm=[0, 3, 1, 2])
    graph.add("Conv", graph.random(8, 3, 3, 3), graph.random(8), strides=[2, 2], auto_pad=how)
    graph.add("PRelu", np.abs(graph.random(8, 1, 1)))
    graph.add("Conv", graph.random(8, 1, 4, 4), group=8, auto_pad=how).batch_norm(8)
    graph.add("Conv", graph.random(SIZE, 8, 8, 8), graph.random(SIZE), auto_pad="VALID")
    return graph.add("Squeeze", np.array([2, 3]))


@pytest.mark.parametrize("how", ["SAME_UPPER", "SAME_LOWER"])
def test_a_converted_tensorflow_network_computes_what_it_did(how: str, tmp_path: Path) -> None:
    path = from_tensorflow(how).write(tmp_path / "small.onnx", takes=CHANNELS_LAST)
    assert_computes(path, axes=(1, 2, 0))


def test_weights_may_be_nodes(tmp_path: Path) -> None:
    graph = mobile_net(Graph())
    constants = [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array))
        for name, array in graph.weights.items()
    ]
    graph.nodes[:0] = constants
    graph.weights.clear()
    assert_computes(graph.write(tmp_path / "small.onnx"))


def test_padding_of_maps_of_unknown_size_is_told(tmp_path: Path) -> None:
    path = from_tensorflow().write(tmp_path / "small.onnx", takes=(1, "rows", "columns", 3))
    with pytest.raises(EngineError, match=r"size of the maps that Conv .*is not known"):
        load(path)


def test_gradients_of_a_converted_network_are_its_slopes(tmp_path: Path) -> None:
    network = load(from_tensorflow().write(tmp_path / "small.onnx", takes=CHANNELS_LAST)).network.double()
    x = chips(2).double().requires_grad_()
    direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    (gradient,) = torch.autograd.grad(network(x)[:, 0].sum(), x)
    step = 1e-6  # of levels 0..1: far below the distance to the nearest kink of a PReLU
    there, back = (network(x.detach() + sign * step * direction)[:, 0].sum() for sign in (1, -1))
    assert float((gradient * direction).sum()) == pytest.approx(float(there - back) / (2 * step), rel=1e-5)


def test_the_template_is_arcfaces_at_the_chips_size(tmp_path: Path) -> None:
    extractor = load(mobile_net(Graph()).write(tmp_path / "small.onnx"))
    assert (extractor.name, extractor.chip_px) == ("small", SIDE)
    np.testing.assert_allclose(extractor.template / SIDE, ARCFACE_TEMPLATE / ARCFACE_CHIP_PX)


def test_gradients_pass_and_a_face_does_not_depend_on_the_others(tmp_path: Path) -> None:
    with two_threads():
        extractor = load(mobile_net(Graph()).write(tmp_path / "small.onnx"))
        x = chips(5).requires_grad_()
        together, alone = extractor.embed(x), extractor.embed(x[3:4])
        assert torch.equal(together[3], alone[0])
        (gradient,) = torch.autograd.grad(together[:, 0].sum(), x, retain_graph=True)
        (gradient_alone,) = torch.autograd.grad(alone[:, 0].sum(), x)
        assert torch.equal(gradient[3], gradient_alone[3])
        assert bool((gradient != 0).float().mean() > 0.9)
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
    "takes", [(1, 1, SIDE, SIDE), (1, 3, SIDE, 20), (1, 3, "h", "w"), (1, SIDE, SIDE, 4), (1, 3)]
)
def test_a_graph_that_takes_no_chips_is_refused(takes: Shape, tmp_path: Path) -> None:
    path = Graph().add("Flatten").write(tmp_path / "small.onnx", takes=takes)
    with pytest.raises(EngineError, match="not a face recogniser of the usual kind"):
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
