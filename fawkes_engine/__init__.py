"""fawkes_engine: photo bytes in, a `Protected` photo or a typed refusal out.

    open --------------------> identify ------> cloak ---------------------> write --------> verify
    photo/decode               whose is it,     optimise all faces together, photo/encode,   search and measure
    face/detect                toward whom      fit each into the budget     decode again    the file as published
    extractors/ensemble        identity/        cloak/, pipeline/preview     image/          pipeline/verify

`engine` runs it, `decoys` the same with another aim; both hold a `pipeline.photos.Pipeline` of the loaded models.
`pipeline.work` is a photo with its faces, `pipeline.draft` one with its cloaks. `face/canvas` is the square around a
face; `evaluation/` measures with trackers what the cloaks are worth.

`weights/` brings the weights that no dependency has. The library knows no other folder than theirs, no configuration
file, no database and no service. The names below import no torch; `fawkes_engine.engine.Engine` does.
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
