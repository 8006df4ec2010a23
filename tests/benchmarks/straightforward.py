"""A straightforward implementation of the engine's objective, as a baseline for its speed.

    python -m tests.benchmarks.speedup --data DIR/faces

One face at a time; every recogniser at every step, as its library loads it (BatchNorms as they are, PReLU with its
own backward, channels first, float32); SSIM by convolution; Adam, then the cloak is scaled into the DSSIM budget. The
loss, the views and the jitter are the engine's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
import onnx2torch
import torch
from facenet_pytorch import InceptionResnetV1
from torch import Tensor, nn

from fawkes_engine.cloak import optimise
from fawkes_engine.cloak.views import jittered, view
from fawkes_engine.extractors import Extractor, facenet, lightcnn
from fawkes_engine.extractors.dlib import DlibNet
from fawkes_engine.extractors.layers import replace_layers
from fawkes_engine.face.align import Similarity, sample_chips
from fawkes_engine.face.canvas import Canvas
from fawkes_engine.face.detect import Face, Pixels
from fawkes_engine.weights import catalog

from .paper_recipe import dssim

_LEARNING_RATE = 1 / 255  # of a channel


class Levels(nn.Module):
    """A network that takes (levels of 0..255 - offset) / scale."""

    def __init__(self, body: nn.Module, offset: float, scale: float) -> None:
        super().__init__()
        self.body, self.offset, self.scale = body, offset, scale

    def forward(self, chips: Tensor) -> Tensor:
        """RGB chips (N, 3, S, S), [0, 1] -> raw embeddings (N, D)."""
        embeddings: Tensor = self.body((chips * 255.0 - self.offset) / self.scale)
        return embeddings


class Maxima(nn.Module):
    """Max-feature-map: the larger of each two channels of a convolution, as torch computes it."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.convolution = convolution

    def forward(self, x: Tensor) -> Tensor:
        """X (N, C, H, W) -> (N, C', H, W)."""
        return torch.maximum(*self.convolution(x).chunk(2, dim=1))


class Plain:
    """An extractor without the engine's rewrites: `embed` as there."""

    def __init__(self, extractor: Extractor, models_dir: Path) -> None:
        self.extractor = extractor
        self._network = _network(extractor.name, models_dir).eval().requires_grad_(False)

    def embed(self, chips: Tensor) -> Tensor:
        """Chips (1, 3, S, S), RGB, [0, 1] -> unit, mean-centred embedding (1, D)."""
        return nn.functional.normalize(self._network(chips) - self.extractor.mean, dim=1)


def cloak(
    pixels: Pixels,
    face: Face,
    plain: Sequence[Plain],
    targets: Mapping[str, Tensor],
    *,
    dssim_limit: float,
    steps: int,
    seed: int,
) -> Pixels:
    """Return a photo (H, W, 3) whose face is cloaked. targets: extractor -> (D,) unit vector."""
    canvas = Canvas.around(face, pixels)
    clean, mask = canvas.cut(pixels)[None], canvas.mask()[None]
    left, top, right, bottom = canvas.canvas_region()
    region = (..., slice(top, bottom), slice(left, right))
    extractors = [p.extractor for p in plain]
    onto = {e.name: canvas.onto_canvas(e.onto_photo(face)) for e in extractors}
    with torch.no_grad():
        own = {p.extractor.name: p.embed(_chip(p, clean, onto[p.extractor.name]))[0] for p in plain}
    generator = torch.Generator().manual_seed(seed)
    delta = torch.zeros_like(clean).requires_grad_()
    optimiser = torch.optim.Adam([delta], lr=_LEARNING_RATE)
    for step in range(steps):
        after = (clean + delta * mask).clamp(0, 1)
        seen = view(step, after, [generator])
        loss = optimise.DSSIM_WEIGHT * dssim(clean[region], after[region]) / dssim_limit
        for p in plain:
            e = p.extractor
            moved = jittered(onto[e.name], e.chip_px, generator)
            embedding = p.embed(_chip(p, seen, moved))[0]
            pull, push = 1 - embedding @ targets[e.name], embedding @ own[e.name]
            loss = loss + (optimise.CLOAK.target_weight * pull + optimise.CLOAK.own_weight * push) / len(
                plain
            )
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        with torch.no_grad():
            now = dssim(clean[region], (clean + delta * mask).clamp(0, 1)[region])
            delta.mul_((dssim_limit / now.clamp(min=1e-9)).clamp(max=1).sqrt())
    result = pixels.copy()
    canvas.add((delta.detach() * mask)[0], result)
    return result


def _chip(plain: Plain, canvas: Tensor, onto: Similarity) -> Tensor:
    return sample_chips(canvas, [onto], plain.extractor.chip_px)


def _network(name: str, models_dir: Path) -> nn.Module:
    if name == "dlib":
        return DlibNet.load()
    weights = catalog.check(name, models_dir)
    if weights.suffix == ".onnx":
        return Levels(onnx2torch.convert(onnx.load(weights)), 0.0, 1.0)
    if name == "lightcnn":
        return _light_cnn(weights)
    body = InceptionResnetV1()
    read = facenet._read_graph if weights.suffix == ".pb" else facenet._read_checkpoint
    body.load_state_dict(read(weights))
    return Levels(body, 127.5, 128.0)


def _light_cnn(weights: Path) -> nn.Module:
    network = lightcnn.load("lightcnn", weights, torch.zeros(()), torch.device("cpu")).network
    network.to(memory_format=torch.contiguous_format)
    replace_layers(network, lightcnn._Larger, lambda larger: Maxima(larger.filter))
    return network
