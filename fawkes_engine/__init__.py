"""fawkes_engine: photo bytes in, a `Protected` photo or a typed refusal out.

    decode --> detect -> embed ------> whose, target -> optimise -> write -----> verify
    photo.py   faces.py  extractors/   identify.py      cloak.py    work.py      verify.py
    formats.py           ensemble.py   people.py        descent.py  encoder.py
    metadata.py                        targets.py       views.py    visibility.py
    engine.py runs it, batching.py keeps photos apart; canvas.py is the square around a face; colour.py the photo's own
    colour space; stopwatch.py tells where the time goes; decoys.py is the same loop with another aim;
    evaluation/ measures with trackers what the cloaks are worth

weights/ brings the weights that no dependency has. The library knows no other folder than theirs, no
configuration file, no database and no service. The names below import no torch; `fawkes_engine.engine.Engine` does.
"""

import os

# An arithmetic thread that waits for another spins a little, then sleeps; it must be said before torch loads. Per face
# of the network, 2 cores: on a quiet machine 6 ms (8 if it never spins), beside three busy programs 17 ms (42 if it
# spins as long as GNU OpenMP does by default).
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

from fawkes_engine.errors import (
    EngineError,
    EvaluationError,
    FetchError,
    NoDecoy,
    NoFace,
    NotProtected,
    Refusal,
    Unreadable,
    Unsupported,
    WeightsError,
)
from fawkes_engine.types import (
    DEFAULT_MODE,
    MODES,
    STRANGER,
    Budget,
    Decoy,
    EngineSettings,
    FaceReport,
    HeicAs,
    MeanFace,
    MetadataPolicy,
    Mode,
    ModeName,
    Protected,
    Report,
    Request,
    Target,
    TargetStore,
)

__all__ = [
    "DEFAULT_MODE",
    "MODES",
    "STRANGER",
    "Budget",
    "Decoy",
    "EngineError",
    "EngineSettings",
    "EvaluationError",
    "FaceReport",
    "FetchError",
    "HeicAs",
    "MeanFace",
    "MetadataPolicy",
    "Mode",
    "ModeName",
    "NoDecoy",
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
