"""What the benchmark scripts share; it has no command of its own."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from fawkes_engine.engine import Engine
from fawkes_engine.types import Protected, Refusal, Request, Target

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

BATCH_PHOTOS = 16


class MemoryTargets:
    """Targets that live as long as the run."""

    def __init__(self) -> None:
        self._by_person: dict[str, Target] = {}

    def get(self, person: str) -> Target | None:
        """Return the person's target, if there is one."""
        return self._by_person.get(person)

    def people(self) -> list[str]:
        """Return everyone who has a target."""
        return list(self._by_person)

    def add(self, person: str, target: Target) -> Target:
        """Keep the person's first target and return it."""
        return self._by_person.setdefault(person, target)

    def learn(self, person: str, target: Target) -> None:
        """Keep what else a known person looks like."""
        self._by_person[person] = target


def request(photo: Path) -> Request:
    """Return the request for a photo whose folder is named after its user."""
    return Request(photo.read_bytes(), photo.parent.name)


def protect_all(engine: Engine, photos: Sequence[Path]) -> list[tuple[Path, Protected | Refusal]]:
    """Cloak photos in batches of BATCH_PHOTOS, in order."""
    results: list[tuple[Path, Protected | Refusal]] = []
    for start in range(0, len(photos), BATCH_PHOTOS):
        batch = photos[start : start + BATCH_PHOTOS]
        results += zip(batch, engine.protect([request(p) for p in batch]), strict=True)
    return results


def photos_of(person: Path) -> list[Path]:
    """Return a person's photos in the order of their names."""
    return sorted(p for p in person.iterdir() if p.suffix.lower() in {".jpg", ".jpeg", ".png"})


def shuffled(photos: Iterable[Path], seed: int) -> list[Path]:
    """Return photos or folders in an order that depends on their names and the seed alone."""
    ordered = sorted(photos)
    random.Random(f"{seed} {ordered[0].parent.name}").shuffle(ordered)
    return ordered


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Format a Markdown table with a line feed at its end."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def save(folder: Path | None, name: str, result: DataclassInstance) -> None:
    """Write a result as JSON into a folder, if one was asked for."""
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(asdict(result), indent=1)
    (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
