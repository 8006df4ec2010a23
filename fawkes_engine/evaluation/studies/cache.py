"""A cache of arrays on disk, keyed by the hash of all inputs, so that no study embeds a face twice."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fawkes_engine.errors import EvaluationError

Array = npt.NDArray[Any]


class Cache:
    """A folder of .npy files; created if missing, only grows, and may be deleted at any time."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError if the folder cannot be made."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def array(self, made_from: Iterable[str], make: Callable[[], Array]) -> Array:
        """Return the cached result of `make` for these strings, which must name all that it depends on.

        Raises:
            EvaluationError: a file of the folder is damaged.
        """
        key = hashlib.sha256("\n".join(made_from).encode()).hexdigest()
        path = self._folder / f"{key}.npy"
        if not path.exists():
            unfinished = path.with_suffix(".tmp.npy")
            np.save(unfinished, make(), allow_pickle=False)
            unfinished.replace(path)
        try:
            return np.asarray(np.load(path, allow_pickle=False))
        except (ValueError, EOFError) as error:
            raise EvaluationError(f"{path} is damaged ({error}); delete it") from error
