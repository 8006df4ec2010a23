"""Which face of the result is measured as which cloaked one, and where."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from engine_pictures import Shelf, encoded, portrait

from fawkes_engine import EngineSettings, NotProtected, Request
from fawkes_engine.extractors import KNOWN_BY
from fawkes_engine.face.detect import Box, Face
from fawkes_engine.identity.targets import Pool
from fawkes_engine.pipeline.photos import Pipeline
from fawkes_engine.pipeline.verify import OWN_COSINE_LIMIT, found_again, unlike_owners


def face(box: Box) -> Face:
    x0, y0, x1, y1 = box
    places = np.array([(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)])
    return Face(box, np.array([x0, y0]) + places * (x1 - x0, y1 - y0), 0.99)


PARENT, CHILD = face((100, 100, 200, 220)), face((150, 150, 220, 230))


def test_a_face_before_another_is_not_taken_for_it() -> None:
    parent, child = face((101, 99, 202, 219)), face((149, 151, 221, 229))

    assert PARENT.overlaps(CHILD)
    assert found_again(PARENT, [parent, child]) is parent
    assert found_again(CHILD, [parent, child]) is child


def test_a_face_that_is_not_found_again_is_measured_where_it_was() -> None:
    assert found_again(CHILD, []) is CHILD
    assert found_again(CHILD, [face((300, 300, 380, 400))]) is CHILD


def test_a_face_that_is_found_again_elsewhere_is_measured_where_it_was_too() -> None:
    """Other detectors need not be led astray by what a cloak does to ours."""
    settings = replace(EngineSettings(), extractors=(KNOWN_BY,), device="cpu")
    pipeline = Pipeline.load(settings, Shelf(), Pool.load())
    work = pipeline.open(Request(encoded(portrait(), "PNG"), "ada"))
    (there,) = work.faces
    upside_down = replace(there, landmarks=2 * there.landmarks.mean(axis=0) - there.landmarks)
    assert there.overlaps(upside_down)

    embedded = pipeline.verifier.embedded(work, work.photo.pixels, [upside_down])

    assert float(embedded[0][KNOWN_BY][0] @ work.clean_embeddings[KNOWN_BY][0]) < OWN_COSINE_LIMIT
    with pytest.raises(NotProtected, match="still looks like its owner"):
        unlike_owners(work, embedded)
