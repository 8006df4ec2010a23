"""fawkes_engine: photo bytes in, a `Protected` photo or a typed refusal out.

    decode -> detect -> embed -> (target) -> optimise -> encode -> verify
    photo.py  detect.py extractors targets.py  cloak.py   photo.py  engine.py

The library knows no folder, no configuration file, no database and no service. The names below import no
torch; `fawkes_engine.engine.Engine` does.
"""

import os

# Idle arithmetic threads sleep instead of spinning. On a machine that does something else as well, spinning made
# the network ten times slower (94 instead of 9 ms per face, 2 cores under load); it must be said before torch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from fawkes_engine.types import (
    STRANGER,
    Budget,
    EngineError,
    EngineSettings,
    FaceReport,
    HeicAs,
    MetadataPolicy,
    NoFace,
    NotProtected,
    Protected,
    Refusal,
    Report,
    Request,
    Target,
    TargetStore,
    Unreadable,
    Unsupported,
    WeightsError,
)

__all__ = [
    "STRANGER",
    "Budget",
    "EngineError",
    "EngineSettings",
    "FaceReport",
    "HeicAs",
    "MetadataPolicy",
    "NoFace",
    "NotProtected",
    "Protected",
    "Refusal",
    "Report",
    "Request",
    "Target",
    "TargetStore",
    "Unreadable",
    "Unsupported",
    "WeightsError",
]
