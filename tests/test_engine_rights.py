"""Names, rights and captions in every form that EXIF has for them, and blocks that are no EXIF."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from engine_pictures import astronaut, encoded, opened, scaled
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_exif import ASCII, RATIONAL, SHORT, UTF8, Entry, block, rationals, short, text
from rich_photos import FORMATS
from scan import scan

from fawkes_engine import HeicAs, MetadataPolicy
from fawkes_engine.photo import directory, exif
from fawkes_engine.photo.decode import decode
from fawkes_engine.photo.encode import encode
from fawkes_engine.photo.exif import CONTROLS

SMALL = scaled(astronaut(), 0.25)[:64, :96]
CAPTION, ARTIST, COPYRIGHT, TITLE, PHOTOGRAPHER, EXIF_IFD = 0x010E, 0x013B, 0x8298, 0xA436, 0xA437, 0x8769
BY_DEFAULT = MetadataPolicy()


def published(source: bytes) -> bytes:
    photo = decode(source, heic=HeicAs.HEIC)
    return encode(photo, photo.pixels, 95)


def with_exif(exif_block: bytes, file_format: str = "JPEG") -> bytes:
    return encoded(SMALL, file_format, exif=b"Exif\0\0" + exif_block)


def kept(exif_block: bytes) -> tuple[dict[int, bytes], dict[int, bytes]]:
    """The text that is kept of a block, of its main directory and of the other."""
    found = exif.read(exif_block, BY_DEFAULT)
    inner = found.get(EXIF_IFD, {})
    assert isinstance(inner, dict)
    main, details = (
        {
            tag: value.data
            for tag, value in one.items()
            if isinstance(value, directory.Value) and value.kind == ASCII
        }
        for one in (found, inner)
    )
    return main, details


@pytest.mark.parametrize("file_format", sorted({*FORMATS} - {"TIFF"}))  # Pillow puts no such type into a TIFF
def test_rights_in_the_utf8_type_of_exif_3_are_kept(file_format: str) -> None:
    source = with_exif(
        block(
            {
                ARTIST: text("Zoë Müller", UTF8),
                CAPTION: text("Sjöbo, 夏", UTF8),
                COPYRIGHT: text("© Zoë", UTF8),
            },
            {TITLE: text("Sommar", UTF8), PHOTOGRAPHER: text("Zoë M", UTF8)},
        ),
        file_format,
    )
    tags = opened(published(source)).getexif()
    assert {tag: tags[tag].encode("latin-1").decode() for tag in (ARTIST, CAPTION, COPYRIGHT)} == {
        ARTIST: "Zoë Müller",
        CAPTION: "Sjöbo, 夏",
        COPYRIGHT: "© Zoë",
    }
    details = tags.get_ifd(EXIF_IFD)
    assert {tag: details[tag].encode("latin-1").decode() for tag in (TITLE, PHOTOGRAPHER)} == {
        TITLE: "Sommar",
        PHOTOGRAPHER: "Zoë M",
    }


@pytest.mark.parametrize("kind", [ASCII, UTF8])
@pytest.mark.parametrize("file_format", sorted({*FORMATS} - {"TIFF"}))
def test_the_names_in_a_photo_that_lies_on_its_side_are_kept(file_format: str, kind: int) -> None:
    source = with_exif(block({0x0112: short(6), ARTIST: text("Zoë", kind)}), file_format)
    if file_format == "AVIF":  # Pillow makes an `irot` of the orientation, and the block anew, in ASCII
        source = with_exif(block({0x0112: short(6), ARTIST: text("ZoXX")}), file_format)
        ours = bytes([0x3B, 1, kind, 0, 5])
        source = source.replace(b"ZoXX", "Zoë".encode()).replace(b"\x3b\1\2\0\5", ours)
    assert decode(source, heic=HeicAs.HEIC).pixels.shape[:2] == (96, 64)
    tags = opened(published(source)).getexif()
    assert tags[ARTIST].encode("latin-1").decode() == "Zoë"
    assert tags.get(0x0112, 1) == 1


def test_rights_in_the_utf8_type_are_kept_in_a_tiff() -> None:
    source = directory.with_tags(
        encoded(SMALL, "TIFF", compression="tiff_adobe_deflate"),
        {ARTIST: directory.Value(UTF8, "Zoë Müller".encode() + b"\0")},
    )
    assert opened(published(source)).getexif()[ARTIST].encode("latin-1").decode() == "Zoë Müller"


@pytest.mark.parametrize(
    ("copyright_", "is_kept"),
    [
        (b"Zo\xc3\xab\0An Editor\0", b"Zo\xc3\xab\0An Editor\0"),
        (b"Zo\xeb\0An \xc9ditor", b"Zo\xeb\0An \xc9ditor\0"),
        (b" \0An Editor\0", b" \0An Editor\0"),  # EXIF's way to name an editor alone
        (b"\0An Editor\0", b" \0An Editor\0"),
        (b"Zoe \0 \0", b"Zoe\0"),
        (b"Zoe\0An Editor\0a third part\0", b"Zoe\0"),  # no copyright has three
        (b"MM\0*\0\0\0\x08", b"MM\0"),  # a damaged offset: the header of the block
        (b"MM\0*", b"MM\0"),
        (b"\0\0", None),
    ],
)
@pytest.mark.parametrize("kind", [ASCII, UTF8])
def test_both_parts_of_a_copyright_are_kept(kind: int, copyright_: bytes, is_kept: bytes | None) -> None:
    main, _ = kept(block({COPYRIGHT: (kind, len(copyright_), copyright_)}))
    assert main.get(COPYRIGHT) == is_kept


def test_other_text_ends_at_its_first_nul() -> None:
    assert kept(block({ARTIST: text(b"Zoe\0SECRET"), CAPTION: text(b"\0SECRET")})) == ({ARTIST: b"Zoe\0"}, {})


def test_a_last_letter_that_ends_like_a_space_stays_whole() -> None:
    """The last byte of an à in UTF-8 is the no-break space of Latin-1."""
    assert kept(block({ARTIST: text("Nicolà")}))[0][ARTIST] == "Nicolà".encode() + b"\0"


@given(st.text(min_size=1, max_size=900).filter(lambda name: name.strip() and "\0" not in name))
def test_text_of_any_language_is_kept_as_it_is_or_cut_between_letters(name: str) -> None:
    data = kept(block({ARTIST: text(name, UTF8)}))[0].get(ARTIST, b"\0")
    visible = name.encode().translate(None, CONTROLS)
    assert data[:-1].decode() == visible[:2000].decode(errors="ignore").encode().rstrip().decode()


@given(
    order=st.sampled_from("<>"),
    big=st.booleans(),
    artist=st.text(st.characters(codec="ascii", exclude_categories=["C", "Z"]), min_size=1, max_size=20),
    exposure=st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
)
def test_either_byte_order_and_either_kind_of_tiff_say_the_same(
    order: str, big: bool, artist: str, exposure: tuple[int, int]
) -> None:
    def told(order: str, *, big: bool) -> directory.Directory:
        tags = {ARTIST: text(artist), 0x4746: short(4, order)}
        return exif.read(block(tags, {0x829A: rationals(exposure, order=order)}, order, big=big), BY_DEFAULT)

    assert told(order, big=big) == told("<", big=False)


entries = st.tuples(
    st.sampled_from([1, ASCII, SHORT, 4, RATIONAL, 7, 9, 10, 12, 13, 16, UTF8, 200]),
    st.one_of(st.integers(0, 8), st.sampled_from([2**16, 2**31, 2**32 - 1])),
    st.binary(max_size=40),
)
tags = st.dictionaries(
    st.sampled_from(
        [CAPTION, ARTIST, COPYRIGHT, 0x0112, 0x011A, 0x4746, EXIF_IFD, 0x8825, 0xA005, TITLE, 0x829A, 0xA432]
    ),
    entries,
    max_size=8,
)


@st.composite
def damaged_blocks(draw: st.DrawFn) -> bytes:
    """Directories with wrong types, numbers and offsets, then bytes changed, and the end cut off."""
    main: dict[int, Entry] = draw(tags)
    data = bytearray(block(main, draw(tags), draw(st.sampled_from("<>")), big=draw(st.booleans())))
    for _ in range(draw(st.integers(0, 4))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))]) if draw(st.booleans()) else bytes(data)


@settings(max_examples=400)
@given(
    st.one_of(
        st.binary(max_size=200), st.binary(max_size=200).map(b"II*\0\x08\0\0\0".__add__), damaged_blocks()
    )
)
def test_any_bytes_are_read_or_are_no_exif_and_what_is_read_can_be_written(data: bytes) -> None:
    try:
        found = exif.read(data, MetadataPolicy(gps=True))
        lies = exif.orientation(data)
    except ValueError:
        return
    assert 1 <= lies <= 8
    again = directory.block(found)
    assert exif.read(again, MetadataPolicy(gps=True)) == found
    assert len(again) < 30_000


@settings(max_examples=40)
@given(st.one_of(st.binary(max_size=200), damaged_blocks()))
def test_any_bytes_as_exif_never_fail_a_photo(data: bytes) -> None:
    assert scan(published(with_exif(data))) == []


@pytest.mark.skipif(
    not shutil.which("exiftool"), reason="exiftool is missing: apt install libimage-exiftool-perl"
)
def test_exiftool_reads_the_names(tmp_path: Path) -> None:
    source = block(
        {ARTIST: text("Zoë", UTF8), COPYRIGHT: text("Zoë\0Ána")},
        {PHOTOGRAPHER: text("Zoë", UTF8), TITLE: text("夏")},
    )
    path = tmp_path / "photo.jpg"
    path.write_bytes(published(with_exif(source)))
    told = subprocess.run(["exiftool", "-json", path], capture_output=True, check=True).stdout
    (found,) = json.loads(told)
    assert (found["Artist"], found["Copyright"]) == ("Zoë", "Zoë\nÁna")
    # exiftool names the tags of EXIF 3.0 since 12.63
    assert found.get("Photographer", "Zoë") == "Zoë"
    assert found.get("ImageTitle", "夏") == "夏"
