"""Data for evaluations, of two faces that trackers tell apart: ada's, and ben's, which is hers distorted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from engine_pictures import encoded, portrait, somebody_else

from fawkes_engine.face.detect import Pixels

FACES: dict[str, Callable[[], Pixels]] = {"ada": portrait, "ben": somebody_else}
PHOTOS = 4  # of each user
BOX = (100.0, 59.0, 188.0, 175.0)  # of the face in photo 0


def photo_of(person: str, number: int) -> bytes:
    """One of a person's photos; each is cut and lit differently."""
    pixels = FACES[person]()[2 * number :, number:]
    return encoded(np.clip(pixels * (1 - 0.03 * number), 0, 255).astype(np.uint8), "JPEG")


def make_data(folder: Path) -> Path:
    """Write users/ada and users/ben, and others/ with people of whom a tracker knows two."""
    for person in FACES:
        for number in range(PHOTOS):
            _write(folder / "users" / person / f"{number}.jpg", photo_of(person, number))
    for number, face in enumerate((portrait(), squeezed(0.75), portrait(), squeezed(1.3))):
        _write(folder / "others" / f"other-{number}" / "0.jpg", encoded(face[:, ::-1], "JPEG"))
    return folder


def squeezed(factor: float) -> Pixels:
    """The portrait made wider or narrower: somebody else again."""
    columns = (np.arange(round(272 * factor)) / factor).astype(int)
    return portrait()[:, columns]


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
