"""The engine: photos in, verified photos or refusals out. What it promises is measured here by others' means."""

from __future__ import annotations

import hashlib
import math
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from batches import ENGINE_THREADS, two_threads
from engine_pictures import (
    ORACLE,
    Colours,
    Shelf,
    ciede2000_of,
    dssim,
    encoded,
    grey,
    opened,
    portrait,
    scaled,
    somebody_else,
)
from PIL import Image, ImageFilter

from fawkes_engine import (
    MODES,
    Budget,
    EngineError,
    EngineSettings,
    FaceReport,
    NoFace,
    NotProtected,
    Phase,
    Protected,
    Request,
    Step,
    Target,
    Unreadable,
    Unsupported,
    extractors,
)
from fawkes_engine.cloak import state
from fawkes_engine.device import faces_together, limit_memory, threads
from fawkes_engine.engine import Engine, mode_of
from fawkes_engine.face.align import sample_chips
from fawkes_engine.face.canvas import Canvas
from fawkes_engine.face.detect import Box, Face, Pixels
from fawkes_engine.face.mtcnn import MtcnnDetector
from fawkes_engine.face.search import FaceSearch
from fawkes_engine.identity.people import FACES_AVERAGED
from fawkes_engine.identity.targets import Pool
from fawkes_engine.photo.decode import decode, decode_pixels
from fawkes_engine.photo.encode import encode
from fawkes_engine.photo.transplant import Source
from fawkes_engine.pipeline import verify
from fawkes_engine.pipeline.stopwatch import Stage
from fawkes_engine.pipeline.verify import OWN_COSINE_LIMIT
from fawkes_engine.types import STRANGER

pytestmark = pytest.mark.numeric
# Without a warp, since limits are on what is added to the warped face, which no file shows alone; warps are tested in
# test_engine_cloak_warp.
BUDGET = Budget(warp=0.0)
QUICK = EngineSettings(budget=BUDGET, steps=20, device="cpu", threads=ENGINE_THREADS)
HASTY = replace(QUICK, steps=4)


@pytest.fixture(scope="module")
def shelf() -> Shelf:
    """Ada has a target and is known well, so that no test depends on the order."""
    shelf = Shelf()
    assert isinstance(Engine(QUICK, shelf).protect([Request(jpeg(), "ada")])[0], Protected)
    ada = shelf.targets["ada"]
    known_well = {name: replace(mean, faces=FACES_AVERAGED) for name, mean in ada.mean_faces.items()}
    shelf.targets["ada"] = replace(ada, mean_faces=known_well)
    return shelf


@pytest.fixture(scope="module")
def engine(shelf: Shelf) -> Engine:
    """One engine for all."""
    engine = Engine(QUICK, shelf)
    engine.warm_up()
    return engine


@pytest.fixture
def hasty(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """For what does not hang on how well a cloak protects: few steps, and every cloak is good enough."""
    monkeypatch.setattr(verify, "OWN_COSINE_LIMIT", 1.0)
    return Engine(HASTY, shelf)


@pytest.fixture(scope="module")
def from_jpeg(engine: Engine) -> Protected:
    return protected(engine, jpeg())


@pytest.fixture(scope="module")
def from_png(engine: Engine) -> Protected:
    return protected(engine, png())


def moved_to(target: Target, index: int) -> Target:
    """The same person's target, with another identity of the pool."""
    pool = Pool.load()
    vectors = {name: tuple(rows[index].tolist()) for name, rows in pool.vectors.items()}
    return replace(target, identity=pool.identities[index], vectors=vectors)


def jpeg() -> bytes:
    return encoded(portrait(), "JPEG")


def png() -> bytes:
    return encoded(portrait(), "PNG")


def landscape() -> bytes:
    return encoded(ORACLE.data.rocket(), "JPEG")


def protected(engine: Engine, data: bytes) -> Protected:
    (result,) = engine.protect([Request(data, "ada")])
    assert isinstance(result, Protected), result
    return result


def pixels_of(data: bytes) -> Pixels:
    return np.asarray(opened(data).convert("RGB"))


def region_of(face: FaceReport, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """The detection box and 15 % of it on each side, inside the photo."""
    x0, y0, x1, y1 = face.box
    right, down = 0.15 * (x1 - x0), 0.15 * (y1 - y0)
    return (
        slice(max(0, math.floor(y0 - down)), min(shape[0], math.ceil(y1 + down))),
        slice(max(0, math.floor(x0 - right)), min(shape[1], math.ceil(x1 + right))),
    )


def colour_shift(before: Colours, after: Colours, face_height_px: float) -> Colours:
    """CIEDE2000 of every pixel after a blur of 1.5 % of the face."""
    sigma = 0.015 * face_height_px
    return ciede2000_of(
        *(ORACLE.filters.gaussian(p, sigma=sigma, channel_axis=2, mode="nearest") for p in (before, after))
    )


def assert_inside_the_budget(source: bytes, result: Protected, budget: Budget = BUDGET) -> None:
    """Measure the published bytes with scikit-image, at native size and at 224 px."""
    clean, cloaked = pixels_of(source), pixels_of(result.data)
    assert clean.shape == cloaked.shape
    for face in result.report.faces:
        region = region_of(face, clean.shape)
        before, after = clean[region], cloaked[region]
        assert dssim(before / 255, after / 255) <= budget.dssim + 1e-5
        assert dssim(before / 255, after / 255) == pytest.approx(face.dssim, abs=1e-5)
        # Pillow's bilinear resampling rounds to 8 bits: a few per cent
        small = (scaled(p, 224 / len(p), Image.Resampling.BILINEAR) / 255 for p in (before, after))
        assert dssim(*small) <= 1.1 * budget.dssim
        shift = colour_shift(before / 255, after / 255, face.height_px)
        assert shift.mean() <= 1.05 * budget.colour_mean
        assert np.quantile(shift, 0.99) <= 1.1 * budget.colour_p99
        assert shift.mean() == pytest.approx(face.colour_mean, rel=0.15, abs=0.02)


def embedding(pixels: Pixels, face: Face) -> torch.Tensor:
    """The face as the default extractor sees it."""
    extractor = extractors.load("dlib", Pool.load().mean("dlib"), torch.device("cpu"))
    canvas = Canvas.around(face, pixels)
    chip = sample_chips(
        canvas.cut(pixels)[None], [canvas.onto_canvas(extractor.onto_photo(face))], extractor.chip_px
    )
    return extractor.embed(chip)[0]


def test_a_photo_with_a_face_is_protected_and_reported(
    engine: Engine, shelf: Shelf, from_jpeg: Protected
) -> None:
    assert from_jpeg.sha256 == hashlib.sha256(from_jpeg.data).hexdigest()
    assert from_jpeg.suffix == ".jpg"
    report = from_jpeg.report
    assert (report.fingerprint, report.mode) == (engine.fingerprint, mode_of(engine.settings))
    assert report.seconds > 0
    (face,) = report.faces
    assert (face.person, face.target) == ("ada", shelf.targets["ada"].identity)
    assert np.abs(np.array(face.box) - (100, 60, 188, 175)).max() < 8
    assert face.height_px == round(face.box[3] - face.box[1])
    assert 0 < face.steps <= QUICK.steps
    assert face.cosine_own.keys() == face.cosine_target.keys() == {"dlib"}
    assert face.dssim > 0.001


def test_a_tracker_takes_the_published_face_for_another_person(from_png: Protected) -> None:
    detector = MtcnnDetector(torch.device("cpu"))
    clean, cloaked = pixels_of(png()), pixels_of(from_png.data)
    (before,), (after,) = detector.detect(clean), detector.detect(cloaked)
    similar = float(embedding(clean, before) @ embedding(cloaked, after))
    assert similar <= OWN_COSINE_LIMIT
    assert similar == pytest.approx(from_png.report.faces[0].cosine_own["dlib"], abs=0.02)


def test_the_budget_holds_in_the_published_file(from_jpeg: Protected, from_png: Protected) -> None:
    assert_inside_the_budget(jpeg(), from_jpeg)
    assert_inside_the_budget(png(), from_png)


@pytest.mark.parametrize("quality", [60, 85, 99])
def test_the_budget_holds_for_sources_of_any_jpeg_quality(engine: Engine, quality: int) -> None:
    source = encoded(portrait(), "JPEG", quality=quality)
    assert_inside_the_budget(source, protected(engine, source))


def test_outside_the_face_region_a_lossless_photo_is_unchanged(from_png: Protected) -> None:
    clean, cloaked = pixels_of(png()), pixels_of(from_png.data)
    outside = np.ones(clean.shape[:2], bool)
    outside[region_of(from_png.report.faces[0], clean.shape)] = False
    assert np.array_equal(clean[outside], cloaked[outside])
    assert not np.array_equal(clean, cloaked)


def test_outside_the_face_region_a_jpeg_is_changed_by_its_encoding_alone(from_jpeg: Protected) -> None:
    clean, cloaked = pixels_of(jpeg()), pixels_of(from_jpeg.data)
    rows, columns = region_of(from_jpeg.report.faces[0], clean.shape)
    outside = np.ones(clean.shape[:2], bool)
    outside[max(0, rows.start - 8) : rows.stop + 8, max(0, columns.start - 8) : columns.stop + 8] = False
    encoded_alone = pixels_of(encoded(clean, "JPEG", quality=95, subsampling=0)).astype(int)
    assert (
        np.abs(cloaked.astype(int) - clean)[outside].mean()
        <= np.abs(encoded_alone - clean)[outside].mean() + 0.01
    )


def test_no_channel_of_a_pixel_changes_much(from_png: Protected) -> None:
    clean, cloaked = pixels_of(png()), pixels_of(from_png.data)
    assert np.abs(clean.astype(int) - cloaked).max() <= 33


def test_the_cloak_fades_out_and_leaves_no_seam(from_png: Protected) -> None:
    change = pixels_of(from_png.data).astype(int) - pixels_of(png())
    part = np.abs(change[region_of(from_png.report.faces[0], change.shape)])
    border = np.concatenate([part[0], part[-1], part[:, 0], part[:, -1]])
    assert border.max() <= 1
    assert part.mean() > 1


def test_the_same_photo_gets_the_same_bytes_again(
    engine: Engine, from_jpeg: Protected, from_png: Protected
) -> None:
    assert protected(engine, jpeg()).data == from_jpeg.data
    assert protected(engine, png()).data == from_png.data


@pytest.mark.slow
def test_a_photo_gets_the_same_bytes_alone_and_among_others(shelf: Shelf) -> None:
    turned = np.ascontiguousarray(portrait()[:, ::-1])
    photos = [
        jpeg(),
        png(),
        encoded(turned, "JPEG"),
        encoded(scaled(portrait(), 0.6), "PNG"),  # a canvas of another size
        landscape(),
        encoded(np.concatenate([portrait(), turned], axis=1), "JPEG"),
        encoded(portrait()[:, 10:], "PNG"),
    ]
    with two_threads():
        engine = Engine(replace(QUICK, threads=2, steps=12), shelf)
        alone = engine.protect([Request(photos[0], "ada")]) + engine.protect([Request(photos[-1], "ada")])
        together = engine.protect([Request(photo, "ada") for photo in photos])
    for one, other in zip(alone, (together[0], together[-1]), strict=True):
        assert isinstance(one, Protected)
        assert isinstance(other, Protected)
        assert one.data == other.data


def test_a_cloak_leads_away_from_what_its_person_looks_like_in_other_photos() -> None:
    """Photos that are not at hand when one is cloaked, but were seen before."""
    settings = replace(QUICK, extractors=("dlib",))
    # far enough from the portrait (a cosine of 0.7) to be another photo of the same person
    soft = ImageFilter.GaussianBlur(3)
    others = [np.asarray(Image.fromarray(p).filter(soft)) for p in (portrait(), portrait()[:, ::-1])]
    alone, knowing = Engine(settings, Shelf()), Engine(settings, Shelf())
    assert knowing.enroll("ada", [png(), *(encoded(other, "PNG") for other in others)]) == 3
    detector = MtcnnDetector(torch.device("cpu"))
    tested = torch.stack([embedding(other, detector.detect(other)[0]) for other in others])
    cosines = []
    for engine in (alone, knowing):
        cloaked = pixels_of(protected(engine, png()).data)
        cosines.append(float((tested @ embedding(cloaked, detector.detect(cloaked)[0])).mean()))
    assert cosines[1] < cosines[0] - 0.05, cosines


def test_a_cloak_is_so_smooth_that_it_outlives_resizing(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = MtcnnDetector(torch.device("cpu"))
    (face,) = detector.detect(scaled(portrait(), 0.5))
    own = embedding(scaled(portrait(), 0.5), face)
    cosines = []
    for smooth in (0, state._SMOOTH):
        monkeypatch.setattr(state, "_SMOOTH", smooth)
        cloaked = protected(Engine(QUICK, Shelf()), png())
        assert_inside_the_budget(png(), cloaked)
        cosines.append(float(own @ embedding(scaled(pixels_of(cloaked.data), 0.5), face)))
    assert cosines[1] < cosines[0] - 0.04, cosines


def test_a_grey_photo_stays_grey(engine: Engine) -> None:
    source = encoded(grey(portrait()), "PNG")
    result = protected(engine, source)
    assert opened(result.data).mode == "L"
    assert_inside_the_budget(source, result)


def test_a_grey_jpeg_stays_grey(hasty: Engine) -> None:
    source = encoded(grey(portrait()), "JPEG")
    assert opened(protected(hasty, source).data).mode == "L"


@pytest.mark.parametrize(
    ("file_format", "suffix"), [("PNG", ".png"), ("WEBP", ".webp"), ("TIFF", ".tif"), ("JPEG", ".jpg")]
)
def test_the_format_is_kept(hasty: Engine, file_format: str, suffix: str) -> None:
    result = protected(hasty, encoded(portrait(), file_format))
    assert opened(result.data).format == file_format
    assert result.suffix == suffix


@pytest.mark.parametrize("file_format", ["PNG", "WEBP"])
def test_a_face_cut_out_from_its_background_is_protected(engine: Engine, file_format: str) -> None:
    image = Image.fromarray(portrait())
    rows, columns = np.mgrid[: image.height, : image.width]
    inside = ((columns - 144) / 60) ** 2 + ((rows - 115) / 80) ** 2 < 1
    image.putalpha(Image.fromarray(np.where(inside, 255, 0).astype(np.uint8)))
    options = {"lossless": True, "exact": True} if file_format == "WEBP" else {}
    result = protected(engine, encoded(image, file_format, **options))
    assert np.array_equal(np.asarray(opened(result.data).getchannel("A")), np.asarray(image.getchannel("A")))


def test_a_rotated_photo_is_protected_upright(hasty: Engine) -> None:
    exif = Image.Exif()
    exif[274] = 6
    sideways = Image.fromarray(portrait()).transpose(Image.Transpose.ROTATE_90)
    source = encoded(sideways, "PNG", exif=exif)
    result = protected(hasty, source)
    assert opened(result.data).size == (portrait().shape[1], portrait().shape[0])
    assert 274 not in opened(result.data).getexif()
    assert np.abs(np.array(result.report.faces[0].box) - (100, 60, 188, 175)).max() < 8


def test_two_faces_in_one_photo_are_both_cloaked(engine: Engine) -> None:
    source = encoded(np.concatenate([portrait(), portrait()[:, ::-1]], axis=1), "JPEG")
    result = protected(engine, source)
    assert len(result.report.faces) == 2
    assert {face.box[0] < portrait().shape[1] for face in result.report.faces} == {True, False}
    assert all(face.cosine_own["dlib"] <= OWN_COSINE_LIMIT for face in result.report.faces)
    assert_inside_the_budget(source, result)


@pytest.mark.parametrize("turns", [1, 2])
def test_a_lying_face_beside_an_upright_one_is_cloaked_too(engine: Engine, turns: int) -> None:
    upright = portrait()[:272]
    source = encoded(np.concatenate([upright, np.rot90(upright, turns)], axis=1), "JPEG")
    result = protected(engine, source)
    assert {face.box[0] < upright.shape[1] for face in result.report.faces} == {True, False}
    assert len(result.report.faces) == 2
    assert all(face.cosine_own["dlib"] <= OWN_COSINE_LIMIT for face in result.report.faces)
    assert_inside_the_budget(source, result)


@pytest.fixture
def short_sighted(hasty: Engine) -> Engine:
    """An engine that sees only one face before cloaking, and every face in the file it has written."""
    every = hasty.pipeline._search.every
    hasty.pipeline._search = cast("FaceSearch", SimpleNamespace(every=lambda pixels: every(pixels)[:1]))
    return hasty


def test_a_face_that_is_found_only_in_the_written_file_is_cloaked_too(short_sighted: Engine) -> None:
    # AVIF, of which all is encoded anew: a JPEG's own blocks are searched only where they differ
    photo = encoded(np.concatenate([portrait(), somebody_else()], axis=1), "AVIF")
    assert len(protected(short_sighted, photo).report.faces) == 2


def test_a_photo_with_a_face_that_stays_uncloaked_is_refused(
    short_sighted: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(short_sighted.pipeline.verifier, "missed", lambda *_: [])
    photo = encoded(np.concatenate([portrait(), somebody_else()], axis=1), "AVIF")
    (result,) = short_sighted.protect([Request(photo, "ada")])
    assert isinstance(result, NotProtected)
    assert "is not cloaked" in str(result)


def test_faces_whose_regions_overlap_are_inside_the_budget(engine: Engine) -> None:
    narrow = portrait()[:, 92:200]  # two such side by side: the boxes are apart, the grown regions are not
    source = encoded(np.concatenate([narrow, narrow[:, ::-1]], axis=1), "PNG")
    result = protected(engine, source)
    assert len(result.report.faces) == 2
    assert_inside_the_budget(source, result)


def test_a_large_photo_is_protected_inside_the_budget(engine: Engine) -> None:
    source = encoded(scaled(portrait(), 4), "JPEG")
    result = protected(engine, source)
    assert result.report.faces[0].height_px > 400
    assert_inside_the_budget(source, result)


def test_a_large_jpeg_keeps_its_orientation_and_all_pixels_but_its_faces(hasty: Engine) -> None:
    exif = Image.Exif()
    exif[274] = 6
    sideways = Image.fromarray(scaled(portrait(), 4)).transpose(Image.Transpose.ROTATE_90)
    source = encoded(sideways, "JPEG", quality=90, exif=exif)
    result = protected(hasty, source)
    rows, columns = region_of(result.report.faces[0], decode_pixels(source).shape)
    region = (columns.start, rows.start, columns.stop, rows.stop)
    assert opened(result.data).getexif()[274] == 6
    assert Source(source, 6).carried(decode_pixels(source), decode_pixels(result.data), [region])
    written = decode(result.data)
    assert len(result.data) < len(encode(written, written.pixels, 95))  # as a whole, in 4:4:4


def test_a_small_face_is_protected_inside_the_budget(engine: Engine) -> None:
    source = encoded(scaled(portrait(), 0.45), "PNG")
    result = protected(engine, source)
    assert result.report.faces[0].height_px < 60
    assert_inside_the_budget(source, result)


@pytest.mark.parametrize(("top", "left"), [(75, 0), (0, 112)])
def test_a_face_cut_by_the_border_is_protected_inside_the_budget(engine: Engine, top: int, left: int) -> None:
    source = encoded(portrait()[top:, left:], "PNG")
    result = protected(engine, source)
    assert min(result.report.faces[0].box) < 0
    assert_inside_the_budget(source, result)


def test_bad_photos_get_their_refusal_and_the_others_are_unharmed(
    engine: Engine, from_jpeg: Protected
) -> None:
    source = jpeg()
    batch = {
        b"no picture at all": Unreadable,
        source: Protected,
        landscape(): NoFace,
        source[: len(source) // 2]: Unreadable,
        encoded(Image.fromarray(portrait()).convert("CMYK"), "JPEG"): Unsupported,
        encoded(np.zeros((1, 4000, 3), np.uint8), "PNG"): NoFace,
        b"": Unreadable,
    }
    results = engine.protect([Request(data, "ada") for data in batch])
    assert [type(result) for result in results] == list(batch.values())
    assert isinstance(results[1], Protected)
    assert results[1].data == from_jpeg.data


def test_the_stopwatch_tells_where_the_time_went(engine: Engine) -> None:
    before, started = dict(engine.stopwatch.seconds), time.perf_counter()
    protected(engine, jpeg())
    took = time.perf_counter() - started
    spent = {stage: seconds - before[stage] for stage, seconds in engine.stopwatch.seconds.items()}
    assert list(spent) == list(Stage)
    assert min(spent.values()) > 0
    assert 0.8 * took < sum(spent.values()) <= took


@pytest.mark.parametrize(("limit_gib", "fraction"), [(2.0, 0.25), (8.0, 1.0), (12.0, 1.0)])
def test_a_graphics_card_is_used_up_to_the_limit(
    limit_gib: float, fraction: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a card of 8 GiB; the calls that only a card can answer are stood in for."""
    told: list[tuple[float, torch.device]] = []
    card = SimpleNamespace(total_memory=8 << 30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: card)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda *limit: told.append(limit))
    limit_memory(torch.device("cuda:1"), limit_gib)
    assert told == [(fraction, torch.device("cuda:1"))]


def test_the_limit_of_a_graphics_card_means_nothing_to_the_cpu(shelf: Shelf) -> None:
    Engine(replace(QUICK, max_gpu_memory_gib=0.001), shelf)


def test_beside_a_graphics_card_more_faces_go_together_and_one_thread_does_the_rest() -> None:
    assert faces_together(torch.device("cuda:0")) > faces_together(torch.device("cpu")) >= 1
    assert (threads(torch.device("cuda")), threads(torch.device("cpu"))) == (1, 0)


def test_no_photos_give_no_results(engine: Engine) -> None:
    assert engine.protect([]) == []


def test_photos_without_a_face_choose_no_target() -> None:
    shelf = Shelf()
    (result,) = Engine(QUICK, shelf).protect([Request(landscape(), "eve")])
    assert isinstance(result, NoFace)
    assert shelf.targets == {}


def test_a_sign_of_life_is_given_at_every_step(hasty: Engine) -> None:
    signs: list[Step] = []
    hasty.protect([Request(png(), "ada")], on_step=signs.append)
    assert len(signs) >= HASTY.steps / 2
    assert signs[0] == Step(Phase.FIND, 1.0)
    shares = [sign.share for sign in signs if sign.phase is Phase.CLOAK and sign.share is not None]
    assert shares == sorted(shares)
    assert 0 < shares[0] < 0.5
    assert shares[-1] == 1.0


def test_a_failing_sign_of_life_ends_the_batch(engine: Engine) -> None:
    def stop(_step: Step) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        engine.protect([Request(png(), "ada")], on_step=stop)


def test_the_target_is_chosen_once_and_kept_over_engines(shelf: Shelf, from_png: Protected) -> None:
    chosen = shelf.targets["ada"]
    assert chosen.chosen_from == (hashlib.sha256(jpeg()).hexdigest(),)
    later = protected(Engine(QUICK, shelf), png())
    assert shelf.targets["ada"] is chosen
    assert later.report.faces[0].target == chosen.identity
    assert later.data == from_png.data


def test_a_kept_target_is_used_whatever_the_pool_would_choose(shelf: Shelf, from_png: Protected) -> None:
    pool = Pool.load()
    index = next(i for i, name in enumerate(pool.identities) if name != shelf.targets["ada"].identity)
    kept = Shelf()
    kept.targets["ada"] = moved_to(shelf.targets["ada"], index)
    moved = protected(Engine(QUICK, kept), png())
    assert moved.report.faces[0].target == pool.identities[index]
    assert moved.data != from_png.data


def test_the_target_is_chosen_for_the_person_most_photos_show_and_for_each_user() -> None:
    shelf = Shelf()
    photos = [jpeg(), png(), landscape()]
    requests = [Request(photo, "ada") for photo in photos] + [Request(png(), "bob")]
    Engine(replace(QUICK, steps=4), shelf).protect(requests)
    assert shelf.targets.keys() == {"ada", "bob"}
    assert shelf.targets["ada"].chosen_from == tuple(
        hashlib.sha256(photo).hexdigest() for photo in photos[:2]
    )


def test_a_stranger_in_a_photo_gets_a_target_of_its_own_and_keeps_it(shelf: Shelf) -> None:
    together = np.concatenate([portrait(), somebody_else()], axis=1)
    both = encoded(together, "PNG")
    later = encoded(together[6:], "PNG")
    thorough = replace(QUICK, steps=45)
    mine = Shelf()
    mine.targets["ada"] = shelf.targets["ada"]
    first, second = (protected(Engine(thorough, mine), photo).report.faces for photo in (both, later))
    for faces in (first, second):
        ada, stranger = sorted(faces, key=lambda face: face.box[0])
        assert ada.person == "ada"
        assert stranger.person.startswith(STRANGER)
        assert ada.target != stranger.target
        assert max(ada.cosine_own["dlib"], stranger.cosine_own["dlib"]) <= OWN_COSINE_LIMIT
    assert {(face.person, face.target) for face in first} == {(face.person, face.target) for face in second}
    assert len(mine.targets) == 2


def test_with_only_mine_the_faces_of_others_are_left_as_they_are(hasty: Engine) -> None:
    source = encoded(np.concatenate([portrait(), somebody_else()], axis=1), "PNG")
    (result,) = hasty.protect([Request(source, "ada", only_mine=True)])
    assert isinstance(result, Protected), result
    assert [face.person for face in result.report.faces] == ["ada"]
    width = portrait().shape[1]
    clean, cloaked = pixels_of(source), pixels_of(result.data)
    assert np.array_equal(clean[:, width:], cloaked[:, width:])
    assert not np.array_equal(clean[:, :width], cloaked[:, :width])


def test_with_only_mine_a_photo_of_others_alone_is_refused(shelf: Shelf) -> None:
    mine = Shelf()
    mine.targets["ada"] = shelf.targets["ada"]
    photo = encoded(somebody_else(), "PNG")
    (result,) = Engine(QUICK, mine).protect([Request(photo, "ada", only_mine=True)])
    assert isinstance(result, NoFace)


def test_enrolled_photos_make_a_user_known(shelf: Shelf) -> None:
    mine = Shelf()
    engine = Engine(QUICK, mine)
    assert engine.enroll("ada", [jpeg(), png(), encoded(somebody_else(), "PNG")]) == 2
    assert len(mine.targets["ada"].known_by["dlib"]) == 2
    chosen = mine.targets["ada"].identity
    assert engine.enroll("ada", [encoded(portrait()[:, ::-1], "PNG")]) == 1
    assert mine.targets["ada"].identity == chosen
    assert len(mine.targets["ada"].known_by["dlib"]) == 3


@pytest.mark.parametrize(("photo", "refusal"), [(b"no picture", Unreadable), (landscape(), NoFace)])
def test_photos_that_show_nobody_cannot_enroll(photo: bytes, refusal: type[Exception]) -> None:
    mine = Shelf()
    with pytest.raises(refusal):
        Engine(QUICK, mine).enroll("ada", [photo])
    assert mine.targets == {}


def test_a_target_another_process_stored_first_is_the_one_used(shelf: Shelf) -> None:
    pool = Pool.load()
    index = next(i for i, name in enumerate(pool.identities) if name != shelf.targets["ada"].identity)
    first = moved_to(shelf.targets["ada"], index)

    class Raced(Shelf):
        def add(self, person: str, target: Target) -> Target:
            return super().add(person, replace(first, known_by=target.known_by))

    assert protected(Engine(QUICK, Raced()), png()).report.faces[0].target == first.identity


def test_more_steps_move_a_face_farther_from_itself(shelf: Shelf, from_png: Protected) -> None:
    (short,) = from_png.report.faces
    (long,) = protected(Engine(replace(QUICK, steps=60), shelf), png()).report.faces
    assert long.cosine_own["dlib"] < short.cosine_own["dlib"] - 0.05
    assert long.cosine_own["dlib"] < 0
    assert long.steps > short.steps


def test_only_a_face_that_still_looks_like_its_owner_is_cloaked_again_and_harder(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(replace(QUICK, steps=8), shelf)
    photo = encoded(np.concatenate([portrait(), somebody_else()], axis=1), "PNG")
    monkeypatch.setattr(verify, "OWN_COSINE_LIMIT", 1.0)
    first = protected(engine, photo)
    once = {face.person: face for face in first.report.faces}
    good, bad = sorted(once.values(), key=lambda face: face.cosine_own["dlib"])
    monkeypatch.setattr(verify, "OWN_COSINE_LIMIT", bad.cosine_own["dlib"] - 0.02)
    assert good.cosine_own["dlib"] < verify.OWN_COSINE_LIMIT
    second = protected(engine, photo)
    twice = {face.person: face for face in second.report.faces}
    good_side, bad_side = (_half(face.box, photo) for face in (good, bad))
    assert np.array_equal(pixels_of(first.data)[good_side], pixels_of(second.data)[good_side])
    assert not np.array_equal(pixels_of(first.data)[bad_side], pixels_of(second.data)[bad_side])
    assert twice[good.person].steps == good.steps
    assert twice[bad.person].steps > bad.steps
    assert twice[bad.person].cosine_own["dlib"] <= verify.OWN_COSINE_LIMIT


@pytest.mark.parametrize(
    "other",
    [
        replace(QUICK, steps=21),
        replace(QUICK, jpeg_quality=96),
        replace(QUICK, budget=replace(BUDGET, dssim=0.006)),
        replace(QUICK, budget=replace(BUDGET, warp=0.01)),
        replace(QUICK, budget=replace(BUDGET, colour_mean=0.9)),
        replace(QUICK, budget=replace(BUDGET, colour_p99=2.9)),
    ],
)
def test_the_fingerprint_tells_settings_apart(engine: Engine, other: EngineSettings) -> None:
    assert Engine(other, Shelf()).fingerprint != engine.fingerprint


def test_the_fingerprint_is_the_same_for_the_same_cloak(engine: Engine) -> None:
    assert Engine(QUICK, Shelf()).fingerprint == engine.fingerprint
    assert Engine(replace(QUICK, batch_faces=3), Shelf()).fingerprint == engine.fingerprint


def test_the_mode_is_told_by_its_settings() -> None:
    for name in MODES:
        settings = EngineSettings.of_mode(name)
        assert mode_of(replace(settings, threads=1, jpeg_quality=99)) == name
        assert mode_of(replace(settings, steps=settings.steps + 1)) is None


def test_a_cloak_that_cannot_protect_is_refused() -> None:
    nearly_nothing = replace(QUICK, budget=Budget(dssim=0.0001, colour_mean=0.1, colour_p99=0.3, warp=0.0))
    (result,) = Engine(nearly_nothing, Shelf()).protect([Request(png(), "ada")])
    assert isinstance(result, NotProtected)
    assert "looks like" in str(result)


def test_a_budget_that_encoding_alone_uses_up_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "OWN_COSINE_LIMIT", 1.0)
    impossible = replace(HASTY, budget=Budget(dssim=1e-7, colour_mean=1e-3, colour_p99=1e-3))
    (result,) = Engine(impossible, Shelf()).protect([Request(jpeg(), "ada")])
    assert isinstance(result, NotProtected)


@pytest.mark.parametrize(
    "unusable",
    [replace(QUICK, extractors=("dlib", "no-such-extractor")), replace(QUICK, device="no-such-device")],
    ids=["extractor", "device"],
)
def test_unusable_settings_are_an_engine_error(unusable: EngineSettings) -> None:
    with pytest.raises(EngineError, match="no-such-"):
        Engine(unusable, Shelf())


def test_the_device_has_a_name_for_people(engine: Engine) -> None:
    assert engine.device_name == "cpu"


def test_a_photo_without_a_face_is_written_anew_where_that_is_wanted(engine: Engine) -> None:
    source = landscape()

    (result,) = engine.protect([Request(source, "ada", publish_faceless=True)])

    assert isinstance(result, Protected)
    assert result.report.faces == ()
    assert opened(result.data).size == opened(source).size


def test_only_the_users_face_is_cloaked_where_that_is_wanted(hasty: Engine) -> None:
    source = encoded(np.concatenate([portrait(), somebody_else()], axis=1), "PNG")

    (result,) = hasty.protect([Request(source, "ada", only_mine=True)])

    assert isinstance(result, Protected)
    assert [face.person for face in result.report.faces] == ["ada"]
    other = np.s_[:, portrait().shape[1] + 20 :]
    assert np.array_equal(np.asarray(opened(result.data))[other], np.asarray(opened(source))[other])


def _half(box: Box, photo: bytes) -> tuple[slice, slice]:
    """The left or the right half of a photo, whichever the middle of a face is in."""
    width = pixels_of(photo).shape[1]
    left = (box[0] + box[2]) / 2 < width / 2
    return slice(None), slice(0, width // 2) if left else slice(width // 2, None)
