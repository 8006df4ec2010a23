"""Beyond clean conditions: what is left of the protection when a tracker has, does or learns more.

    gather ---------> a study of STUDIES ----------------------------> as_markdown, as_json
    material          leak, gallery, linkage, adaptive                 result
    cache             disruption (hog), detection
                      learning: fine-tuned, from scratch

    material = studies.gather([publication], split, trackers, cache=Path("cache"))
    print(studies.as_markdown(studies.STUDIES["leak"](material), run))

All figures are shares with 95 % intervals, bootstrapped over people. `fawkesd study` does this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from fawkes_engine.errors import EvaluationError
from fawkes_engine.evaluation.studies import adaptive, detection, disruption, gallery, leak, learning, linkage
from fawkes_engine.evaluation.studies.material import Material, gather
from fawkes_engine.evaluation.studies.result import Study, as_json, as_markdown

__all__ = ["STUDIES", "Material", "Study", "as_json", "as_markdown", "check_studies", "gather"]

STUDIES: Mapping[str, Callable[[Material], Study]] = {
    "leak": leak.leak,
    "gallery": gallery.gallery,
    "disruption": disruption.disruption,
    "linkage": linkage.linkage,
    "detection": detection.detection,
    "adaptive": adaptive.adaptive,
    "scratch": learning.scratch,
    "fine-tune": learning.fine_tune,
}


def check_studies(names: Iterable[str]) -> None:
    """Raise EvaluationError for a name that is not in STUDIES."""
    for name in names:
        if name not in STUDIES:
            raise EvaluationError(f"unknown study {name!r}; known: {', '.join(STUDIES)}")
