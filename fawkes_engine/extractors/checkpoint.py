"""PyTorch's own files of weights."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from fawkes_engine.errors import WeightsError


def read(path: Path, kind: str) -> Any:  # noqa: ANN401
    """Return what a checkpoint holds, on the CPU; nothing in it is run.

    kind: what it should be a checkpoint of, for the message.

    Raises:
        WeightsError: the file cannot be read, or is no checkpoint.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError(f"cannot read the weights {path}: {error.strerror}") from error
    except (EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise WeightsError(f"{path} is damaged, or no checkpoint of {kind}: fetch it again") from error
