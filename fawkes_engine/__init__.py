"""fawkes_engine: photo bytes in, a `Protected` photo or a typed refusal out.

    decode -> detect -> embed -> (target) -> optimise -> encode -> verify
    photo.py  detect.py extractors targets.py  cloak.py   photo.py  engine.py

The library knows no folder, no configuration file, no database and no service. The names below import no
torch; `fawkes_engine.engine.Engine` does.
"""

from fawkes_engine.types import (
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
