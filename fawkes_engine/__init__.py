"""fawkes_engine: photo bytes in, a `Protected` photo or a typed refusal out.

    open --------------------> identify ------> cloak ---------------------> write --------> verify
    photo/decode               whose is it,     optimise all faces together, photo/encode,   detect and measure
    face/detect, face/align    toward whom      fit each into the budget     photo/exif,     faces in the file
    extractors/ensemble        identity/        cloak/, pipeline/preview     decode again    pipeline/verify

`engine` runs it, `decoys` the same with another aim; both hold a `pipeline.photos.Pipeline` of the loaded models.
`pipeline.work` is a photo with its faces, `pipeline.draft` one with its cloaks. `face/canvas` is the square around a
face, `image/` has filters, warps and visibility measures; `modes` says how visible a cloak may be, `unseen` in words
what one is worth; `evaluation/` measures protection with trackers.

`weights/` fetches the weights that no dependency ships. Apart from their folder the library knows no folder, no
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
from fawkes_engine.modes import (
    DEFAULT_MODE,
    FULL_STRENGTH,
    MODES,
    STRONGEST_MODE,
    Budget,
    Mode,
    ModeName,
)
from fawkes_engine.steps import Phase, Step
from fawkes_engine.types import (
    STRANGER,
    Decoy,
    EngineSettings,
    FaceReport,
    HeicAs,
    Look,
    MeanFace,
    MetadataPolicy,
    Protected,
    Report,
    Request,
    Target,
    TargetStore,
)

__all__ = [
    "DEFAULT_MODE",
    "FULL_STRENGTH",
    "MODES",
    "STRANGER",
    "STRONGEST_MODE",
    "Budget",
    "Decoy",
    "EngineError",
    "EngineSettings",
    "EvaluationError",
    "FaceReport",
    "FetchError",
    "HeicAs",
    "Look",
    "MeanFace",
    "MetadataPolicy",
    "Mode",
    "ModeName",
    "NoDecoy",
    "NoFace",
    "NotProtected",
    "Phase",
    "Protected",
    "Refusal",
    "Report",
    "Request",
    "Step",
    "Target",
    "TargetStore",
    "Unreadable",
    "Unsupported",
    "WeightsError",
]
