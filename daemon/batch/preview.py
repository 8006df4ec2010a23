"""`fawkesd preview`: how a photo's faces would look at several strengths, side by side in one picture."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from daemon.batch.cloak import face_values
from daemon.batch.output_folder import check_readable
from daemon.errors import OutputError, OutputExists
from daemon.text import printable
from fawkes_engine import FULL_STRENGTH, Look, unseen

if TYPE_CHECKING:
    from fawkes_engine.face.detect import Box, Pixels

STRENGTHS = (40, 60, 80, 100)
_LABEL_PX = 28  # height of the line above each face
_GAP_PX = 8
_PAPER, _INK = (255, 255, 255), (0, 0, 0)


def check(photo: Path, out: Path, *, force: bool) -> None:
    """Raise InputError or OutputError for what is sure to fail, before the engine is loaded.

    out: the file for the picture. force: it may exist.
    """
    check_readable(photo)
    if not out.parent.is_dir():
        raise OutputError(
            f"the folder {printable(out.parent)} does not exist; create it, or choose another --out"
        )
    if out.exists() and out.samefile(photo):
        raise OutputError(f"{printable(out)} is the photo itself, and originals stay; choose another --out")
    if os.path.lexists(out) and not force:
        raise OutputExists(f"{printable(out)} exists already; choose another --out or use --force")


def as_png(original: bytes, looks: Sequence[Look]) -> bytes:
    """Return a PNG with a row per face: the original, then the face at each strength, pixel for pixel.

    looks: of the same photo, at least one.
    """
    titles = ["original", *(f"{look.strength}, held" if look.held else str(look.strength) for look in looks)]
    pictures = [_pixels(data) for data in (original, *(look.data for look in looks))]
    rows = [[_face(pixels, box) for pixels in pictures] for box in looks[0].boxes]
    widths = [row[0].width + _GAP_PX for row in rows]
    heights = [row[0].height + _LABEL_PX for row in rows]
    sheet = Image.new("RGB", (max(widths) * len(pictures), sum(heights)), _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(_LABEL_PX * 2 / 3)
    top = 0
    for row, width, height in zip(rows, widths, heights, strict=True):
        for column, (title, face) in enumerate(zip(titles, row, strict=True)):
            draw.text((column * width, top), title, fill=_INK, font=font)
            sheet.paste(face, (column * width, top + _LABEL_PX))
        top += height
    out = io.BytesIO()
    sheet.save(out, "PNG")
    return out.getvalue()


def as_line(look: Look) -> str:
    """Return what a strength is worth as one readable line."""
    if look.held is None:
        words = unseen.weakest(face.cosine_own for face in look.faces)
        return f"strength {look.strength}: {words}"
    again = "; published, it is tried once more, with more steps" if look.strength == FULL_STRENGTH else ""
    return f"strength {look.strength}: held: {look.held}{again}"


def as_json(look: Look) -> str:
    """Return the same as one line of JSON."""
    words = None if look.held else unseen.weakest(face.cosine_own for face in look.faces)
    faces = [face_values(face) for face in look.faces]
    return json.dumps({"strength": look.strength, "held": look.held, "against_others": words, "faces": faces})


def _pixels(data: bytes) -> Pixels:
    from fawkes_engine.face.canvas import in_srgb  # imports torch, as the engine does
    from fawkes_engine.photo.decode import decode

    photo = decode(data)
    return in_srgb(photo.pixels, photo.colour)


def _face(pixels: Pixels, box: Box) -> Image.Image:
    from fawkes_engine.face.canvas import region_of

    x0, y0, x1, y1 = region_of(box, pixels)
    return Image.fromarray(pixels[y0:y1, x0:x1])
