"""`fawkesd cloak`: cloaks named photos, without the service."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from daemon.batch.output_folder import NotWritten, Written, process
from daemon.config.loader import load_if_any
from daemon.config.settings import EngineConfig, default_config_path, default_state_dir
from daemon.errors import ConfigError, TargetError
from daemon.model import Source
from daemon.state.history import reading
from daemon.state.targets import FileTargetStore
from daemon.text import count, printable
from daemon.workers.protocol import EngineLike
from fawkes_engine import EngineSettings, FaceReport, Protected, Refusal, Request, Step, unseen

if TYPE_CHECKING:
    from fawkes_engine.engine import Engine


Outcome: TypeAlias = Written[Protected] | NotWritten


@dataclass(frozen=True, slots=True)
class Setup:
    """How to cloak.

    state_dir: folder of the service's ledger. targets_dir: of the users' fixed identities. request: as in `CloakJob`.
    """

    engine: EngineConfig
    state_dir: Path
    targets_dir: Path
    request: Callable[[bytes], Request]


@dataclass(frozen=True, slots=True)
class CloakJob:
    """What to cloak.

    request: makes the engine's request from a photo. origin: the original of a file that the service published with
    this sha256 (hex), None for any other. out: folder of the results. force: replace existing files, and cloak what
    was published once more.
    """

    photos: tuple[Path, ...]
    request: Callable[[bytes], Request]
    origin: Callable[[str], Source | None]
    out: Path
    force: bool


def setup(config: Path | None, user: str) -> Setup:
    """Take engine and state folder from the configuration, or their defaults if there is no configuration yet.

    Raises ConfigError if a named file is faulty or missing, or does not have the user: a typo in the name would
    cloak toward another identity.
    """
    settings = load_if_any(config)
    if settings is None:
        return Setup(EngineConfig(), default_state_dir(), targets_dir(config), partial(Request, user=user))
    known = [person.name for person in settings.users]
    if user not in known:
        close = get_close_matches(user, known, n=1)
        advice = f"did you mean {close[0]}?" if close else f"it has: {', '.join(known)}"
        raise ConfigError(f"{config or default_config_path()}: has no user {user}; {advice}")
    return Setup(settings.engine, settings.state_dir, settings.targets_dir, partial(settings.request, user))


def targets_dir(config: Path | None) -> Path:
    """Return the folder of everyone's fixed identities. Raises ConfigError as `setup` does."""
    settings = load_if_any(config)
    return settings.targets_dir if settings else default_state_dir() / "targets"


def check_target(setup: Setup, user: str) -> None:
    """Raise TargetError if the user's target is lost: another one must not take its place unnoticed."""
    with reading(setup.state_dir) as history:
        objection = FileTargetStore(setup.targets_dir).objection(user, history.targets)
    if objection is not None:
        raise TargetError(objection)


def load_engine(settings: EngineSettings, targets_dir: Path) -> Engine:
    """Return the real engine; imports torch, so call this after the job has been checked."""
    from daemon.workers.worker import make_engine

    return make_engine(settings, targets_dir)


def cloak(
    job: CloakJob, engine: EngineLike, batch_photos: int, on_step: Callable[[Step], None] | None = None
) -> Iterator[Outcome]:
    """Cloak the photos; yield each outcome, in order, when its file is on disk. Raises as `process` does.

    on_step: called often while the engine works.
    """

    def work(photos: list[bytes]) -> Sequence[Protected | Refusal]:
        return protect(job, engine, photos, on_step)

    return process(job.photos, work, job.out, force=job.force, batch_photos=batch_photos)


def protect(
    job: CloakJob, engine: EngineLike, photos: Sequence[bytes], on_step: Callable[[Step], None] | None = None
) -> Sequence[Protected | Refusal]:
    """Cloak photos, one result each, in order; what the service published is refused unless forced."""
    origins = [None if job.force else job.origin(hashlib.sha256(photo).hexdigest()) for photo in photos]
    new = [photo for photo, origin in zip(photos, origins, strict=True) if origin is None]
    answers = iter(engine.protect([job.request(photo) for photo in new], on_step=on_step))
    return [_cloaked_already(origin) if origin else next(answers) for origin in origins]


def _cloaked_already(origin: Source) -> Refusal:
    return Refusal(
        f"already cloaked: this is the published copy of {printable(origin.path)}; give that one, or use --force"
    )


def at_strength(request: Callable[[bytes], Request], strength: int) -> Callable[[bytes], Request]:
    """Return what makes the same requests, for a part of the cloak (0 to 100, percent)."""
    return lambda data: replace(request(data), strength=strength)


def as_line(outcome: Outcome) -> str:
    """Return the outcome as one readable line; names are escaped."""
    if isinstance(outcome, NotWritten):
        return f"{printable(outcome.source)}: held: {printable(outcome.reason)}"
    report = outcome.result.report
    return (
        f"{printable(outcome.source)} -> {printable(outcome.output)}: {count(len(report.faces), 'face')}, "
        f"{report.seconds:.1f} s; {unseen.weakest(face.cosine_own for face in report.faces)}"
    )


def as_json(outcome: Outcome) -> str:
    """Return the outcome as one line of JSON."""
    if isinstance(outcome, NotWritten):
        return json.dumps({"input": str(outcome.source), "held": outcome.reason})
    report = outcome.result.report
    return json.dumps(
        {
            "input": str(outcome.source),
            "output": str(outcome.output),
            "sha256": outcome.result.sha256,
            "faces": [face_values(face) for face in report.faces],
            "against_others": unseen.weakest(face.cosine_own for face in report.faces),
            "seconds": report.seconds,
            "mode": report.mode,
            "strength": report.strength,
            "engine": report.fingerprint,
        }
    )


def face_values(face: FaceReport) -> dict[str, object]:
    """Return a face's figures as JSON values."""
    values = {field.name: getattr(face, field.name) for field in fields(face)}
    return {key: dict(value) if isinstance(value, Mapping) else value for key, value in values.items()}
