"""What happens to a photo before a tracker sees it, and the aligned chip the tracker cuts."""

from __future__ import annotations

import dlib
import numpy as np
import pytest
import torch
from engine_pictures import astronaut, encoded, opened, scaled
from hypothesis import given, settings
from hypothesis import strategies as st

from fawkes_engine import extractors
from fawkes_engine.cloak.views import jittered, jpeg, view
from fawkes_engine.extractors.dlib import DlibNet, weights_path
from fawkes_engine.face.align import Similarity, sample_chips
from fawkes_engine.face.canvas import Canvas, to_tensor
from fawkes_engine.face.mtcnn import MtcnnDetector
from fawkes_engine.identity.targets import Pool

pytestmark = pytest.mark.numeric
IDENTITY = Similarity(1 + 0j, 0j)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("quality", [30, 60, 75, 95])
def test_the_jpeg_stand_in_is_near_a_real_jpeg(quality: int) -> None:
    pixels = astronaut()[:288, 80:368]
    real = np.asarray(opened(encoded(pixels, "JPEG", quality=quality, subsampling=2)), np.float64)
    ours = jpeg(to_tensor(pixels)[None], quality)[0].permute(1, 2, 0).numpy() * 255
    assert np.abs(ours - real).mean() < 1.6  # Pillow smooths the chroma it enlarges, the stand-in does not
    assert np.abs(ours - real).mean() < 0.7 * np.abs(pixels - real).mean()


def test_the_jpeg_stand_in_follows_the_quality() -> None:
    clean = to_tensor(astronaut()[:288, 80:368])[None]
    errors = [float((jpeg(clean, q) - clean).abs().mean()) for q in (20, 40, 60, 80, 95)]
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("step", range(12))
def test_every_view_keeps_the_shape_and_passes_gradients(step: int) -> None:
    canvases = torch.rand(2, 3, 96, 96, generator=seeded(1)).requires_grad_()
    seen = view(step, canvases, [seeded(2), seeded(3)])
    assert seen.shape == canvases.shape
    (gradient,) = torch.autograd.grad((seen * torch.rand(seen.shape, generator=seeded(4))).sum(), canvases)
    assert bool(gradient.isfinite().all())
    assert float((gradient != 0).float().mean()) > 0.5


@pytest.mark.parametrize("step", range(6))
def test_a_view_of_a_face_does_not_depend_on_the_faces_beside_it(step: int) -> None:
    canvases = torch.rand(3, 3, 96, 96, generator=seeded(1))
    together = view(step, canvases, [seeded(5), seeded(6), seeded(7)])
    alone = view(step, canvases[1:2], [seeded(6)])
    assert torch.equal(together[1], alone[0])


def test_the_views_are_not_all_alike() -> None:
    canvases = to_tensor(astronaut()[64:160, 176:272])[None]
    seen = [view(step, canvases, [seeded(1)]) for step in range(6)]
    changed = [float((s - canvases).abs().mean()) for s in seen]
    assert min(changed) == 0
    assert sum(change > 0.003 for change in changed) >= 4


@settings(max_examples=50)
@given(seed=st.integers(0, 2**40))
def test_jitter_is_repeated_by_its_generator_and_stays_small(seed: int) -> None:
    onto = Similarity(1.5 + 0.2j, 10 + 20j)
    first, second = (jittered(onto, 150, seeded(seed)) for _ in range(2))
    assert first == second
    centre = complex(75, 75)
    moved = abs((first.turn * centre + first.shift) - (onto.turn * centre + onto.shift))
    assert moved <= 0.07 * 150 * abs(onto.turn)
    assert abs(first.turn / onto.turn - 1) <= 0.23


def test_jitter_goes_on_with_the_generator() -> None:
    generator = seeded(1)
    assert jittered(IDENTITY, 150, generator) != jittered(IDENTITY, 150, generator)


def test_a_chip_cut_by_the_identity_is_the_picture_itself() -> None:
    canvases = torch.rand(2, 3, 64, 64, generator=seeded(1))
    assert torch.allclose(sample_chips(canvases, [IDENTITY, IDENTITY], 64), canvases, atol=1e-4)


def test_a_chip_shows_what_the_transform_points_at() -> None:
    rows, columns = torch.meshgrid(torch.arange(80.0), torch.arange(80.0), indexing="ij")
    coordinates = torch.stack([columns, rows, torch.zeros(80, 80)])[None]
    onto = Similarity.fit(np.array([[0.0, 0], [10, 0], [0, 10]]), np.array([[30.0, 20], [30, 40], [10, 20]]))
    chip = sample_chips(coordinates, [onto], 11)[0]
    assert chip[:2, 0, 0].tolist() == pytest.approx([30, 20], abs=1e-3)
    assert chip[:2, 0, 10].tolist() == pytest.approx([30, 40], abs=1e-3)  # right on the chip is down here
    assert chip[:2, 10, 0].tolist() == pytest.approx([10, 20], abs=1e-3)
    assert chip[:2, 5, 5].tolist() == pytest.approx([20, 30], abs=1e-3)


@pytest.mark.parametrize("factor", [0.5, 1, 2])
def test_an_aligned_chip_is_what_dlib_would_cut(factor: float) -> None:
    pixels = scaled(astronaut(), factor)
    models = weights_path().parent
    landmarks = dlib.shape_predictor(str(models / "shape_predictor_5_face_landmarks.dat"))
    recogniser = dlib.face_recognition_model_v1(str(weights_path()))
    theirs = max(dlib.get_frontal_face_detector()(pixels, 1), key=lambda box: box.area())
    chip = dlib.get_face_chip(pixels, landmarks(pixels, theirs), 150, 0.25)
    descriptor = np.array(recogniser.compute_face_descriptor(chip))

    cpu = torch.device("cpu")
    face = MtcnnDetector(cpu).detect(pixels)[0]
    extractor = extractors.load("dlib", Pool.load().mean("dlib"), cpu)
    canvas = Canvas.around(face, pixels)
    onto = canvas.onto_canvas(extractor.onto_photo(face))
    ours = DlibNet.load()(sample_chips(canvas.cut(pixels)[None], [onto], extractor.chip_px))[0].numpy()

    # dlib calls two photos one person below 0.6; the same photo cut by another detector must be far nearer
    assert np.linalg.norm(ours - descriptor) < 0.35
