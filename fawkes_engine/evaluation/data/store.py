"""A publication on disk: publication.json, and the published files under the paths of their originals."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fawkes_engine.errors import EvaluationError
from fawkes_engine.evaluation.data.publication import CloakedFace, Held, Publication, Published
from fawkes_engine.types import FaceReport

_INDEX = "publication.json"


def save_publication(publication: Publication, folder: Path) -> None:
    """Write a publication into a folder, created if missing. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    published = []
    for one in publication.published:
        file = _file(folder, one.photo, one.suffix)
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(one.data)
        published.append({name: value for name, value in asdict(one).items() if name != "data"})
    index = asdict(publication) | {"published": published}
    (folder / _INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")


def load_publication(folder: Path) -> Publication:
    """Read what `save_publication` wrote.

    Raises:
        EvaluationError: there is none, or it is damaged.
    """
    try:
        index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        published = tuple(_published(folder, one) for one in index.pop("published"))
        held = tuple(Held(**one) for one in index.pop("held"))
        return Publication(published=published, held=held, **index)
    except FileNotFoundError as error:
        raise EvaluationError(f"{error.filename} is missing; name a folder written with --keep") from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise EvaluationError(
            f"the publication kept in {folder} is damaged ({error}); cloak again"
        ) from error


def _file(folder: Path, photo: str, suffix: str) -> Path:
    return folder / (photo if photo.endswith(suffix) else photo + suffix)


def _published(folder: Path, one: dict[str, Any]) -> Published:
    faces = tuple(_face(**face) for face in one.pop("faces"))
    data = _file(folder, one["photo"], one["suffix"]).read_bytes()
    return Published(data=data, faces=faces, **one)


def _face(report: dict[str, Any], ms_ssim: float) -> CloakedFace:
    landmarks = tuple(tuple(point) for point in report.get("landmarks", ()))
    return CloakedFace(FaceReport(**report | {"box": tuple(report["box"]), "landmarks": landmarks}), ms_ssim)
