"""From pixels to the published file: what changes, and what does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from engine_pictures import astronaut, encoded, grey, opened, scaled
from PIL import Image
from rich_photos import FORMATS
from scan import scan

from fawkes_engine import HeicAs, Unsupported
from fawkes_engine.face.canvas import Canvas, blocks_around
from fawkes_engine.face.detect import Face, Pixels
from fawkes_engine.photo.decode import Photo, decode
from fawkes_engine.photo.encode import as_written, encode

pytestmark = pytest.mark.numeric
FACE = Face(box=(180.0, 59.0, 268.0, 175.0), landmarks=np.zeros((5, 2)), confidence=1.0)
LOSSLESS = ("PNG", "WEBP", "TIFF")


def cloaked(photo: Photo) -> tuple[Pixels, Canvas]:
    """The photo with a strong cloak on the astronaut's face, and where it lies."""
    canvas = Canvas.around(FACE, photo.pixels, photo.colour)
    delta = torch.randn(3, canvas.side, canvas.side, generator=torch.Generator().manual_seed(1)) * 0.05
    pixels = photo.pixels.copy()
    canvas.add(delta * canvas.mask(), pixels)
    return pixels, canvas


def outside(canvas: Canvas, photo: Photo) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """(H, W): true where no block of the face region reaches."""
    rows, columns = blocks_around(canvas.region, photo.pixels)
    mask = np.ones(photo.pixels.shape[:2], bool)
    mask[rows, columns] = False
    return mask


def test_a_picture_full_of_noise_is_written_as_jpeg(capfd: pytest.CaptureFixture[str]) -> None:
    """Pillow's `optimize` has a buffer of 2 bytes a pixel; such a picture takes more, as high ISO may at 100."""
    noise = np.random.default_rng(1).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    photo = decode(encoded(noise, "PNG"))
    jpeg = replace(photo, format="JPEG")

    written = encode(jpeg, noise, 100)

    capfd.readouterr()  # the library that Pillow uses prints its error
    plain = encoded(noise, "JPEG", quality=100, subsampling=0)
    assert 2 * noise.shape[0] * noise.shape[1] < len(written) <= len(plain)
    assert np.array_equal(decode(written).pixels, decode(plain).pixels)
    assert encode(jpeg, astronaut(), 95) == encoded(
        astronaut(), "JPEG", quality=95, subsampling=0, optimize=True
    )


@pytest.mark.parametrize("file_format", LOSSLESS)
def test_outside_the_face_no_pixel_of_a_lossless_photo_changes(file_format: str) -> None:
    photo = decode(encoded(astronaut(), file_format, **({"lossless": True} if file_format == "WEBP" else {})))
    pixels, canvas = cloaked(photo)
    written = decode(encode(photo, pixels, 95)).pixels
    away = outside(canvas, photo)
    assert np.array_equal(written[away], astronaut()[away])
    assert not np.array_equal(written[~away], astronaut()[~away])


def test_outside_the_face_a_jpeg_changes_by_its_encoding_alone() -> None:
    photo = decode(encoded(astronaut(), "JPEG", quality=90))
    pixels, canvas = cloaked(photo)
    away = outside(canvas, photo)
    written, plain = (decode(encode(photo, p, 95)).pixels for p in (pixels, photo.pixels))
    assert np.array_equal(written[away], plain[away])
    change = np.abs(written.astype(int) - photo.pixels)[away]
    assert change.mean() < 1
    assert np.quantile(change, 0.999) <= 8


@pytest.mark.parametrize("file_format", ["AVIF", "HEIF"])
def test_outside_the_face_avif_and_heic_change_by_their_encoding_alone(file_format: str) -> None:
    photo = decode(encoded(astronaut(), file_format, quality=95), heic=HeicAs.HEIC)
    pixels, canvas = cloaked(photo)
    written = decode(encode(photo, pixels, 95)).pixels
    change = np.abs(written.astype(int) - photo.pixels)[outside(canvas, photo)]
    assert change.mean() < 1.5


@pytest.mark.parametrize("file_format", ["AVIF", "HEIF"])
def test_a_piece_of_avif_or_heic_as_written_is_nearly_that_piece_of_the_file(file_format: str) -> None:
    photo = decode(encoded(astronaut(), file_format, quality=95), heic=HeicAs.HEIC)
    whole = decode(encode(photo, photo.pixels, 95)).pixels[64:200, 160:264]
    piece = as_written(photo, photo.pixels[64:200, 160:264], 95)
    assert np.abs(piece.astype(int) - whole).mean() < 1


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_file_is_the_same_each_time_and_holds_one_picture(file_format: str) -> None:
    photo = decode(encoded(scaled(astronaut(), 0.25), file_format), heic=HeicAs.HEIC)
    one, other = (encode(photo, photo.pixels, 95) for _ in range(2))
    assert one == other
    assert scan(one) == []


def test_heic_becomes_jpeg_unless_it_is_to_stay() -> None:
    data = encoded(scaled(astronaut(), 0.25), "HEIF", quality=95)
    for wish, suffix, file_format in ((HeicAs.JPEG, ".jpg", "JPEG"), (HeicAs.HEIC, ".heic", "HEIF")):
        photo = decode(data, heic=wish)
        assert photo.suffix == suffix
        assert opened(encode(photo, photo.pixels, 95)).format == file_format


def test_transparency_that_jpeg_would_lose_is_refused() -> None:
    image = Image.fromarray(astronaut()[:64, :64])
    image.putalpha(128)
    data = encoded(image, "HEIF")
    with pytest.raises(Unsupported, match="transparency"):
        decode(data)
    assert decode(data, heic=HeicAs.HEIC).alpha is not None
    image.putalpha(255)
    assert decode(encoded(image, "HEIF")).alpha is None


def test_a_grey_photo_with_transparency_keeps_both() -> None:
    image = Image.fromarray(grey(astronaut()[:64, :64]))
    image.putalpha(Image.fromarray(astronaut()[:64, :64, 0]))
    photo = decode(encoded(image, "PNG"))
    again = opened(encode(photo, photo.pixels, 95))
    assert again.mode == "LA"
    assert np.array_equal(np.asarray(again), np.asarray(image))
