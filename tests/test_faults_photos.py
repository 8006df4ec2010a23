"""Faults 28 to 33, 37 to 41: what photos do to the engine, and what the engine does with them."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
import torch
from conftest import Home
from faulty import FACTORY, Counter, Start, Wait, reasons, states
from PIL import Image
from twins import Deed, make_photo

from daemon.exits import Exit
from daemon.service.run import once, run
from daemon.status import status
from daemon.timing import Timing
from daemon.workers import worker
from fawkes_engine import Unreadable, Unsupported, WeightsError
from fawkes_engine.photo.decode import decode
from fawkes_engine.photo.encode import encode

QUICK = Timing(respawn_first_s=0.05, once_give_up_s=0.3)  # for new engines, and files that stay incomplete


@pytest.mark.parametrize("kept", [300, 0.5, -2], ids=["head", "half", "all but the end"])
def test_fault_28_a_cut_photo_is_held_after_its_time_and_never_passed(home: Home, kept: float) -> None:
    photo = make_photo()
    cut = photo[: int(kept * len(photo)) if 0 < kept < 1 else int(kept)]
    (home.outbox / "cut.jpg").write_bytes(cut)
    (home.outbox / "whole.jpg").write_bytes(make_photo(seed=1))

    result = once(home.settings, Counter(), FACTORY, QUICK)

    assert home.published() == ["whole.jpg"]
    assert [(photo.path.name, photo.reason) for photo in result.held] == [("cut.jpg", "the file is damaged")]


def png_header(side: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    size = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )


def test_fault_29_a_bomb_is_refused_by_its_header() -> None:
    with pytest.raises(Unsupported, match="megapixels"):
        decode(png_header(30_000))


def test_fault_29_the_engine_process_cannot_take_all_memory() -> None:
    program = """
from daemon.workers import limits
limits._limit_memory(0.02)
import os
try:
    bytearray(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 20)
except MemoryError:
    print("refused")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == "refused\n"


def frames(file_format: str) -> bytes:
    stream = io.BytesIO()
    pictures = [Image.new("RGB", (32, 32), (n * 80, 10, 10)) for n in range(3)]
    pictures[0].save(stream, file_format, save_all=True, append_images=pictures[1:])
    return stream.getvalue()


@pytest.mark.parametrize("file_format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_fault_30_a_file_of_several_pictures_is_not_supported(file_format: str) -> None:
    with pytest.raises(Unsupported):
        decode(frames(file_format))


@pytest.mark.parametrize("name", ["IMG.HEIC", "IMG.dng", "IMG.jxl", "IMG.CR3"])
def test_fault_31_a_photo_of_another_kind_is_held_in_plain_sight(home: Home, name: str) -> None:
    (home.outbox / name).write_bytes(b"\0\0\0\x14ftypheic\0\0\0\0heic" + b"x" * 100)

    once(home.settings, Counter(), FACTORY, QUICK)

    assert home.published() == []
    (user,) = status.read(home.settings).users
    assert [photo.path.name for photo in user.held] == [name]


def test_fault_31_the_engine_says_what_to_export_instead() -> None:
    with pytest.raises((Unreadable, Unsupported), match="export"):
        decode(b"\0\0\0\x14ftypheic\0\0\0\0heic" + b"x" * 100)


def test_fault_32_the_clip_inside_a_motion_photo_is_not_written_again() -> None:
    clip = b"\0\0\0\x18ftypmp42" + b"uncloaked face" * 100
    photo = decode(make_photo() + clip)

    data = encode(photo, photo.pixels, 95)

    assert b"ftyp" not in data
    assert b"uncloaked" not in data


@pytest.mark.parametrize(
    ("mode", "file_format", "written"),
    [
        ("RGB", "JPEG", "RGB"),
        ("L", "JPEG", "L"),
        ("RGBA", "PNG", "RGBA"),
        ("L", "PNG", "L"),
        ("P", "PNG", "RGB"),
    ],
)
def test_fault_33_a_photo_keeps_its_kind_of_colour(mode: str, file_format: str, written: str) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (32, 32), (200, 30, 30)).convert(mode).save(stream, file_format)
    photo = decode(stream.getvalue())

    with Image.open(io.BytesIO(encode(photo, photo.pixels, 95))) as image:
        assert (image.format, image.mode) == (file_format, written)


@pytest.mark.parametrize("kind", ["CMYK JPEG", "16 bit grey PNG", "16 bit RGB PNG", "float TIFF"])
def test_fault_33_a_kind_that_would_lose_something_is_refused(kind: str) -> None:
    stream = io.BytesIO()
    if kind == "CMYK JPEG":
        Image.new("CMYK", (32, 32)).save(stream, "JPEG")
    elif kind == "16 bit grey PNG":
        Image.fromarray(np.zeros((32, 32), np.uint16)).save(stream, "PNG")
    elif kind == "float TIFF":
        Image.fromarray(np.zeros((32, 32), np.float32)).save(stream, "TIFF")
    else:
        rows = zlib.compress(bytes(32 * (1 + 32 * 6)))
        header = struct.pack(">IIBBBBB", 32, 32, 16, 2, 0, 0, 0)
        stream.write(b"\x89PNG\r\n\x1a\n")
        for name, data in ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")):
            stream.write(
                struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
            )

    with pytest.raises(Unsupported):
        decode(stream.getvalue())


def test_fault_37_a_batch_too_large_for_the_memory_is_made_smaller(
    home: Home, start: Start, eventually: Wait
) -> None:
    for number in range(5):
        (home.outbox / f"{number}.jpg").write_bytes(make_photo(Deed.NEED_ALL_MEMORY, seed=number))
    daemon = start(home.settings)

    eventually(lambda: len(home.published()) == 5)
    assert "together need more memory" in daemon.log
    assert daemon.log.count("engine ready") == 1


def test_fault_37_too_little_memory_is_known_by_what_torch_raises_on_any_device() -> None:
    with pytest.raises(RuntimeError) as on_cpu:
        torch.empty(1 << 50, dtype=torch.uint8)

    assert worker._is_out_of_memory(on_cpu.value)
    assert worker._is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert not worker._is_out_of_memory(RuntimeError("CUDA error: unspecified launch failure"))


def test_fault_37_a_photo_too_large_by_itself_is_held_and_the_others_go_on(home: Home) -> None:
    (home.outbox / "large.jpg").write_bytes(make_photo(Deed.NEED_TOO_MUCH))
    for number in range(3):
        (home.outbox / f"{number}.jpg").write_bytes(make_photo(seed=number))

    result = once(home.settings, Counter(), FACTORY, QUICK)

    assert home.published() == ["0.jpg", "1.jpg", "2.jpg"]
    assert [photo.reason for photo in result.held] == [
        "the photo needs more memory than is available; export it smaller"
    ]


def test_fault_38_a_lost_device_costs_no_photo(home: Home) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())
    (home.outbox / "b.jpg").write_bytes(make_photo(seed=1))

    result = once(home.settings, Counter(), "twins:make_engine_that_loses_its_device")

    assert (home.published(), result.held) == (["a.jpg", "b.jpg"], ())


def test_fault_39_an_engine_that_hangs_is_replaced_and_the_others_go_on(home: Home) -> None:
    engine = home.settings.engine.model_copy(update={"photo_timeout_s": 1.0})
    settings = home.settings.model_copy(update={"engine": engine})
    (home.outbox / "hangs.jpg").write_bytes(make_photo(Deed.HANG))
    (home.outbox / "good.jpg").write_bytes(make_photo())

    result = once(settings, Counter(), FACTORY, QUICK)

    assert home.published() == ["good.jpg"]
    assert [photo.reason for photo in result.held] == [
        "the engine stopped twice while working on this photo: the engine made no progress"
    ]


def test_fault_40_a_photo_without_a_face_is_held(home: Home) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo(Deed.REFUSE))

    once(home.settings, Counter(), FACTORY, QUICK)

    assert (home.published(), states(home), reasons(home)) == ([], ["held"], ["no face was found"])


def test_fault_41_a_cloak_that_the_encoded_file_does_not_show_is_held(home: Home) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo(Deed.CLOAK_TOO_WEAKLY))

    once(home.settings, Counter(), FACTORY, QUICK)

    assert (home.published(), states(home)) == ([], ["held"])
    assert reasons(home) == ["the face still looks like its owner to a recogniser"]


def test_missing_weights_are_told_at_once(home: Home) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())

    with pytest.raises(WeightsError, match="the weights of dlib are missing"):
        once(home.settings, Counter(), "twins:make_engine_without_weights")
    code = run(home.settings, lambda: home.settings, "twins:make_engine_without_weights")

    assert (code, home.published()) == (Exit.CONFIG, [])
