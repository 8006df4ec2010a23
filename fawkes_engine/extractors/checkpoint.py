"""Reads PyTorch checkpoints."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from fawkes_engine.errors import WeightsError


def read(path: Path, kind: str) -> Any:  # noqa: ANN401
    """Load the contents of a checkpoint to the CPU, without running code from it.

    kind: whose checkpoint it should be, for the message.

    Raises:
        WeightsError: the file cannot be read, or is not a checkpoint.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError(f"cannot read the weights {path}: {error.strerror}") from error
    except (EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise WeightsError(f"{path} is damaged, or not a checkpoint of {kind}: fetch it again") from error
