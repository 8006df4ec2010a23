"""What counts as a whole file: of each format, cut, reserved but not written, damaged, or with more behind it."""

from __future__ import annotations

import io
import os
import random
import struct
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pillow_heif
import pytest
from heif_boxes import box
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from twins import make_photo

from daemon.fs import kernel
from daemon.fs.kernel import was_written
from daemon.model import Unfinished
from daemon.watch.completeness import missing_of, why_unfinished

pillow_heif.register_heif_opener()

TRAILER = b"\0\0\0\x18ftypmp42 a clip, as phones append it" + bytes(5000)
FOUR_KIB_OF_ZEROS = bytes(4096)


def saved(image: Image.Image, file_format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def noise(side: int) -> Image.Image:
    return Image.frombytes("RGB", (side, side), random.Random(1).randbytes(3 * side * side))


def tags() -> bytes:
    exif = Image.Exif()
    exif[0x013B] = "An Artist, with a name too long for a place inside of the directory"
    exif[0x8769] = {0x9003: "2026:11:22 09:59:58"}
    return exif.tobytes()


def with_thumbnail(data: bytes) -> bytes:
    """A JPEG with a whole JPEG in an early segment."""
    preview = make_photo(seed=7)
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(preview) + 2) + preview + data[2:]


def with_padding(data: bytes, padding: bytes) -> bytes:
    """A JPEG with more bytes between its first two segments."""
    end = 4 + struct.unpack(">H", data[4:6])[0]
    return data[:end] + padding + data[end:]


def tiff(order: str, *, is_big: bool) -> bytes:
    """A black TIFF without compression: a thumbnail in its first directory, the picture in a SubIFD, in two tiles."""
    place, count, kind = ("Q", "Q", 16) if is_big else ("I", "H", 4)

    def directory(*entries: tuple[int, int, int]) -> bytes:
        packed = (struct.pack(f"{order}HH{place}{place}", tag, kind, n, value) for tag, n, value in entries)
        return struct.pack(order + count, len(entries)) + b"".join(packed) + struct.pack(order + place, 0)

    header, width = (16, 8) if is_big else (8, 4)
    length = len(directory(*[(0, 0, 0)] * 3))
    second, arrays = header + length, header + 2 * length
    thumbnail = arrays + 4 * width
    first_tile, second_tile = thumbnail + 100, thumbnail + 5100
    link = struct.pack(order + "HHQ", 8, 0, header) if is_big else struct.pack(order + "I", header)
    return (
        (b"II" if order == "<" else b"MM")
        + struct.pack(order + "H", 43 if is_big else 42)
        + link
        + directory((273, 1, thumbnail), (279, 1, 100), (330, 1, second))
        + directory((259, 1, 1), (324, 2, arrays), (325, 2, arrays + 2 * width))
        + struct.pack(f"{order}4{place}", first_tile, second_tile, 5000, 5000)
        + bytes(100 + 5000 + 5000)
    )


def boxes(*, version: int, meta_is_last: bool) -> bytes:
    """A HEIF file of one item in `idat` and one in two parts in `mdat`."""
    ftyp = box(b"ftyp", b"heic\0\0\0\0mif1heic")
    mdat = box(b"mdat", random.Random(2).randbytes(3000))

    def meta(start: int) -> bytes:
        wide = ">I" if version == 2 else ">H"
        kind = [b"" if version == 0 else struct.pack(">H", method) for method in (1, 0)]
        items = [
            struct.pack(wide, 1) + kind[0] + struct.pack(">HHII", 0, 1, 4, 8),
            struct.pack(wide, 2) + kind[1] + struct.pack(">HHIIII", 0, 2, start, 1000, start + 1000, 2000),
        ]
        if version == 0:
            items = items[1:]  # which cannot say that an item lies in `idat`
        iloc = struct.pack(">BBHH", version, 0, 0, 0x4400) + struct.pack(wide, len(items)) + b"".join(items)
        return box(b"meta", bytes(4) + box(b"iloc", iloc) + box(b"idat", b"in a box of its own"))

    if meta_is_last:
        return ftyp + mdat + meta(len(ftyp) + 8)
    return ftyp + meta(len(ftyp) + len(meta(0)) + 8) + mdat


MAKERS: dict[str, Callable[[], bytes]] = {
    "JPEG": lambda: saved(noise(48), "JPEG", exif=tags()),
    "JPEG, progressive, thumbnail": lambda: with_thumbnail(saved(noise(48), "JPEG", progressive=True)),
    "JPEG, restart markers": lambda: saved(noise(48), "JPEG", restart_marker_blocks=1),
    "JPEG, zeros between segments": lambda: with_padding(saved(noise(48), "JPEG"), bytes(3)),
    "JPEG, fill bytes": lambda: with_padding(saved(noise(48), "JPEG"), b"\xff\xff\xff"),
    "PNG": lambda: saved(noise(24), "PNG", exif=tags()),
    "WebP": lambda: saved(noise(48), "WEBP", exif=tags()),
    "WebP, lossless": lambda: saved(noise(24), "WEBP", lossless=True),
    "WebP, transparent": lambda: saved(noise(24).convert("RGBA"), "WEBP"),
    "TIFF": lambda: saved(noise(24), "TIFF", exif=tags()),
    "TIFF, LZW": lambda: saved(noise(24), "TIFF", compression="tiff_lzw"),
    "TIFF, deflate": lambda: saved(noise(24), "TIFF", compression="tiff_adobe_deflate"),
    "TIFF, pages": lambda: saved(noise(24), "TIFF", save_all=True, append_images=[noise(20)]).rstrip(b"\0"),
    "BigTIFF": lambda: saved(noise(24), "TIFF", big_tiff=True),
    "TIFF, SubIFD, little-endian": lambda: tiff("<", is_big=False),
    "TIFF, SubIFD, big-endian": lambda: tiff(">", is_big=False),
    "BigTIFF, SubIFD, little-endian": lambda: tiff("<", is_big=True),
    "BigTIFF, SubIFD, big-endian": lambda: tiff(">", is_big=True),
    "HEIF": lambda: saved(noise(48), "HEIF", exif=tags()),
    "HEIF, iloc 0": lambda: boxes(version=0, meta_is_last=False),
    "HEIF, iloc 1": lambda: boxes(version=1, meta_is_last=False),
    "HEIF, iloc 2": lambda: boxes(version=2, meta_is_last=False),
    "HEIF, meta behind the data": lambda: boxes(version=1, meta_is_last=True),
    "AVIF": lambda: saved(noise(48), "AVIF", exif=tags()),
    "BMP": lambda: saved(noise(24), "BMP"),
}  # fmt: skip
WHOLE = pytest.mark.parametrize("kind", MAKERS)


@cache
def made(kind: str) -> bytes:
    return MAKERS[kind]()


def missing(data: bytes, *, was_written: bool = True) -> Unfinished | None:
    return missing_of(io.BytesIO(data), len(data), lambda _: was_written)


@WHOLE
def test_a_whole_file_is_finished(kind: str) -> None:
    assert missing(made(kind)) is None


@pytest.mark.parametrize("file_format", ["GIF", "ICO", "PPM"])
def test_a_file_of_another_format_is_finished(file_format: str) -> None:
    assert missing(saved(noise(24), file_format)) is None


@WHOLE
def test_every_cut_file_is_unfinished(kind: str) -> None:
    data = made(kind)

    assert [n for n in range(12, len(data)) if missing(data[:n]) is not Unfinished.CUT] == []


@WHOLE
@given(more=st.one_of(st.binary(max_size=100), st.sampled_from([TRAILER, FOUR_KIB_OF_ZEROS, b"\n"])))
def test_whatever_follows_a_whole_file_leaves_it_finished(kind: str, more: bytes) -> None:
    assert missing(made(kind) + more, was_written=False) is missing(made(kind), was_written=False)


@WHOLE
@given(data=st.data())
def test_a_damaged_file_is_judged_soon_and_without_an_error(kind: str, data: st.DataObject) -> None:
    damaged = bytearray(made(kind))
    for at in data.draw(st.lists(st.integers(0, min(len(damaged), 400) - 1), max_size=8)):
        damaged[at] = data.draw(st.sampled_from([0, 1, 4, 0x7F, 0xD8, 0xFF]))
    began_s = time.process_time()

    missing(bytes(damaged))

    assert time.process_time() - began_s < 5


@given(st.sampled_from(list(MAKERS)), st.integers(0, 40), st.binary(max_size=2000))
def test_any_bytes_behind_a_header_are_judged_without_an_error(kind: str, kept: int, rest: bytes) -> None:
    missing(made(kind)[:kept] + rest)


HOSTILE = {
    "a JPEG of nothing but segments": b"\xff\xd8" + b"\xff\xe0\0\2" * (4 << 20),
    "a PNG of nothing but chunks": b"\x89PNG\r\n\x1a\n" + b"\0\0\0\0zero\0\0\0\0" * (1 << 20),
    "a HEIF file of nothing but boxes": b"\0\0\0\x08ftyp" * (2 << 20),
    "items of countless parts": box(b"ftyp", b"heic")
    + box(b"meta", bytes(4) + box(b"iloc", b"\2\0\0\0\1\0\0\x7f\xff\xff" + b"\xff" * (8 << 20))),
    "a TIFF directory that links to itself": b"II*\0\x08\0\0\0" + struct.pack("<HHHIII", 1, 256, 4, 1, 9, 8),
    "a TIFF of countless directories": b"II*\0\x08\0\0\0"
    + b"".join(struct.pack("<HHHIII", 1, 256, 4, 1, 9, 26 + 18 * n) for n in range(1 << 20)),
    "a TIFF of one endless list": b"II*\0\x08\0\0\0"
    + struct.pack("<HHHIII", 1, 273, 4, 16 << 20, 26, 0)
    + bytes(64 << 20),
    "offsets beyond any file": b"MM\0+\0\x08\0\0" + b"\xff" * 100,
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_is_judged_within_seconds(data: bytes) -> None:
    began_s = time.process_time()

    missing(data)

    assert time.process_time() - began_s < 20


NOISY = {
    "JPEG": lambda: saved(noise(128), "JPEG", quality=95),
    "PNG": lambda: saved(noise(128), "PNG"),
    "WebP": lambda: saved(noise(256), "WEBP", quality=95),
    "WebP, lossless": lambda: saved(noise(128), "WEBP", lossless=True),
    "TIFF": lambda: saved(noise(128), "TIFF"),
    "TIFF, LZW": lambda: saved(noise(128), "TIFF", compression="tiff_lzw"),
    "HEIF": lambda: saved(noise(256), "HEIF", quality=95),
    "AVIF": lambda: saved(noise(256), "AVIF", quality=95),
    "BMP": lambda: saved(noise(128), "BMP"),
}


@pytest.mark.parametrize("kind", NOISY)
@pytest.mark.parametrize("reserved", [0, 8192], ids=["as much as needed", "more"])
def test_a_file_whose_space_is_reserved_and_not_yet_written_is_unfinished(kind: str, reserved: int) -> None:
    data = NOISY[kind]()
    assert len(data) > 15_000

    for written in range(12, len(data) - 4200, 997):
        begun = data[:written] + bytes(len(data) - written + reserved)
        assert missing(begun, was_written=False) is not None, written


def black_border(**options: Any) -> bytes:
    """A scan that ends in more than 4 KiB of black."""
    image = noise(128)
    image.paste((0, 0, 0), (0, 100, 128, 128))
    return saved(image, "TIFF", **options)


def test_a_scan_with_a_black_border_is_finished() -> None:
    assert missing(black_border()) is None
    assert missing(black_border(compression="tiff_lzw"), was_written=False) is None


def test_a_webp_whose_data_ends_in_zeros_is_finished() -> None:
    data = saved(Image.new("RGB", (2000, 1500)), "WEBP", quality=100, method=0)

    assert not any(data[-4096:])
    assert missing(data) is None


def test_an_empty_file_is_unfinished() -> None:
    assert missing(b"") is Unfinished.CUT


def test_zeros_are_told_from_a_hole(tmp_path: Path) -> None:
    path = tmp_path / "scan.tif"
    data = black_border()
    kept = len(data.rstrip(b"\0"))
    path.write_bytes(data[:kept])
    os.truncate(path, len(data))
    with path.open("rb") as file:
        if os.lseek(file.fileno(), 0, os.SEEK_HOLE) >= len(data):
            pytest.skip("this file system stores holes as data")

    assert why_unfinished(path) is Unfinished.ZEROS
    path.write_bytes(data)
    assert why_unfinished(path) is None


def test_zeros_on_a_network_drive_are_in_doubt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scan.tif").write_bytes(black_border())
    monkeypatch.setattr(kernel, "remote_kind", lambda _device: "nfs4")

    assert why_unfinished(tmp_path / "scan.tif") is Unfinished.ZEROS


def test_asking_for_a_hole_does_not_move_the_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    with (tmp_path / "a").open("rb", buffering=0) as file:
        file.seek(2)

        assert was_written(file.fileno(), 0)
        assert file.read() == b"c"


def test_a_file_that_is_open_for_writing_is_unfinished(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(make_photo())
    with (tmp_path / "a.jpg").open("r+b"):
        assert why_unfinished(tmp_path / "a.jpg") is Unfinished.OPEN
    assert why_unfinished(tmp_path / "a.jpg") is None


def test_a_file_that_cannot_be_opened_is_left_to_its_reader(tmp_path: Path) -> None:
    (tmp_path / "link.jpg").symlink_to(tmp_path / "nowhere")

    assert why_unfinished(tmp_path / "link.jpg") is None
