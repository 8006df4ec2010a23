"""Trackers by their specification, and how they cut faces out."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_pictures import astronaut, encoded, portrait
from onnx import TensorProto, helper, save

from fawkes_engine import EvaluationError
from fawkes_engine.evaluation.trackers import onnx
from fawkes_engine.evaluation.trackers.sightings import Crop, Sighting, batches, find_faces
from fawkes_engine.evaluation.trackers.tracker import load, load_trackers
from fawkes_engine.extractors.base import ARCFACE_CHIP_PX, ARCFACE_TEMPLATE
from fawkes_engine.face.mtcnn import MtcnnDetector

pytestmark = pytest.mark.numeric
CPU = torch.device("cpu")


def model(path: Path, *, name: str = "input.1", batch: int | str = "n", px: int = 112) -> Path:
    """A network whose embedding is the mean of each channel."""
    taken = helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, 3, px, px])
    given = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [batch, 3])
    mean = helper.make_node("ReduceMean", [name], ["embedding"], axes=[2, 3], keepdims=0)
    graph = helper.make_graph([mean], "means", [taken], [given])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


@pytest.fixture(scope="module")
def seen() -> list[Sighting]:
    photos = [("ada", encoded(portrait(), "PNG")), ("nobody", encoded(np.zeros_like(portrait()), "PNG"))]
    return find_faces(photos, MtcnnDetector(CPU))


@pytest.mark.parametrize(
    ("name", "px", "told"), [("input.1", 112, "arcface"), ("data", 112, "arcface-raw"), ("image", 224, "hse")]
)
def test_the_input_is_told_by_the_file(tmp_path: Path, name: str, px: int, told: str) -> None:
    assert onnx.load(str(model(tmp_path / "m.onnx", name=name, px=px))).input == told


def test_the_input_that_is_named_wins(tmp_path: Path) -> None:
    assert onnx.load(f"{model(tmp_path / 'm.onnx')}@arcface-raw").input == "arcface-raw"


def test_a_file_may_have_an_at_sign_in_its_name(tmp_path: Path) -> None:
    assert onnx.load(str(model(tmp_path / "m@home.onnx"))).path.name == "m@home.onnx"


@pytest.mark.parametrize(("named", "black", "white"), [("arcface", -1, 1), ("arcface-raw", 0, 255)])
def test_values_are_scaled_as_the_input_says(tmp_path: Path, named: str, black: float, white: float) -> None:
    loaded = onnx.load(f"{model(tmp_path / 'm.onnx')}@{named}")
    chips = torch.stack([torch.zeros(3, 112, 112), torch.ones(3, 112, 112)])
    assert loaded.embed(chips) == pytest.approx(np.array([[black] * 3, [white] * 3]), abs=1e-4)
    assert chips.max() == 1  # the caller's chips are not scaled


def test_a_file_that_takes_one_face_gets_one_at_a_time(tmp_path: Path) -> None:
    chips = torch.rand(3, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    one, many = (onnx.load(str(model(tmp_path / f"{b}.onnx", batch=b))) for b in (1, "n"))
    assert one.embed(chips) == pytest.approx(many.embed(chips))


@pytest.mark.parametrize(
    ("specification", "told"),
    [
        ("onyx", "unknown extractor 'onyx'; known: dlib.*onnx:FILE"),
        ("onnx:", "not a file"),
        ("onnx:missing.onnx", "missing.onnx is not a file.*arcface, arcface-raw, hse"),
        ("onnx:small.onnx", r"takes 'input.1' \['n', 3, 96, 96\].*not match any known input.*arcface"),
        ("onnx:right.onnx@hse", "does not match hse"),
        ("onnx:right.onnx@facenet", "right.onnx@facenet is not a file.*arcface"),
        ("onnx:text.onnx", "cannot be loaded by onnxruntime"),
    ],
)
def test_a_wrong_specification_is_told_with_what_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, specification: str, told: str
) -> None:
    model(tmp_path / "small.onnx", px=96)
    model(tmp_path / "right.onnx")
    (tmp_path / "text.onnx").write_text("no model")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EvaluationError, match=told):
        load(specification, CPU)


def test_without_onnxruntime_one_is_told_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = model(tmp_path / "m.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EvaluationError, match="pip install onnxruntime"):
        load(f"onnx:{path}", CPU)


def test_two_trackers_of_one_name_are_refused(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        model(tmp_path / folder / "m.onnx")
    with pytest.raises(EvaluationError, match="two trackers are called m"):
        load_trackers([f"onnx:{tmp_path}/a/m.onnx", f"onnx:{tmp_path}/b/m.onnx"], CPU)


def test_a_photo_without_a_face_is_seen_and_not_described(seen: list[Sighting]) -> None:
    assert [sighting.landmarks is None for sighting in seen] == [False, True]
    described = load("dlib", CPU).describe(seen)
    assert described.names == ("ada",)
    assert np.linalg.norm(described.vectors, axis=1) == pytest.approx(1, abs=1e-5)


def test_the_landmarks_come_to_lie_on_the_template() -> None:
    # the template itself, turned, twice as large and moved, marked by white dots in a photo that is not square
    landmarks = (ARCFACE_TEMPLATE @ np.array([[1.6, 1.2], [-1.2, 1.6]])) + [160, 20]
    photo = np.zeros((400, 330, 3), np.uint8)
    for x, y in landmarks.round().astype(int):
        photo[y - 1 : y + 2, x - 1 : x + 2] = 255
    sighting = Sighting("ada", encoded(photo, "PNG"), landmarks)
    (chips,) = batches([sighting], Crop(ARCFACE_CHIP_PX, ARCFACE_TEMPLATE))
    bright = chips[0].mean(dim=0).numpy()
    for x, y in ARCFACE_TEMPLATE.round().astype(int):
        assert bright[y - 1 : y + 2, x - 1 : x + 2].sum() > 1.5
        bright[y - 3 : y + 4, x - 3 : x + 4] = 0
    assert not bright.any()


def test_an_extractor_knows_a_face_again_in_another_crop_of_the_photo() -> None:
    photos = [("ada", encoded(pixels, "JPEG")) for pixels in (portrait(), astronaut()[:400])]
    one, other = load("dlib", CPU).describe(find_faces(photos, MtcnnDetector(CPU))).vectors
    assert one @ other > 0.99


def test_the_face_nearest_the_middle_is_whom_a_photo_is_of() -> None:
    bystander = portrait()[40:200, 80:200]
    photo = np.full((400, 700, 3), 90, np.uint8)
    photo[:160, :120] = bystander
    photo[60:348, 220:492] = portrait()
    (sighting,) = find_faces([("ada", encoded(photo, "PNG"))], MtcnnDetector(CPU))
    assert sighting.landmarks is not None
    assert sighting.landmarks.mean(axis=0) == pytest.approx([364, 185], abs=25)


def test_a_file_that_is_no_picture_is_told_with_its_person() -> None:
    with pytest.raises(EvaluationError, match="a photo of ada cannot be read"):
        find_faces([("ada", b"nonsense")], MtcnnDetector(CPU))
