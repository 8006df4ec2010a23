"""What tells two engines apart whose cloaks differ: the version of the cloak, the recognisers, the settings, the pool.

This module imports no torch, so that one can be told without loading an engine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from fawkes_engine.identity.targets import Pool
from fawkes_engine.types import EngineSettings
from fawkes_engine.weights import catalog

VERSION = "14"  # of the cloak: changes whenever the same photo would get a different cloak


def expected(settings: EngineSettings) -> str:
    """Return the fingerprint that an engine with these settings has on this machine, with the models on its disk."""
    names = settings.extractors or catalog.best_on_disk(settings.models_dir or catalog.default_folder())
    return fingerprint(settings, names, Pool.load())


def fingerprint(settings: EngineSettings, names: Sequence[str], pool: Pool) -> str:
    """Return the fingerprint of an engine. names: of its recognisers."""
    identifying = (
        VERSION,
        tuple(names),
        settings.budget,
        settings.steps,
        [name for name in names if name in settings.second_turns],
        settings.jpeg_quality,
        pool.version,
    )
    return f"{VERSION}-{'+'.join(names)}-{hashlib.sha256(repr(identifying).encode()).hexdigest()[:8]}"
