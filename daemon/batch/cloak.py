"""`fawkesd cloak`: named photos through the engine once, without the service."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from daemon.batch.output_folder import Held, Shelf, read
from daemon.config.loader import load_if_any
from daemon.config.settings import EngineConfig, default_config_path, default_state_dir
from daemon.errors import ConfigError
from daemon.fs import atomic
from daemon.text import printable
from fawkes_engine import EngineSettings, FaceReport, Protected, Refusal, Request

if TYPE_CHECKING:
    from fawkes_engine.engine import Engine as RealEngine


class Engine(Protocol):
    """The part of the engine that is used here."""

    def protect(
        self, requests: Sequence[Request], *, on_step: Callable[[], None] | None = None
    ) -> list[Protected | Refusal]:
        """Cloak photos; one result each, in order."""


@dataclass(frozen=True, slots=True)
class Setup:
    """How to cloak. targets_dir: folder of the users' fixed identities. request: as in `Order`."""

    engine: EngineConfig
    targets_dir: Path
    request: Callable[[bytes], Request]


@dataclass(frozen=True, slots=True)
class Order:
    """What to cloak.

    request: makes the engine's order from a photo. out: folder of the results. force: replace existing files.
    """

    photos: tuple[Path, ...]
    request: Callable[[bytes], Request]
    out: Path
    force: bool


@dataclass(frozen=True, slots=True)
class Cloaked:
    """A photo that is done: the result was written to output."""

    source: Path
    output: Path
    protected: Protected


def setup(config: Path | None, user: str) -> Setup:
    """Take engine and state folder from the configuration, or their defaults where no file was ever written.

    Raises ConfigError for a faulty or missing named file, and for a user the file does not have: a slip in
    the name would cloak toward another identity.
    """
    settings = load_if_any(config)
    if settings is None:
        return Setup(EngineConfig(), targets_dir(config), partial(Request, user=user))
    known = [person.name for person in settings.users]
    if user not in known:
        close = get_close_matches(user, known, n=1)
        advice = f"did you mean {close[0]}?" if close else f"it has: {', '.join(known)}"
        raise ConfigError(f"{config or default_config_path()}: has no user {user}; {advice}")
    return Setup(settings.engine, settings.targets_dir, partial(settings.request, user))


def targets_dir(config: Path | None) -> Path:
    """Return the folder of everyone's fixed identities. Raises ConfigError as `setup` does."""
    settings = load_if_any(config)
    return settings.targets_dir if settings else default_state_dir() / "targets"


def load_engine(settings: EngineSettings, targets_dir: Path) -> RealEngine:
    """Return the real engine; imports torch, so this waits until the order is known to be sound."""
    from daemon.workers.worker import make_engine

    return make_engine(settings, targets_dir)


def cloak(order: Order, engine: Engine, batch_photos: int) -> Iterator[Cloaked | Held]:
    """Cloak the photos in groups of batch_photos; yield each outcome, in order, when its file is on disk.

    Raises InputError if a photo cannot be read any more, OutputError if nothing can be written.
    """
    atomic.make_folder(order.out)
    shelf = Shelf(order.photos, order.out, force=order.force)
    for start in range(0, len(order.photos), batch_photos):
        group = order.photos[start : start + batch_photos]
        requests = [order.request(read(photo)) for photo in group]
        for photo, result in zip(group, engine.protect(requests), strict=True):
            yield _stored(shelf, photo, result)


def _stored(shelf: Shelf, photo: Path, result: Protected | Refusal) -> Cloaked | Held:
    if isinstance(result, Refusal):
        return shelf.hold(photo, result)
    output = shelf.write(photo, result.suffix, result.data)
    return output if isinstance(output, Held) else Cloaked(photo, output, result)


def as_line(outcome: Cloaked | Held) -> str:
    """Return the outcome as one line for a person; names are escaped."""
    if isinstance(outcome, Held):
        return f"{printable(outcome.source)}: held: {printable(outcome.reason)}"
    report = outcome.protected.report
    dssim = max(face.dssim for face in report.faces)
    return (
        f"{printable(outcome.source)} -> {printable(outcome.output)}: {len(report.faces)} face(s), "
        f"DSSIM at most {dssim:.4f}, {report.seconds:.1f} s"
    )


def as_json(outcome: Cloaked | Held) -> str:
    """Return the outcome as one line of JSON."""
    if isinstance(outcome, Held):
        return json.dumps({"input": str(outcome.source), "held": outcome.reason})
    report = outcome.protected.report
    return json.dumps(
        {
            "input": str(outcome.source),
            "output": str(outcome.output),
            "sha256": outcome.protected.sha256,
            "faces": [face_values(face) for face in report.faces],
            "seconds": report.seconds,
            "engine": report.fingerprint,
        }
    )


def face_values(face: FaceReport) -> dict[str, object]:
    """Return a face's figures as JSON takes them."""
    values = {field.name: getattr(face, field.name) for field in fields(face)}
    return {key: dict(value) if isinstance(value, Mapping) else value for key, value in values.items()}
