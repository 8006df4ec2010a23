"""Train a robust copy of SFace: one whose embedding a small perturbation of the chip hardly moves.

    fawkesd models fetch sface
    python -m tests.benchmarks.robust_surrogate --data DIR/faces/others --out sface-robust.onnx
    python -m tests.benchmarks.curve --data DIR/faces --extractors dlib,sface,facenet-casia,onnx:sface-robust.onnx ...

A slightly robust network relies on features that others use too, so that a perturbation that does move it should
transfer better (Springer et al., "A Little Robustness Goes a Long Way", NeurIPS 2021). The copy f learns to keep

    cos(f(x + d), f0(x)) = 1 for every d with |d| <= radius (L2 over the chip, levels in [0, 1])

where f0 is the network as fetched. d ascends by normalised gradient while f descends, both from the same backward
pass (Shafahi et al., "Adversarial Training for Free!", NeurIPS 2019). The last layer, two thirds of the weights, is
frozen. Such copies turned out no better than SFace itself (fawkes_engine/evaluation/RESULTS.md), so none is in the
package.

The people are those the target pool is built from, so that no tracker of an evaluation knows them. A run is
determined by its data, its options and the kind of machine: about 4 s a batch on one core.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fawkes_engine.cloak.views import jittered, view
from fawkes_engine.evaluation.data.splits import photos_of, pool_people
from fawkes_engine.evaluation.trackers import sightings
from fawkes_engine.extractors import Extractor, load
from fawkes_engine.extractors.layers import PReLU
from fawkes_engine.face.align import Similarity, sample_chips
from fawkes_engine.face.mtcnn import MtcnnDetector
from fawkes_engine.identity.targets import Pool

CANVAS_PX = 160  # the chip, turned, scaled and shifted as `views.jittered` does
BATCH = 32
REPLAYS = 3  # passes over a batch; d is random in the first
LEARNING_RATE = 2e-4
WARM_UP = 0.05  # of all batches
TESTED = 64  # photos that are not trained on


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with one folder of photos per person"
    )
    parser.add_argument("--radius", type=float, default=1.0, help="of the ball of perturbations, L2")
    parser.add_argument("--batches", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="file to write, .onnx")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)  # another number adds up in another order
    mean = Pool.load().mean("sface")
    teacher, student = (load("sface", mean, torch.device("cpu")) for _ in range(2))
    canvases = face_canvases(options.data, student)
    order = torch.randperm(len(canvases))
    tested, trained = canvases[order[:TESTED]], canvases[order[TESTED:]]
    print(
        f"radius {options.radius}, {options.batches} batches, seed {options.seed}, {len(trained)} photos",
        flush=True,
    )
    thaw(student.network)
    train(student, teacher, batches(trained, student, options.batches), options.batches, options.radius)
    for name, extractor in (("as fetched", teacher), ("robust", student)):
        report(name, extractor, teacher, tested)
    write(student, options.out)


def face_canvases(people: Path, extractor: Extractor) -> Tensor:
    """The face of each photo with a margin around its chip: (M, 3, CANVAS_PX, CANVAS_PX), uint8."""
    photos = [(p.name, photo.read_bytes()) for p in pool_people(people) for photo in photos_of(p)]
    found = [
        s for s in sightings.find_faces(photos, MtcnnDetector(torch.device("cpu"))) if s.landmarks is not None
    ]
    crop = sightings.Crop(CANVAS_PX, extractor.template + (CANVAS_PX - extractor.chip_px) / 2)
    return torch.cat([(some * 255).round().to(torch.uint8) for some in sightings.batches(found, crop)])


def thaw(network: nn.Module) -> None:
    """Make all weights trainable except slopes, whose gradient is not computed, and the last layer."""
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    for layer in layers[:-1]:
        layer.requires_grad_(True)


def batches(canvases: Tensor, extractor: Extractor, count: int) -> Iterator[Tensor]:
    """Chips (BATCH, 3, S, S) as the cloak's optimiser sees them: mirrored, misaligned, blurred, recompressed."""
    margin = (CANVAS_PX - extractor.chip_px) / 2
    centred = Similarity(1, complex(margin, margin))
    generators = [torch.Generator().manual_seed(i) for i in range(BATCH)]
    left = torch.empty(0, dtype=torch.long)
    for number in range(count):
        if len(left) < BATCH:
            left = torch.randperm(len(canvases))
        chosen, left = canvases[left[:BATCH]].float() / 255, left[BATCH:]
        mirrored = torch.where(torch.rand(BATCH, 1, 1, 1) < 0.5, chosen, chosen.flip(3))
        transforms = [jittered(centred, extractor.chip_px, g) for g in generators]
        with torch.no_grad():
            chips = sample_chips(view(number, mirrored, generators), transforms, extractor.chip_px)
        yield chips.clamp(0, 1)


def train(student: Extractor, teacher: Extractor, chips: Iterator[Tensor], count: int, radius: float) -> None:
    """Train the student's trainable weights, in place; prints the cosines of every 20th batch."""
    weights = [p for p in student.network.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(weights)
    started = time.perf_counter()
    for number, batch in enumerate(chips):
        share = number / count
        rate = LEARNING_RATE * min(1, share / WARM_UP) * (1 + math.cos(math.pi * share)) / 2
        optimiser.param_groups[0]["lr"] = rate
        with torch.no_grad():
            clean = teacher.embed(batch)
        delta = radius * unit(torch.randn_like(batch))
        cosines = []
        for _ in range(REPLAYS):
            delta.requires_grad_()
            cosine = (student.embed(batch + delta) * clean).sum(dim=1).mean()
            cosines.append(float(cosine.detach()))
            gradient, *gradients = torch.autograd.grad(-cosine, [delta, *weights])
            for weight, weight_gradient in zip(weights, gradients, strict=True):
                weight.grad = weight_gradient
            optimiser.step()
            delta = climbed(delta.detach(), gradient, radius)
        if number % 20 == 0:
            told = " ".join(f"{cosine:.3f}" for cosine in cosines)
            print(f"{number} {time.perf_counter() - started:.0f} s: cosines {told}", flush=True)


def report(name: str, extractor: Extractor, teacher: Extractor, canvases: Tensor) -> None:
    """Print how far the best perturbations of several radii move an extractor on photos it was not trained on."""
    margin = (CANVAS_PX - extractor.chip_px) // 2
    chips = canvases[:, :, margin:-margin, margin:-margin].float() / 255
    with torch.no_grad():
        clean = teacher.embed(chips)
    told = [f"clean {float((extractor.embed(chips).detach() * clean).sum(dim=1).mean()):.3f}"]
    for radius in (0.5, 1.0, 2.0, 4.0):
        delta = 0.1 * radius * unit(torch.randn_like(chips))
        for _ in range(6):
            delta.requires_grad_()
            cosine = (extractor.embed(chips + delta) * clean).sum(dim=1)
            (gradient,) = torch.autograd.grad(-cosine.sum(), delta)
            delta = climbed(delta.detach(), gradient, radius)
        told.append(f"radius {radius} {float(cosine.detach().mean()):.3f}")
    print(f"{name}, cosine to the clean embedding as fetched: {', '.join(told)}", flush=True)


def write(extractor: Extractor, path: Path) -> None:
    """Write a network as an ONNX file that `onnx:FILE` can name."""
    body = extractor.network.get_submodule("body")
    for name, module in list(body.named_modules()):
        if isinstance(module, PReLU):  # the exporter knows PyTorch's own
            exported = nn.PReLU(len(module.slope))
            exported.weight = module.slope
            body.set_submodule(name, exported)
    chip = torch.zeros(1, 3, extractor.chip_px, extractor.chip_px)
    batch = {name: {0: "n"} for name in ("data", "embedding")}
    torch.onnx.export(
        body,
        (chip,),
        path,
        dynamo=False,
        input_names=["data"],
        output_names=["embedding"],
        dynamic_axes=batch,
    )


def climbed(delta: Tensor, gradient: Tensor, radius: float) -> Tensor:
    """One normalised gradient step of a perturbation, projected back into the ball: (N, 3, S, S)."""
    longer = delta + radius * unit(gradient)
    length: Tensor = longer.flatten(1).norm(dim=1).clamp(min=radius)
    return longer * (radius / length).view(-1, 1, 1, 1)


def unit(x: Tensor) -> Tensor:
    """Each image (N, 3, S, S) normalised to L2 norm 1."""
    return F.normalize(x.flatten(1), dim=1).view_as(x)


if __name__ == "__main__":
    main()
