"""A picture to judge cloaks by eye: original, cloaked, and their difference eight times as strong, at 100 %.

    python -m tests.benchmarks.contact_sheet --data DIR users/A/1.jpg users/B/2.jpg --out sheet.png

A photo's folder is its user. Each row shows the largest face of a photo with its surroundings.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fawkes_engine.engine import Engine
from fawkes_engine.errors import Refusal
from fawkes_engine.evaluation.data.publication import MemoryTargets, request
from fawkes_engine.face.detect import Pixels
from fawkes_engine.photo.decode import decode
from fawkes_engine.types import EngineSettings, FaceReport, Protected

SURROUNDINGS = 0.5  # of the face box's size, on each side
STRENGTH = 8
LABEL_PX = 22
GAP_PX = 4


def main() -> None:
    """Cloak the photos and write the sheet."""
    args = _arguments()
    engine = Engine(EngineSettings(), MemoryTargets())
    photos = [args.data / photo for photo in args.photos]
    results = engine.protect([request(photo) for photo in photos])
    rows = [_row(photo, result) for photo, result in zip(photos, results, strict=True)]
    sheet = Image.new("RGB", (max(r.width for r in rows), sum(r.height for r in rows)), "white")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    sheet.save(args.out)


def _row(photo: Path, result: Protected | Refusal) -> Image.Image:
    if isinstance(result, Refusal):
        return _labelled([], f"{photo.name}: {type(result).__name__}, {result}")
    before, after = decode(photo.read_bytes()).pixels, decode(result.data).pixels
    face = max(result.report.faces, key=lambda f: f.height_px)
    rows, columns = _surroundings(face, before)
    original, cloaked = before[rows, columns], after[rows, columns]
    difference = np.clip(128 + STRENGTH * (cloaked.astype(np.int16) - original), 0, 255).astype(np.uint8)
    label = (
        f"{photo.name}: face {face.height_px} px, DSSIM {face.dssim:.4f} (224 px {face.dssim_224:.4f}), "
        f"colour mean {face.colour_mean:.2f} p99 {face.colour_p99:.2f}, "
        f"own cosine {max(face.cosine_own.values()):.2f}"
    )
    return _labelled([original, cloaked, difference], label)


def _surroundings(face: FaceReport, pixels: Pixels) -> tuple[slice, slice]:
    x0, y0, x1, y1 = face.box
    right, down = SURROUNDINGS * (x1 - x0), SURROUNDINGS * (y1 - y0)
    return (
        slice(max(0, round(y0 - down)), min(pixels.shape[0], round(y1 + down))),
        slice(max(0, round(x0 - right)), min(pixels.shape[1], round(x1 + right))),
    )


def _labelled(pictures: list[Pixels], label: str) -> Image.Image:
    font = ImageFont.load_default()
    width = max(sum(p.shape[1] + GAP_PX for p in pictures), round(font.getlength(label)) + GAP_PX)
    height = max((p.shape[0] for p in pictures), default=0)
    row = Image.new("RGB", (width, LABEL_PX + height + GAP_PX), "white")
    ImageDraw.Draw(row).text((GAP_PX, GAP_PX), label, fill="black", font=font)
    left = 0
    for picture in pictures:
        row.paste(Image.fromarray(picture), (left, LABEL_PX))
        left += picture.shape[1] + GAP_PX
    return row


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder the photos' paths start from")
    parser.add_argument("photos", metavar="PHOTO", nargs="+", help="path inside the data folder")
    parser.add_argument("--out", type=Path, required=True, help="the picture to write")
    return parser.parse_args()


if __name__ == "__main__":
    main()
