"""Decoys: somebody else's face, moved toward the user's, by the same loop and inside the same budget."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import rich_photos
from batches import ENGINE_THREADS
from engine_pictures import Shelf, dssim, encoded, opened, portrait, somebody_else
from PIL import Image

from fawkes_engine import MODES, Decoy, EngineSettings, NoDecoy, NoFace, Refusal, decoys
from fawkes_engine.decoys import DecoyEngine, Likeness
from fawkes_engine.engine import Engine
from fawkes_engine.face.detect import Pixels

pytestmark = pytest.mark.numeric
BUDGET = MODES["strong"].budget
ADA, BEN = encoded(portrait(), "PNG"), encoded(somebody_else(), "PNG")


@pytest.fixture(scope="module")
def engine() -> DecoyEngine:
    return DecoyEngine(EngineSettings(budget=BUDGET, steps=20, device="cpu", threads=ENGINE_THREADS), Shelf())


@pytest.fixture(scope="module")
def ada(engine: DecoyEngine) -> Likeness:
    return engine.likeness("ada", [ADA, encoded(portrait(), "JPEG", quality=75)])


def lit(pixels: Pixels, factor: float) -> bytes:
    return encoded((pixels * factor).astype(np.uint8), "PNG")


def grown(box: tuple[float, float, float, float]) -> tuple[slice, slice]:
    """Rows and columns of the region a budget counts in: the box grown by 15 % on each side."""
    x0, y0, x1, y1 = box
    right, down = 0.15 * (x1 - x0), 0.15 * (y1 - y0)
    return slice(round(y0 - down), round(y1 + down)), slice(round(x0 - right), round(x1 + right))


def only(results: list[Decoy | Refusal]) -> Decoy | Refusal:
    (result,) = results
    return result


def test_a_decoy_is_nearer_to_the_user_inside_the_budget_and_tells_nothing_else(
    engine: DecoyEngine, ada: Likeness
) -> None:
    photo = rich_photos.photo(somebody_else(), "JPEG", quality=95)
    decoy = only(engine.decoys([photo], ada))
    assert isinstance(decoy, Decoy)
    before, after = decoy.cosine_before["dlib"], decoy.face.cosine_target["dlib"]
    assert after > before + 0.3
    assert decoy.face.target == "ada"
    picture = opened(decoy.data)
    assert picture.format == "JPEG"
    assert not picture.getexif()
    assert set(picture.info).isdisjoint({"exif", "xmp", "photoshop", "comment"})
    region = grown(decoy.face.box)
    seen = dssim(*(np.asarray(opened(data).convert("RGB"))[region] / 255 for data in (photo, decoy.data)))
    assert seen > decoy.face.dssim  # which is of what was added to the warped face
    assert 0.005 < decoy.face.dssim <= BUDGET.dssim
    assert 0 < decoy.face.moved <= BUDGET.warp


def test_what_is_no_decoy_is_refused_and_disturbs_no_other(engine: DecoyEngine, ada: Likeness) -> None:
    both = encoded(np.hstack([portrait(), somebody_else()]), "PNG")
    nobody = encoded(Image.new("RGB", (200, 200), "grey"), "PNG")
    her, two, none, good = engine.decoys([ADA, both, nobody, BEN], ada)
    assert isinstance(her, NoDecoy)
    assert "it shows ada; a decoy shows somebody else" in str(her)
    assert isinstance(two, NoDecoy)
    assert "it shows 2 faces" in str(two)
    assert isinstance(none, NoFace)
    assert isinstance(good, Decoy)


def test_a_photo_that_came_no_nearer_is_refused(
    engine: DecoyEngine, ada: Likeness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoys, "DECOY", replace(decoys.DECOY, target_weight=-2.0))
    refused = only(engine.decoys([BEN], ada))
    assert isinstance(refused, NoDecoy)
    assert "looks no more like ada than before" in str(refused)


def test_the_user_is_the_face_that_most_photos_show(engine: DecoyEngine, ada: Likeness) -> None:
    most = engine.likeness("ada", [ADA, b"no photo", BEN, lit(portrait(), 0.8)])
    assert most.photos == 2
    assert float(most.mean().vectors["dlib"] @ ada.mean().vectors["dlib"]) > 0.9


def test_a_known_user_is_found_among_photos_that_mostly_show_others() -> None:
    shelf = Shelf()
    settings = EngineSettings(device="cpu", threads=ENGINE_THREADS)
    Engine(settings, shelf).enroll("ada", [ADA])
    engine = DecoyEngine(settings, shelf)
    found = engine.likeness("ada", [BEN, lit(somebody_else(), 0.8), lit(portrait(), 0.8)])
    assert found.photos == 1
    with pytest.raises(NoFace, match="none of the photos shows ada"):
        engine.likeness("ada", [BEN])
    assert set(shelf.targets) == {"ada"}


def test_making_decoys_gives_nobody_a_target(ada: Likeness) -> None:
    shelf = Shelf()
    engine = DecoyEngine(EngineSettings(budget=BUDGET, steps=8, device="cpu", threads=ENGINE_THREADS), shelf)
    assert isinstance(only(engine.decoys([BEN], ada)), Decoy)
    assert not shelf.targets
