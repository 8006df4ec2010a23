"""Weights read out of frozen TensorFlow graphs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from frozen_graph import frozen_graph

from fawkes_engine import WeightsError
from fawkes_engine.extractors.graphdef import read_weights

KERNEL = np.arange(2 * 3 * 4 * 50, dtype=np.float32).reshape(2, 3, 4, 50)
WHOLE = frozen_graph(
    {
        "layer/weights": KERNEL,
        "layer/shape": np.array([1, -1], np.int32),
        "layer/biases": np.array([0.5, -2.0], np.float32),
    }
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "graph.pb"


def test_float_tensors_are_read_by_name(path: Path) -> None:
    path.write_bytes(WHOLE)
    weights = read_weights(path)
    assert weights.keys() == {"layer/weights", "layer/biases"}  # neither the shape nor the scalar
    np.testing.assert_array_equal(weights["layer/weights"], KERNEL)
    np.testing.assert_array_equal(weights["layer/biases"], np.array([0.5, -2.0], np.float32))


def test_a_missing_file_is_a_weights_error(path: Path) -> None:
    with pytest.raises(WeightsError, match=r"graph\.pb: No such file"):
        read_weights(path)


@pytest.mark.parametrize("kept", [1, 100, len(WHOLE) // 2, len(WHOLE) - 1])
def test_a_graph_cut_short_is_a_weights_error(path: Path, kept: int) -> None:
    path.write_bytes(WHOLE[:kept])
    with pytest.raises(WeightsError, match="damaged"):
        read_weights(path)


@pytest.mark.parametrize(
    "data", [b"PK\x03\x04 not a graph", b"\x0b" * 40, b"\xff" * 40, b"\x0a\x03\x12\x01\xff"]
)
def test_other_bytes_are_a_weights_error(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(WeightsError, match="damaged"):
        read_weights(path)


def test_a_tensor_of_another_size_than_its_shape_is_a_weights_error(path: Path) -> None:
    content = KERNEL.tobytes()
    path.write_bytes(WHOLE.replace(b"\x08\x32", b"\x08\x31", 1))  # the kernel's last side: 49, not 50
    assert content in WHOLE
    with pytest.raises(WeightsError, match=r"\[2, 3, 4, 49\]"):
        read_weights(path)
