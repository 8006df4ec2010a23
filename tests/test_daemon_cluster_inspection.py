"""What a node returns is published only if an honest node could have returned it; here are many that are not honest."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from batches import ENGINE_THREADS
from engine_pictures import ORACLE, Shelf, encoded, portrait, scaled, somebody_else
from PIL import Image

from daemon.cluster.inspection import Inspector
from fawkes_engine import EngineSettings, FaceReport, HeicAs, NotProtected, Protected, Request
from fawkes_engine.engine import Engine
from fawkes_engine.face.align import Similarity
from fawkes_engine.face.detect import Face, Pixels
from fawkes_engine.face.search import FaceSearch
from fawkes_engine.photo import segments
from fawkes_engine.photo.decode import decode, decode_pixels
from fawkes_engine.photo.encode import encode

pytestmark = pytest.mark.numeric
QUICK = EngineSettings(extractors=("dlib",), steps=24, device="cpu", threads=ENGINE_THREADS)
IN_THE_LANDSCAPE = Similarity(1, 300)
FACE = (slice(59, 175), slice(100, 188))  # rows and columns of the portrait's face


def landscape() -> Pixels:
    """A rocket, as high as the portrait."""
    return np.asarray(Image.fromarray(ORACLE.data.rocket()).resize((432, 288)))


def couple() -> Pixels:
    return np.hstack([portrait(), somebody_else()])


def beside_a_landscape() -> Pixels:
    return np.hstack([portrait(), landscape()])


def with_a_place() -> Image.Exif:
    exif = Image.Exif()
    exif[0x010E] = "a caption"
    exif[0x8825] = {1: "N", 2: (48.0, 8.0, 0.0)}
    return exif


REQUESTS: dict[str, Callable[[], Request]] = {
    "JPEG": lambda: Request(encoded(portrait(), "JPEG", exif=with_a_place()), "ada"),
    "PNG": lambda: Request(encoded(portrait(), "PNG", exif=with_a_place()), "ada"),
    "WebP": lambda: Request(encoded(portrait(), "WEBP", quality=90, exif=with_a_place()), "ada"),
    "TIFF": lambda: Request(encoded(portrait(), "TIFF", compression="tiff_lzw"), "ada"),
    "AVIF": lambda: Request(encoded(portrait(), "AVIF", exif=with_a_place()), "ada"),
    "HEIC": lambda: Request(encoded(portrait(), "HEIF", exif=with_a_place()), "ada", heic=HeicAs.HEIC),
    "turned": lambda: Request(encoded(np.rot90(portrait()), "JPEG", exif=turned()), "ada"),
    "two": lambda: Request(encoded(couple(), "JPEG"), "ada"),
    "mine": lambda: Request(encoded(couple(), "JPEG"), "ada", only_mine=True),
    "not mine": lambda: Request(
        encoded(somebody_else(), "JPEG"), "ada", only_mine=True, publish_faceless=True
    ),
    "no face": lambda: Request(encoded(landscape(), "JPEG"), "ada", publish_faceless=True),
    "weaker": lambda: Request(encoded(portrait(), "PNG"), "ada", strength=90),
    "wide": lambda: Request(encoded(beside_a_landscape(), "PNG"), "ada"),
}


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


@pytest.fixture(scope="module")
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture(scope="module")
def engine(shelf: Shelf) -> Engine:
    engine = Engine(QUICK, shelf)
    engine.enroll("ada", [encoded(portrait(), "PNG")])
    return engine


@pytest.fixture(scope="module")
def inspector(engine: Engine, shelf: Shelf) -> Inspector:
    return Inspector(QUICK, shelf)


@pytest.fixture(scope="module")
def honest(engine: Engine) -> Callable[[str], tuple[Request, Protected]]:
    """A request by its name, and what an honest node returns."""

    @cache
    def result(name: str) -> tuple[Request, Protected]:
        request = REQUESTS[name]()
        (returned,) = engine.protect([request])
        assert isinstance(returned, Protected), returned
        return request, returned

    return result


Honest = Callable[[str], tuple[Request, Protected]]


def with_data(returned: Protected, data: bytes) -> Protected:
    return replace(returned, data=data, sha256=hashlib.sha256(data).hexdigest())


def showing(request: Request, returned: Protected, pixels: Pixels) -> Protected:
    """The node's file with other pixels, written as the engine writes."""
    return with_data(returned, encode(decode(request.data, heic=request.heic), pixels, 98))


@pytest.mark.parametrize("name", REQUESTS)
def test_what_an_honest_node_returns_may_be_published(
    name: str, inspector: Inspector, honest: Honest
) -> None:
    assert inspector.objection(*honest(name)) is None


def clean(request: Request, returned: Protected) -> Protected:
    return showing(request, returned, decode_pixels(request.data))


def half_clean(request: Request, returned: Protected) -> Protected:
    pixels = decode_pixels(returned.data).copy()
    middle = pixels.shape[1] // 2
    pixels[:, :middle] = decode_pixels(request.data)[:, :middle]
    return showing(request, returned, pixels)


def pasted(request: Request, returned: Protected) -> Protected:
    pixels = decode_pixels(returned.data).copy()
    pixels[60:176, 300:388] = portrait()[FACE]
    return showing(request, returned, pixels)


def pasted_below(request: Request, returned: Protected) -> Protected:
    """A small face, all of it inside the region of the cloaked one."""
    pixels = decode_pixels(returned.data).copy()
    small = scaled(portrait()[FACE], 0.25)
    pixels[160 : 160 + len(small), 130 : 130 + small.shape[1]] = small
    return showing(request, returned, pixels)


def pasted_of_another(request: Request, returned: Protected) -> Protected:
    pixels = decode_pixels(returned.data).copy()
    pixels[:, 300:572] = somebody_else()
    return showing(request, returned, pixels)


def changed(request: Request, returned: Protected) -> Protected:
    pixels = decode_pixels(returned.data).copy()
    pixels[250:270, 10:30] = 255 - pixels[250:270, 10:30]
    return showing(request, returned, pixels)


def black(request: Request, returned: Protected) -> Protected:
    pixels = decode_pixels(returned.data).copy()
    pixels[FACE] = 0
    return showing(request, returned, pixels)


def another(request: Request, returned: Protected) -> Protected:
    return showing(request, returned, np.ascontiguousarray(landscape()[:, : portrait().shape[1]]))


def of_half_the_size(request: Request, returned: Protected) -> Protected:
    return showing(request, returned, scaled(decode_pixels(returned.data), 0.5))


@pytest.mark.parametrize(
    ("name", "fake", "words"),
    [
        ("JPEG", clean, "still looks like its owner"),
        ("PNG", clean, "still looks like its owner"),
        ("WebP", clean, "still looks like its owner"),
        ("AVIF", clean, "still looks like its owner"),
        ("HEIC", clean, "still looks like its owner"),
        ("TIFF", clean, "still looks like its owner"),
        ("two", half_clean, "still looks like its owner"),
        ("mine", half_clean, "still looks like its owner"),
        ("wide", pasted, "whom a recogniser knows"),
        ("PNG", pasted_below, "at the face"),
        ("wide", pasted_of_another, "is changed"),
        ("PNG", changed, "where there is no face"),
        ("JPEG", changed, "where there is no face"),
        ("no face", changed, "where there is no face"),
        ("JPEG", black, "changed more than a cloak"),
        ("JPEG", another, "changed"),
        ("JPEG", of_half_the_size, "another size"),
    ],
)
def test_pictures_that_no_honest_node_returns_are_told(
    name: str,
    fake: Callable[[Request, Protected], Protected],
    words: str,
    inspector: Inspector,
    honest: Honest,
) -> None:
    request, returned = honest(name)

    objection = inspector.objection(request, fake(request, returned))

    assert objection is not None
    assert words in objection


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WebP", "TIFF", "AVIF", "HEIC"])
def test_files_with_more_or_less_in_them_are_told(name: str, inspector: Inspector, honest: Honest) -> None:
    request, returned = honest(name)
    for data in (returned.data[: len(returned.data) // 2], returned.data + b"\0"):
        assert inspector.objection(request, with_data(returned, data))


def test_a_picture_too_large_to_decode_is_told_by_its_header(inspector: Inspector, honest: Honest) -> None:
    request, returned = honest("PNG")
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    crc = struct.pack(">I", zlib.crc32(header))
    bomb = returned.data[:12] + header + crc + returned.data[33:]

    assert "another size" in str(inspector.objection(request, with_data(returned, bomb)))


def test_the_metadata_of_the_original_are_told(inspector: Inspector, honest: Honest) -> None:
    request, returned = honest("JPEG")
    data = (
        segments.SOI + segments.told(request.data) + segments.bare(returned.data).removeprefix(segments.SOI)
    )
    assert b"a caption" in data

    assert "something besides" in str(inspector.objection(request, with_data(returned, data)))


@pytest.mark.parametrize(
    "change",
    [
        lambda returned: replace(returned, sha256="0" * 64),
        lambda returned: replace(returned, suffix=".png"),
        lambda returned: replace(returned, suffix="/../../x.jpg"),
    ],
)
def test_a_checksum_or_suffix_of_another_file_is_told(
    change: Callable[[Protected], Protected], inspector: Inspector, honest: Honest
) -> None:
    request, returned = honest("JPEG")

    assert inspector.objection(request, change(returned))


def test_a_report_that_is_not_of_this_photo_is_told(inspector: Inspector, honest: Honest) -> None:
    request, returned = honest("PNG")
    nobody = replace(returned, report=replace(returned.report, faces=()))

    assert "its report" in str(inspector.objection(request, nobody))


@pytest.fixture(scope="module")
def keen(shelf: Shelf, engine: Engine) -> tuple[Request, Protected]:
    """What a node returns whose engine has also taken something in the landscape for a face."""
    finds_more = Engine(QUICK, shelf)
    every = finds_more.pipeline._search.every

    def and_another(pixels: Pixels) -> list[Face]:
        (face,) = every(pixels)
        return [face, face.moved(IN_THE_LANDSCAPE)]

    finds_more.pipeline._search = cast("FaceSearch", SimpleNamespace(every=and_another))
    request = REQUESTS["wide"]()
    (returned,) = finds_more.protect([request])
    assert isinstance(returned, Protected), returned
    assert len(returned.report.faces) == 2
    return request, returned


def besides_the_portrait(returned: Protected) -> FaceReport:
    """What was said of the face that is none."""
    (besides,) = (one for one in returned.report.faces if one.box[0] >= portrait().shape[1])
    return besides


def with_faces(returned: Protected, *faces: FaceReport) -> Protected:
    return replace(returned, report=replace(returned.report, faces=faces))


def test_what_only_the_node_has_taken_for_a_face_is_measured_as_one(
    inspector: Inspector, keen: tuple[Request, Protected]
) -> None:
    """An engine also cloaks what it finds in the file that it writes first, and that nobody else has."""
    request, returned = keen
    assert inspector.objection(request, returned) is None

    (face,) = (one for one in returned.report.faces if one != besides_the_portrait(returned))
    assert "where there is no face" in str(inspector.objection(request, with_faces(returned, face)))


def test_what_a_node_says_to_be_a_face_must_be_cloaked_and_in_the_photo(
    inspector: Inspector, honest: Honest, keen: tuple[Request, Protected]
) -> None:
    request, returned = honest("wide")
    (face,) = returned.report.faces
    besides = besides_the_portrait(keen[1])
    far = replace(besides, landmarks=tuple((x, y + 9000) for x, y in besides.landmarks))
    no_face = replace(besides, landmarks=besides.landmarks[:3])

    claims = (
        (besides, "still looks like its owner"),
        (far, "where none can be"),
        (no_face, "where none can be"),
    )
    for claimed, words in claims:
        assert words in str(inspector.objection(request, with_faces(returned, face, claimed)))


def test_what_is_found_here_counts_and_not_what_a_node_says_of_it(
    inspector: Inspector, honest: Honest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A face that is found only in the file that came back is clean there, and the node tells wrong landmarks."""
    request, returned = honest("two")
    middle = portrait().shape[1]
    every = inspector._pipeline._search.every
    overlooks = SimpleNamespace(every=lambda pixels: [f for f in every(pixels) if f.box[0] >= middle])
    monkeypatch.setattr(inspector._pipeline, "_search", overlooks)
    askew = [
        replace(face, landmarks=tuple((x + 30, y + 40) for x, y in face.landmarks))
        if face.box[0] < middle
        else face
        for face in returned.report.faces
    ]

    fake = half_clean(request, with_faces(returned, *askew))

    assert "still looks like its owner" in str(inspector.objection(request, fake))


def test_a_photo_without_a_face_is_published_only_if_that_was_chosen(
    inspector: Inspector, honest: Honest
) -> None:
    request, returned = honest("no face")

    assert "no face was found" in str(inspector.objection(replace(request, publish_faceless=False), returned))


def test_whose_face_it_is_is_decided_here(inspector: Inspector, honest: Honest) -> None:
    """A node says that none of the faces is ada's, and returns the photo as it is."""
    request, returned = honest("JPEG")
    request = replace(request, only_mine=True, publish_faceless=True)
    left = replace(clean(request, returned), report=replace(returned.report, faces=()))

    assert "still looks like its owner" in str(inspector.objection(request, left))


def test_a_user_who_was_never_met_is_nobody(inspector: Inspector, honest: Honest) -> None:
    request, returned = honest("mine")

    assert "not known yet" in str(inspector.objection(replace(request, user="bob"), returned))


def test_users_are_met_here(engine: Engine) -> None:
    shelf = Shelf()
    inspector = Inspector(QUICK, shelf)
    photos = [Request(encoded(portrait(), "JPEG"), "ada"), Request(b"damaged", "ada")]

    inspector.meet(photos)

    assert shelf.people() == ["ada"]
    target = shelf.get("ada")
    inspector.meet(photos)
    assert shelf.get("ada") == target


def test_what_cannot_be_checked_is_not_published(
    inspector: Inspector, honest: Honest, monkeypatch: pytest.MonkeyPatch
) -> None:
    request, returned = honest("PNG")
    for error in (MemoryError(), RuntimeError("CPUAllocator: can't allocate memory"), NotProtected("no")):

        def fail(*_: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr("daemon.cluster.inspection.check_faces", fail)
        assert inspector.objection(request, returned)
