"""Names: what is a photo, whose temporary file it is, and how the copy is called."""

from __future__ import annotations

import itertools
import os
from pathlib import Path, PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.fs.filenames import Kind, candidates, kind_of, objection, output_name, twin_key
from daemon.text import printable


@pytest.mark.parametrize(
    "name", ["a.jpg", "A.JPEG", "trip/b.png", "IMG.HEIC", "c.dng", "d.gif", "e.EXR", "f.xcf"]
)
def test_every_kind_of_photo_is_a_photo(name: str) -> None:
    assert kind_of(PurePath(name)) is Kind.PHOTO


@pytest.mark.parametrize(
    "name",
    [
        "notes.txt",
        "a.jpg.xmp",
        ".a.jpg",
        "._a.jpg",
        ".pending-123-a.jpg",
        ".trashed-123-a.jpg",
        "a.jpg.part",
        "a.jpg~",
        "a.jpg_exiftool_tmp",
        "a.jpg_original",
        "BatchTool-Xy12.digikamtempfile.jpg",
        "JpegRotator-1.digikamtempfile.jpg",
        "~syncthing~a.jpg",
        ".stversions/a.jpg",
        "@eaDir/a.jpg",
        "#recycle/a.jpg",
        "trip/.hidden/a.jpg",
        "no_suffix",
    ],
)
def test_sidecars_and_temporary_files_are_not_photos(name: str) -> None:
    assert kind_of(PurePath(name)) is Kind.OTHER


@pytest.mark.parametrize(
    "name",
    [
        "Wedding_original/a.jpg",
        "Scan.part/a.jpg",
        "BatchTool-2024/a.jpg",
        "desktop.ini/a.jpg",
        "old~/a.jpg",
        "EditorWindow-view.jpg",
        "trip/@eaDir.jpg",
    ],
)
def test_patterns_of_files_spare_folders_and_those_of_folders_files(name: str) -> None:
    assert kind_of(PurePath(name)) is Kind.PHOTO


@pytest.mark.parametrize("name", ["IMG_1.MOV", "trip/IMG_1.mp4", "00001.MTS", "DSCF0001.AVI"])
def test_clips_are_told_from_photos_and_from_the_rest(name: str) -> None:
    assert kind_of(PurePath(name)) is Kind.CLIP


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("raw/a.jpg", Kind.OTHER),
        ("deep/raw/a.jpg", Kind.OTHER),
        ("a_draft.jpg", Kind.OTHER),
        ("keep_draft.jpg", Kind.PHOTO),
        ("raw.jpg", Kind.PHOTO),
    ],
)
def test_a_persons_own_patterns_work_as_in_a_gitignore(name: str, kind: Kind) -> None:
    assert kind_of(PurePath(name), ("raw/", "*_draft.jpg", "!keep_draft.jpg")) is kind


@pytest.mark.parametrize("name", [b"bad\xff.jpg", b"line\nbreak.jpg", b"tab\t.jpg"])
def test_names_that_sync_tools_refuse_are_objected_to(name: bytes) -> None:
    assert objection(PurePath(os.fsdecode(name)))


@pytest.mark.parametrize("name", ["é.jpg", "-rf.jpg", "日本/写真.jpg", "..%2f.jpg"])
def test_unusual_names_are_not_objected_to(name: str) -> None:
    assert objection(PurePath(name)) is None


@pytest.mark.parametrize(
    ("source", "suffix", "published"),
    [
        ("a.jpg", ".jpg", "a.jpg"),
        ("a.JPEG", ".jpg", "a.JPEG"),
        ("a.Tiff", ".tif", "a.Tiff"),
        ("IMG.1.HEIC", ".jpg", "IMG.1.jpg"),
        ("a.png", ".png", "a.png"),
    ],
)
def test_the_extension_changes_only_with_the_format(source: str, suffix: str, published: str) -> None:
    assert output_name(source, suffix) == published


def test_a_taken_name_is_numbered_before_the_extension() -> None:
    assert list(itertools.islice(candidates("a.b.jpg"), 3)) == ["a.b.jpg", "a.b~2.jpg", "a.b~3.jpg"]


def test_names_that_other_systems_take_for_one_are_twins() -> None:
    assert twin_key("IMG.JPG") == twin_key("img.jpg")
    assert twin_key("caf\u00e9.jpg") == twin_key("cafe\u0301.jpg")
    assert twin_key("a.jpg") != twin_key("b.jpg")


@given(st.binary(min_size=1).filter(lambda name: b"\0" not in name))
def test_a_printed_path_is_one_line_of_visible_text(name: bytes) -> None:
    text = printable(Path(os.fsdecode(name)))

    assert text.isprintable()
    text.encode()
