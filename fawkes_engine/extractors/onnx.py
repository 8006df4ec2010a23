"""ArcFace-style recognisers, read from ONNX files: SFace, MobileFaceNet, the insightface models.

Such a model takes one chip, RGB, aligned to ArcFace's template, and returns one embedding. The file does not say
whether the model normalises its input itself: `_normalisation` finds out.
"""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx2torch
import torch
from google.protobuf.message import DecodeError
from onnx2torch.node_converters.activations import OnnxPReLU
from onnx2torch.node_converters.reshape import OnnxReshape
from torch import Tensor, fx, nn

from fawkes_engine.errors import EngineError, WeightsError
from fawkes_engine.extractors.base import ARCFACE_CHIP_PX, ARCFACE_TEMPLATE, Extractor
from fawkes_engine.extractors.graph_rewrite import RANGE, SHAPE, Trace, called, replace, simplify
from fawkes_engine.extractors.layers import PReLU
from fawkes_engine.extractors.onnx_rewrite import pictures, rewrite, sizes

# Raised by the converter, and by the graphs it makes, for models they do not support
_NOT_CONVERTIBLE = (AttributeError, LookupError, RuntimeError, TypeError, ValueError)
_ARCFACE_OFFSET = _ARCFACE_SCALE = 127.5  # insightface: (level - 127.5) / 127.5
# No common normalisation exceeds this magnitude; ImageNet's reaches 2.64.
_LARGEST_NORMALISED = 4.0


def load(name: str, weights: Path, mean: Tensor, device: torch.device) -> Extractor:
    """Load the extractor.

    name: what it is called in targets and reports. weights: an `.onnx` file. mean: (D,) or a scalar, the raw
    embedding of the average stranger.

    Raises:
        WeightsError: the file cannot be read or is damaged. EngineError: it does not contain such a recogniser, or
            one that cannot be used here; the message says why.
    """
    model = _read(weights)
    try:
        rewrite(model)
        chip_px = _chip_px(model.graph, weights)
        network = OnnxNet(onnx2torch.convert(model), chip_px)
        fault = _fault(network, chip_px)
    except _NOT_CONVERTIBLE as error:
        raise EngineError(f"{weights} cannot be used: {error}") from error
    if fault:
        raise EngineError(f"{weights} cannot be used: {fault}")
    network = network.to(device).to(memory_format=torch.channels_last)
    return Extractor(name, chip_px, ARCFACE_TEMPLATE * (chip_px / ARCFACE_CHIP_PX), network, mean)


class OnnxNet(nn.Module):
    """RGB chips (N, 3, S, S), [0, 1] -> raw embeddings (N, D)."""

    def __init__(self, body: fx.GraphModule, chip_px: int) -> None:
        """body: as converted, for any batch size or only one image; chip_px: the side S of its chips."""
        super().__init__()
        self.body = body.eval().requires_grad_(False)
        levels = torch.linspace(0.0, 255.0, chip_px).expand(1, 3, chip_px, chip_px)
        with torch.no_grad():
            Trace(body).run(levels)
        self.offset, self.scale = _normalisation(body)
        for node in body.graph.nodes:
            _translate(body, node)
        simplify(body)
        self.requires_grad_(False)

    def forward(self, chips: Tensor) -> Tensor:
        """See the class."""
        embeddings: Tensor = self.body((chips * 255.0 - self.offset) / self.scale)
        return embeddings


def _read(path: Path) -> onnx.ModelProto:
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except OSError as error:
        raise WeightsError(f"cannot read the model {path}: {error.strerror}") from error
    except (DecodeError, onnx.checker.ValidationError) as error:
        raise WeightsError(f"{path} is damaged, or not an ONNX model: fetch it again") from error
    return model


def _chip_px(graph: onnx.GraphProto, path: Path) -> int:
    """Return the side of a graph's input chips."""
    shapes = [sizes(value) for value in pictures(graph)]
    match shapes, len(graph.output):
        case [[_, 3, rows, columns]], 1 if rows == columns > 0:
            return rows
    raise EngineError(
        f"{path} is not a face recogniser of the usual kind, which takes one input n x 3 x S x S or "
        f"n x S x S x 3 and has one output, an embedding: it takes {shapes} and has {len(graph.output)}"
    )


def _normalisation(body: fx.GraphModule) -> tuple[float, float]:
    """Return the offset and scale that make levels of 0..255 what a traced network expects.

    A network that normalises its input brings levels near 0 before its first convolution; any other leaves them as
    they are.

    Raises:
        ValueError: it does something else with them.
    """
    first = next((node for node in body.graph.nodes if _convolves(called(body, node))), None)
    if first is None:
        raise ValueError("it has no convolution")
    lowest, highest = first.all_input_nodes[0].meta[RANGE]
    if (lowest, highest) == (0.0, 255.0):
        return _ARCFACE_OFFSET, _ARCFACE_SCALE
    if max(-lowest, highest) <= _LARGEST_NORMALISED:
        return 0.0, 1.0
    raise ValueError(f"levels of 0..255 reach its first convolution as {lowest:.1f}..{highest:.1f}")


def _convolves(module: nn.Module | None) -> bool:
    return module is not None and any(isinstance(part, nn.Conv2d) for part in module.modules())


def _translate(body: fx.GraphModule, node: fx.Node) -> None:
    """Replace the converter's modules that are fixed to one image, or slow in the backward pass."""
    module, shape = called(body, node), node.meta.get(SHAPE, ())
    if isinstance(module, OnnxReshape) and shape[:1] == (1,):
        flatten, unflatten = nn.Flatten(), nn.Unflatten(1, shape[1:])
        whole = flatten if len(shape) == 2 else nn.Sequential(flatten, unflatten)
        replace(body, node, whole, node.all_input_nodes[0])
    elif isinstance(module, OnnxPReLU):
        x, slope = node.all_input_nodes
        if slope.op == "get_attr":
            replace(body, node, PReLU(body.get_buffer(str(slope.target))), x)


def _fault(network: OnnxNet, chip_px: int) -> str | None:
    """Return why a network cannot be a surrogate, tested on two chips of noise; None if it can."""
    noise = torch.rand(2, 3, chip_px, chip_px, generator=torch.Generator().manual_seed(0))
    chips = noise.requires_grad_()
    embeddings = network(chips)
    if embeddings.dim() != 2 or len(embeddings) != 2:
        return f"it returns {tuple(embeddings.shape)} for two chips, not one row for each"
    (gradient,) = torch.autograd.grad(embeddings[0].norm(), chips)
    if not (gradient[0] != 0).any() or not gradient.isfinite().all():
        return "no gradient passes through it"
    if (gradient[1] != 0).any():
        return "a face's embedding depends on the others in the batch"
    return None
