"""fawkes_engine: photo bytes in, a `Protected` photo or a typed refusal out.

    decode --> detect -> embed ------> whose, target -> optimise -> write -----> verify
    photo.py   faces.py  extractors.py people.py        cloak.py    work.py      verify.py
    formats.py           dlibnet.py    targets.py       views.py    encoder.py
    metadata.py                                         visibility.py
    engine.py runs it; canvas.py is the square around a face; colour.py the photo's own colour space

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
