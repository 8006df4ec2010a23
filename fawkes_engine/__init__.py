"""fawkes_engine: photo bytes in, a `Protected` photo or a typed refusal out.

    decode --> detect -> embed ------> whose, target -> optimise -> write -----> verify
    photo.py   faces.py  extractors/   identify.py      cloak.py    work.py      verify.py
    formats.py           ensemble.py   people.py        descent.py  encoder.py
    metadata.py                        targets.py       views.py    visibility.py
    engine.py runs it, batching.py keeps photos apart; canvas.py is the square around a face; colour.py the photo's own
    colour space; stopwatch.py tells where the time goes; decoys.py is the same loop with another aim;
    evaluation/ measures with trackers what the cloaks are worth

models.py and download.py bring weights that no package holds. The library knows no other folder than theirs, no
configuration file, no database and no service. The names below import no torch; `fawkes_engine.engine.Engine` does.
"""

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
