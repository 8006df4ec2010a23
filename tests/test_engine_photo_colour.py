"""The engine's sRGB copy of a face, and the way of a change back into the photo's own colours."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import rich_photos
import torch
from engine_pictures import astronaut, encoded, grey
from PIL import Image, ImageCms

from fawkes_engine.face.canvas import Canvas, in_srgb
from fawkes_engine.face.detect import Face
from fawkes_engine.photo.colour import colour_space
from fawkes_engine.photo.decode import decode
from fawkes_engine.photo.encode import encode

pytestmark = pytest.mark.numeric
FACE = Face(box=(180.0, 59.0, 268.0, 175.0), landmarks=np.zeros((5, 2)), confidence=1.0)
DISPLAY_P3 = ((0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407))
ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))


def profile(primaries: tuple[tuple[float, ...], ...], gamma: float) -> bytes:
    """An ICC profile of three primaries (XYZ, D50) and one gamma."""
    names = (b"rXYZ", b"gXYZ", b"bXYZ")
    tags = {
        name: b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in xyz))
        for name, xyz in zip(names, primaries, strict=True)
    }
    tags[b"wtpt"] = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    tags |= dict.fromkeys(
        (b"rTRC", b"gTRC", b"bTRC"), b"curv\0\0\0\0" + struct.pack(">IHxx", 1, round(gamma * 256))
    )
    tags[b"desc"] = b"desc\0\0\0\0\0\0\0\5test\0" + bytes(79)
    tags[b"cprt"] = b"text\0\0\0\0none\0\0\0\0"
    table, body, at = b"", b"", 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += struct.pack(">4sII", name, at + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(
        ">I4sI4s4s4s12x4s28x3i",
        at + len(body),
        b"\0" * 4,
        0x02400000,
        b"mntr",
        b"RGB ",
        b"XYZ ",
        b"acsp",
        63190,
        65536,
        54061,
    )
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


PROFILES = {"Display P3": profile(DISPLAY_P3, 2.2), "Adobe RGB": profile(ADOBE_RGB, 2.2)}


def in_space(icc: bytes) -> Image.Image:
    """The astronaut with pixels of another colour space."""
    own = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    converted = ImageCms.profileToProfile(Image.fromarray(astronaut()), ImageCms.createProfile("sRGB"), own)
    assert converted is not None
    return converted


def test_srgb_and_no_profile_and_damaged_ones_need_no_conversion() -> None:
    assert colour_space(None, grey=False) is None
    assert colour_space(rich_photos.srgb_profile(), grey=False) is None
    assert colour_space(b"no profile", grey=False) is None
    assert colour_space(PROFILES["Adobe RGB"], grey=True) is None  # of another kind of photo


@pytest.mark.parametrize("name", PROFILES)
def test_the_engine_sees_a_photo_of_any_space_as_in_srgb(name: str) -> None:
    photo = decode(encoded(in_space(PROFILES[name]), "PNG", icc_profile=PROFILES[name]))
    assert photo.colour is not None
    seen = in_srgb(photo.pixels, photo.colour)
    away = np.abs(photo.pixels.astype(int) - astronaut()).mean()
    assert np.abs(seen.astype(int) - astronaut()).mean() < min(1.0, away / 2)


@pytest.mark.parametrize("name", PROFILES)
def test_a_cloak_found_in_srgb_is_the_same_cloak_after_publication(name: str) -> None:
    photo = decode(encoded(in_space(PROFILES[name]), "PNG", icc_profile=PROFILES[name]))
    canvas = Canvas.around(FACE, photo.pixels, photo.colour)
    noise = torch.randn(3, canvas.side // 8, canvas.side // 8, generator=torch.Generator().manual_seed(1))
    delta = torch.nn.functional.interpolate(noise[None], size=[canvas.side] * 2, mode="bicubic")[0] * 0.02
    pixels = photo.pixels.copy()
    canvas.add(delta * canvas.mask(), pixels)
    again = decode(encode(photo, pixels, 95))
    assert again.icc == PROFILES[name]
    achieved = (canvas.cut(again.pixels) - canvas.cut(photo.pixels)).flatten()
    wanted = (delta * canvas.mask()).flatten()
    assert float(torch.corrcoef(torch.stack([achieved, wanted]))[0, 1]) > 0.97
    assert float((achieved @ wanted) / (wanted @ wanted)) == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize("name", PROFILES)
def test_outside_the_region_no_pixel_of_a_wide_photo_changes(name: str) -> None:
    photo = decode(encoded(in_space(PROFILES[name]), "PNG", icc_profile=PROFILES[name]))
    canvas = Canvas.around(FACE, photo.pixels, photo.colour)
    pixels = photo.pixels.copy()
    canvas.add(torch.full((3, canvas.side, canvas.side), 0.1), pixels)
    x0, y0, x1, y1 = canvas.region
    changed = np.argwhere((pixels != photo.pixels).any(axis=2))
    assert changed.min(axis=0).tolist() >= [y0, x0]
    assert changed.max(axis=0).tolist() < [y1, x1]


def test_no_change_in_srgb_is_no_change_in_any_space() -> None:
    space = colour_space(PROFILES["Display P3"], grey=False)
    assert space is not None
    assert not space.change(astronaut()[:64, :64], np.zeros((64, 64, 3), np.float32)).any()


def test_a_grey_photo_with_a_profile_stays_grey() -> None:
    data = encoded(grey(astronaut()), "PNG", icc_profile=PROFILES["Adobe RGB"])
    photo = decode(data)
    assert photo.grey
    assert photo.colour is None
