"""A face recogniser from an ONNX file: FILE[@INPUT], where INPUT says how chips are cut and scaled.

    arcface       112 px, ArcFace's five points, values -1..1: insightface, AdaFace and others that follow them
    arcface-raw   the same crop, values 0..255: networks that normalise their input (insightface's from MXNet, SFace)
    hse           224 px, eyes and nose base, values 0..255: HSE-FaceRes

Without @INPUT it is inferred from the network's input: 224 px and called `image` is hse, 112 px is arcface, or
arcface-raw if it is called `data`, MXNet's name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from fawkes_engine.errors import EvaluationError
from fawkes_engine.evaluation.trackers.heads import Vectors
from fawkes_engine.evaluation.trackers.sightings import Crop, Points
from fawkes_engine.extractors.base import ARCFACE_CHIP_PX, ARCFACE_TEMPLATE

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_HSE_CHIP_PX = 224
_HSE_TEMPLATE = np.array([[0.36, 0.42], [0.64, 0.42], [0.50, 0.63]]) * _HSE_CHIP_PX  # eye centres, nose base
# The nose base lies at this fraction of the way from the nose tip to the middle of the mouth: 0.516, 0.628 and
# 0.780 are the heights of tip, base and mouth in dlib's mean face (points 30, 33 and the mouth's corners).
_NOSE_BASE = (0.628 - 0.516) / (0.780 - 0.516)
_ERRORS_ONLY = 3  # onnxruntime's severity


def _eyes_and_nose_base(landmarks: Points) -> Points:
    nose_tip, mouth = landmarks[2], landmarks[3:5].mean(axis=0)
    return np.stack([landmarks[0], landmarks[1], nose_tip + _NOSE_BASE * (mouth - nose_tip)])


@dataclass(frozen=True, slots=True)
class Input:
    """A network's expected input: the crop, as (255 * chip - subtract) / divide."""

    crop: Crop
    subtract: float
    divide: float


INPUTS: Mapping[str, Input] = {
    "arcface": Input(Crop(ARCFACE_CHIP_PX, ARCFACE_TEMPLATE), 127.5, 127.5),
    "arcface-raw": Input(Crop(ARCFACE_CHIP_PX, ARCFACE_TEMPLATE), 0.0, 1.0),
    "hse": Input(Crop(_HSE_CHIP_PX, _HSE_TEMPLATE, _eyes_and_nose_base), 0.0, 1.0),
}


@dataclass(frozen=True, slots=True)
class OnnxModel:
    """A loaded file. input: key of INPUTS. sha256: hex digest of the file."""

    path: Path
    input: str
    sha256: str
    session: InferenceSession

    @property
    def crop(self) -> Crop:
        """The crop it expects."""
        return INPUTS[self.input].crop

    def embed(self, chips: Tensor) -> Vectors:
        """Chips (N, 3, S, S), RGB, [0, 1] -> embeddings (N, D); one by one if the model's batch size is fixed to 1."""
        wants, node = INPUTS[self.input], self.session.get_inputs()[0]
        values = (chips.mul(255).sub_(wants.subtract).div_(wants.divide)).numpy()
        size = node.shape[0] if isinstance(node.shape[0], int) else len(values)
        parts = [values[i : i + size] for i in range(0, len(values), size)]
        if len(parts[-1]) < size:
            raise EvaluationError(f"{self.path} takes {size} faces at once; export it with a free batch size")
        return np.concatenate([np.asarray(self.session.run(None, {node.name: p})[0]) for p in parts])


def load(specification: str) -> OnnxModel:
    """Load FILE or FILE@INPUT.

    Raises:
        EvaluationError: onnxruntime is not installed, or the file is missing, not ONNX, or has an unknown input.
    """
    file, _, named = specification.rpartition("@")
    if named not in INPUTS:
        file, named = specification, ""
    path = Path(file)
    if not path.is_file():
        raise EvaluationError(f"{file} is not a file; use onnx:FILE or onnx:FILE@INPUT with {_known()}")
    session = _session(path)
    wanted = named or _inferred(session)
    if not wanted or not _fits(session, INPUTS[wanted].crop.chip_px):
        node = session.get_inputs()[0]
        raise EvaluationError(
            f"{path} takes {node.name!r} {node.shape} {node.type}, which does not match "
            f"{named or 'any known input'}; known inputs: {_known()}"
        )
    return OnnxModel(path, wanted, hashlib.sha256(path.read_bytes()).hexdigest(), session)


def _session(path: Path) -> InferenceSession:
    try:
        import onnxruntime  # here, so that nothing else needs it
    except ModuleNotFoundError as error:
        raise EvaluationError("trackers of kind onnx: need a package: pip install onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no base class of their own
        raise EvaluationError(f"{path} cannot be loaded by onnxruntime: {error}") from error


def _inferred(session: InferenceSession) -> str | None:
    node = session.get_inputs()[0]
    if node.name == "image" and _fits(session, _HSE_CHIP_PX):
        return "hse"
    if _fits(session, ARCFACE_CHIP_PX):
        return "arcface-raw" if node.name == "data" else "arcface"
    return None


def _fits(session: InferenceSession, chip_px: int) -> bool:
    node = session.get_inputs()[0]
    return node.type == "tensor(float)" and list(node.shape[1:]) == [3, chip_px, chip_px]


def _known() -> str:
    return ", ".join(INPUTS)
